"""Late flows are counted per sensor and named with a setting that takes them; a sensor with few is left alone."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts.lateness import SensorLateness
from pipeline.ingest.late import LONGEST_US, behind_us, late_rows
from pipeline.runtime.wire.messages import write
from pipeline.settings import Settings, load_settings
from pipeline.tools.sensors.late_flows import (
    LEAST_FLOWS,
    Judged,
    LateFlows,
    _rows,
    counted,
    late_document,
    late_finding,
    late_remarks,
    share_words,
    since_it_holds,
)
from schemas.intake import FileEntry, TopicSource
from tests.contracts.facts import scored_facts
from tests.score.test_route import scored

NAME = ("dam", "gate")
S = 1_000_000


def rows(site: str, sensor: str, *late_by_us: int) -> pa.Table:
    names = {name: pa.array([of] * len(late_by_us), pa.string()) for name, of in (("site", site), ("sensor", sensor))}
    return pa.table({**names, "late_by_us": pa.array(late_by_us, pa.int64())})


def settings(**given: object) -> Settings:
    return load_settings().model_copy(update={"lateness_us": 2 * S, "idle_us": 10 * S, **given})


def found(flows: int = 200, late: int = 60, proposed_us: int = 290 * S) -> LateFlows:
    return LateFlows(flows, late, 2 * S, 288 * S, proposed_us)


def test_flows_are_counted_per_sensor_over_messages() -> None:
    messages = [rows("dam", "gate", 0, 93 * S), rows("dam", "weir", 0), rows("dam", "gate", 0, 0)]
    assert counted(messages, settings()) == {
        ("dam", "gate"): LateFlows(4, 1, 2 * S, 95 * S, 100 * S),
        ("dam", "weir"): LateFlows(1, 0, 2 * S, 0, 2 * S),
    }
    assert counted([], settings()) == {}


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=50), st.integers(0, 10**9))
def test_what_is_proposed_takes_ninety_nine_of_a_hundred(ends: list[int], lateness_us: int) -> None:
    array = np.array(ends, np.int64)
    late_by_us = np.maximum(behind_us(array) - lateness_us, 0)  # as featurize marks them
    given_us = settings(lateness_us=lateness_us)
    seen = counted([rows(*NAME, *late_by_us.tolist())], given_us)[NAME]
    assert seen.late == late_rows(array, lateness_us).sum()
    assert (~late_rows(array, seen.proposed_us)).sum() >= 0.99 * len(ends)


def test_a_remark_says_how_many_how_late_and_what_to_set() -> None:
    (remark,) = late_remarks(NAME, found(), settings())
    assert remark.what.startswith(
        "60 of its last 200 flows came late (30.0%), up to 4 min 48 s after a later one, by a lateness of"
    )
    assert remark.remedy.startswith("set FOREBAY_LATENESS_US=290000000 and FOREBAY_IDLE_US=290000000, and start again")


@pytest.mark.parametrize(
    ("given_us", "words"),
    [
        ({"idle_us": 0}, "set FOREBAY_LATENESS_US=290000000, and"),  # 0: whoever is silent is waited for anyway
        ({"idle_us": 300 * S}, "set FOREBAY_LATENESS_US=290000000, and"),
        ({"site_lateness_us": {"dam": 2 * S}, "idle_us": 0}, "set 290000000 for dam in FOREBAY_SITE_LATENESS_US, and"),
    ],
)
def test_what_is_set_already_is_not_proposed(given_us: dict[str, object], words: str) -> None:
    assert late_remarks(NAME, found(), settings(**given_us))[0].remedy.startswith(words)


def test_of_a_sensor_whose_source_is_known_its_own_lateness_is_named() -> None:
    file = FileEntry(file="/logs/conn.log", site="dam", sensor="gate")
    topic = TopicSource.model_validate({"topic": "zeek", "site": "dam", "sensor": {"field": "host", "else": "x"}})
    for source, title in ((file, "/logs/conn.log"), (topic, "zeek")):
        other = FileEntry(file="/logs/other.log", site="dam", sensor="weir")
        (remark,) = late_remarks(NAME, found(), settings(sources=(other, source)))
        assert remark.remedy.startswith(f"set lateness_us: 290000000 at its source, {title}, and start again")
    any_name = {"field": "host", "else": "x"}
    perhaps = TopicSource.model_validate({"topic": "all", "site": any_name, "sensor": any_name})
    (remark,) = late_remarks(NAME, found(), settings(sources=(perhaps, file)))
    assert "at its source, /logs/conn.log, and" in remark.remedy
    (remark,) = late_remarks(NAME, found()._replace(of_source=True), settings())
    assert remark.remedy.startswith("set --lateness-us 290000000 of its `forebay flow follow`, or header lateness-us")


def test_what_holds_at_a_sensor_is_what_its_messages_said() -> None:
    messages = [rows("dam", "gate", 0, 93 * S), rows("dam", "weir", 0)]
    assert counted(messages, settings(), {NAME: 60 * S}) == {
        NAME: LateFlows(2, 1, 60 * S, 153 * S, 160 * S, True),
        ("dam", "weir"): LateFlows(1, 0, 2 * S, 0, 2 * S),
    }


def test_of_a_source_that_ends_with_its_first_flows_the_lateness_is_its_own() -> None:
    batch = scored(2)
    site, sensor = (batch.column(column)[0].as_py() for column in ("site", "sensor"))
    name = (site, sensor)
    payload = write(batch, scored_facts(ended=(name,), lateness=(SensorLateness(*name, 60 * S),)))
    message = SimpleNamespace(topic=lambda: "archive", partition=lambda: 0, offset=lambda: 7, value=lambda: payload)
    judged = _rows(cast("Any", message))
    assert judged is not None and judged.lateness == {name: 60 * S}
    _, held = since_it_holds([judged])
    assert counted([judged.rows], settings(), held)[name].lateness_us == 60 * S


def test_flows_that_another_lateness_judged_are_not_counted() -> None:
    """Who sets what doctor named is not told to double it as long as the hour before is still looked at."""
    weir = ("dam", "weir")
    before = Judged(rows("dam", "gate", 0, 288 * S), {NAME: None})
    stands = Judged(rows("dam", "gate", 250 * S), {})  # the watermark stands until the larger lateness has passed
    other = Judged(rows("dam", "weir", 0, 5 * S), {weir: 60 * S})
    after = Judged(rows("dam", "gate", 0, 0, S), {NAME: 300 * S, weir: 60 * S})
    counts, stated = since_it_holds([before, other, stands, after, after])
    assert stated == {NAME: 300 * S, weir: 60 * S}
    assert counted(counts, settings(), stated) == {
        NAME: LateFlows(6, 2, 300 * S, 301 * S, 310 * S, True),
        weir: LateFlows(2, 1, 60 * S, 65 * S, 70 * S, True),
    }
    counts, stated = since_it_holds([after, before])  # and back to what its site has
    assert (counted(counts, settings(), stated)[NAME].lateness_us, stated) == (2 * S, {NAME: None, weir: 60 * S})
    assert since_it_holds([before, stands]) == ([before.rows, stands.rows], {NAME: None})


def test_a_sensor_all_of_whose_flows_wait_is_known_by_its_watermark() -> None:
    seen = counted([], settings(), {NAME: 300 * S, ("dam", "weir"): None})
    assert seen == {
        NAME: LateFlows(0, 0, 300 * S, 0, 300 * S, True),
        ("dam", "weir"): LateFlows(0, 0, 2 * S, 0, 2 * S, False),
    }
    words = "none to judge: flows of all 2 sensors wait, none came, or their lateness was changed since"
    assert late_finding(seen) == ("ok", words)
    assert share_words(seen[NAME]) == "-" and late_remarks(NAME, seen[NAME], settings()) == []


def test_of_flows_that_were_scored_before_another_lateness_held_it_is_not_said_that_all_wait() -> None:
    before, since = Judged(rows(*NAME, 0, 0), {NAME: None}), Judged(rows(*NAME), {NAME: 300 * S})
    counts, held = since_it_holds([before, since])
    verdict, words = late_finding(counted(counts, settings(), held))
    assert verdict == "ok" and "of the sensor wait, none came, or their lateness was changed since" in words


def test_what_no_timeout_explains_gets_no_lateness() -> None:
    (remark,) = late_remarks(NAME, found(proposed_us=LONGEST_US + 1), settings())
    assert "FOREBAY" not in remark.remedy and "a name of its own" in remark.remedy


def test_few_flows_and_few_late_ones_are_no_remark() -> None:
    for few in (None, found(200, 2), found(LEAST_FLOWS - 1, 60)):
        assert late_remarks(NAME, few, settings()) == []


def test_the_check_counts_all_and_warns_of_one() -> None:
    good = LateFlows(1_000, 1, 2 * S, 3 * S, 2 * S)
    assert late_finding({}) == ("ok", "no flow in the last hour")
    assert late_finding({NAME: good}) == ("ok", "1 of the last 1,000 flows came late; no sensor with more than 1%")
    assert late_finding({NAME: good, ("dam", "weir"): found()}) == (
        "warn",
        "61 of the last 1,200 flows came late; 1 of 2 sensors with more than 1%, named below",
    )


def test_a_cell_and_a_document_say_the_share() -> None:
    assert (share_words(found()), share_words(None), late_document(None)) == ("30.0%", "-", None)
    assert (late_document(found()) or {})["share"] == 0.3
