"""Notices of baselines as events: valid, once each, and the same however often they are emitted."""

from dataclasses import replace

import pytest

from pipeline.alert.grouping import load_grouping
from pipeline.alert.notices import is_told, notice_finding, notice_uid
from pipeline.alert.ocsf import encode
from pipeline.alert.partition import PartitionState, advance_partition
from pipeline.alert.validity import require_valid
from pipeline.contracts.baseline import Phase
from pipeline.contracts.notices import (
    ADMITTED,
    ANCHORED,
    CHANGED,
    EXTENDED,
    FIGURES,
    KINDS,
    SILENT,
    NamedRelation,
    Notice,
)
from pipeline.runtime.wire.batches import empty
from tests.contracts.facts import scored_facts
from tests.tools.alerts.printed import printed

AT_US = 1_678_440_574_000_000
USE = NamedRelation("use", "10.0.0.7", "10.0.0.20", "502/tcp", 2, AT_US - 60_000_000, AT_US)
HARDWARE = NamedRelation("hardware", "10.0.0.7", "", "IP protocol 0", 1, AT_US, AT_US)
ARP = NamedRelation("talk", "00:07:7c:00:00:77", "ff:ff:ff:ff:ff:ff", "arp", 1, AT_US, AT_US)


def notice(kind: str, *relations: NamedRelation, **facts: object) -> Notice:
    given: dict[str, object] = {"number": 4, "figures": dict.fromkeys(FIGURES, 1), "more": 0} | facts
    return Notice(
        site="plant",
        sensor="left",
        kind=kind,
        phase=Phase.ANCHORED,
        at_us=AT_US,
        since_us=AT_US,
        relations=relations,
        **given,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    "told",
    [
        notice(CHANGED),
        notice(ANCHORED, USE, HARDWARE, ARP, more=7),
        notice(ANCHORED, *[USE] * 20, more=2_000),
        notice(EXTENDED, USE, more=300),
        notice(SILENT, replace(USE, source="any public address")),
        replace(notice(SILENT, replace(USE, source="\x1b[31m\u202e" + "x" * 400)), sensor="s\u200b" * 90),
    ],
)
def test_a_notice_is_a_valid_event(told: Notice) -> None:
    event = notice_finding(told)
    require_valid(event)
    assert event["severity_id"] <= 2 and event["activity_id"] == 1
    assert event["finding_info"]["uid"] == notice_uid(told) and event["metadata"]["sequence"] == 1
    assert event["message"].isprintable()
    assert encode(notice_finding(told)) == encode(event)


def test_the_lines_are_those_that_sensor_show_has() -> None:
    event = notice_finding(notice(ANCHORED, USE, more=7))
    assert event["count"] == 8
    first, more = event["unmapped"]["notice"]["lines"]
    assert first.startswith("10.0.0.7 used 502/tcp of 10.0.0.20, in 2 stretches") and more == "and 7 more"
    (evidence,) = event["evidences"]
    assert (evidence["src_endpoint"], evidence["dst_endpoint"]) == (
        {"ip": "10.0.0.7"},
        {"ip": "10.0.0.20", "port": 502},
    )
    assert "left at plant: anchored" in event["message"] and "8 things came and did not come back" in event["message"]


def test_only_what_somebody_must_hear_is_told() -> None:
    told = {kind for kind in KINDS if is_told(notice(kind, USE))}
    assert told == {ANCHORED, CHANGED, EXTENDED, SILENT}
    assert not is_told(notice(ANCHORED)) and is_told(notice(CHANGED))


def test_a_number_that_begins_again_is_another_event() -> None:
    before = notice(CHANGED)
    uids = {notice_uid(each) for each in (before, replace(before, number=5), replace(before, at_us=AT_US + 1))}
    assert len({*uids, notice_uid(replace(before, sensor="right"))}) == 4


def test_notices_come_out_once_with_the_message_that_brings_them() -> None:
    facts = scored_facts(notices=(notice(CHANGED), notice(ADMITTED, USE)))
    advanced = advance_partition(PartitionState.empty(), empty("scored"), facts, load_grouping(), lambda _model: None)
    assert [event["unmapped"]["notice"]["kind"] for event in advanced.events] == [CHANGED]
    again = advance_partition(advanced.state, empty("scored"), facts, load_grouping(), lambda _model: None)
    assert not again.accepted and not again.events


def test_a_notice_is_shown() -> None:
    event = notice_finding(notice(SILENT, USE))
    text = printed(event).splitlines()
    assert " notice " in text[0] and "that was always there fell silent" in text[0]
    assert text[-1] == "forebay sensor show plant/left" and any(each.startswith("10.0.0.7 used") for each in text)
