"""A file that learns what is usual, one that is too short to, and one that is told by others."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.alert.evidence_words import sentence, shipped_evidence_words
from pipeline.alert.shown_evidence import example_of
from pipeline.contracts.baseline import Evidence, Phase, shown
from pipeline.contracts.public_addresses import is_public
from pipeline.errors import BadData, Usage
from pipeline.featurize.feature_sets import named
from pipeline.ingest.files.offline_rows import Decoded
from pipeline.runtime.wire.batches import empty
from pipeline.settings import Settings, load_settings
from pipeline.tools.offline.flow_file import FlowFile, featurize
from pipeline.tools.offline.not_back import MAX_LINES, NotBack, what_did_not_come_back
from pipeline.tools.offline.wording import span
from schemas.learning import Learning
from tests.featurize.flows import START_US, batch

MINUTE = 60
DAY = 86_400
PLC, STATION, HISTORIAN = "10.0.0.20", "10.0.0.7", "10.0.0.8"

Row = dict[str, Any]


def usual(minutes: int, start_s: float = 0.0) -> list[Row]:
    """A station and a historian poll a device every five seconds."""
    return [
        {"at": start_s + at, "src_addr": source, "dst_addr": PLC, "src_port": 1024 + number, "dst_port": 502}
        for at in range(0, minutes * MINUTE, 5)
        for number, source in enumerate((STATION, HISTORIAN))
    ]


def decoded(rows: Sequence[Row], site: str = "plant") -> Decoded:
    ordered = sorted(rows, key=lambda row: row["at"])
    flows = batch([{**row, "site": site} for row in ordered])
    return Decoded(flows, empty("reject"), "zeek-conn+json", site, "left", len(ordered), 0)


def file_of(rows: Sequence[Row], settings: Settings | None = None, quiet: Sequence[Decoded] = ()) -> FlowFile:
    return featurize(decoded(rows), settings or load_settings(), quiet=quiet)


def not_back(rows: Sequence[Row]) -> tuple[list[NotBack], int]:
    file = file_of(rows)
    assert file.baseline is not None
    return what_did_not_come_back(file.rows, file.baseline)


def shown_of(file: FlowFile) -> npt.NDArray[np.bool_]:
    rows = file.on_time
    return shown(rows.column("phase").to_numpy(), rows.column("evidence").to_numpy())


# ---- how far learning got


def test_a_short_file_says_that_it_is_too_short() -> None:
    learnt = file_of(usual(11)).learnt
    assert learnt is not None and not learnt.has_shown
    assert learnt.phase == Phase.LEARNING
    assert learnt.words() == (
        "the file lasts 10 min: too short to learn what is usual (2 h, setting learning); nothing is called a suspect"
    )
    assert learnt.document() == {
        "phase": "learning",
        "file_s": 655,
        "learnt_s": None,
        "anchored_s": None,
        "needed_s": 7200,
        "quiet": None,
    }


QUICK = Learning(least_s=5 * MINUTE, most_s=5 * MINUTE, anchor_s=10 * MINUTE, admit_s=5 * MINUTE, shortest_block_s=10)


def test_a_file_that_is_long_enough_says_when_it_had_learnt() -> None:
    settings = load_settings(learning=QUICK)
    learnt = file_of(usual(8), settings).learnt
    assert learnt is not None and learnt.has_shown and learnt.phase == Phase.SETTLING
    assert learnt.words() == (
        "learnt what is usual in the first 5 min of the file; what comes after that is judged by it"
    )
    longer = file_of(usual(15), settings).learnt
    assert longer is not None and longer.phase == Phase.ANCHORED
    assert ", fixed after 10 min; " in longer.words()


def test_a_file_with_too_few_flows_says_so() -> None:
    learnt = file_of(usual(8)[:60], load_settings(learning=QUICK.model_copy(update={"least_s": 60}))).learnt
    assert learnt is not None
    assert "with 60 flows: too few flows, or too much that is new" in learnt.words()


def test_a_feature_set_without_baselines_says_nothing() -> None:
    assert featurize(decoded(usual(1)), load_settings(), named("kdd-nsl")).learnt is None


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (40, "40 s"), (660, "11 min"), (7200, "2 h"), (7449, "2 h 4 min")]
)
def test_stretches_are_said_as_people_say_them(seconds: int, words: str) -> None:
    assert span(seconds * 1_000_000) == words


# ---- what did not come back


WRITER: Row = {"at": 200.0, "src_addr": "10.0.0.9", "dst_addr": PLC, "src_port": 50_001, "dst_port": 502}


def test_what_was_there_once_is_listed_by_what_it_is() -> None:
    once = [
        {**WRITER, "at": 100.0, "dst_port": 80},
        {**WRITER, "ics_proto": "modbus", "ics_write_cnt": 1, "ics_functions": [16, 1]},
        {**WRITER, "at": 300.0, "dst_addr": "10.0.0.255", "ip_proto": 1, "src_port": None, "dst_port": None},
    ]
    lines, more = not_back([*usual(11), *once])
    assert [(line.kind, line.flows, line.others, line.start_us - START_US) for line in lines] == [
        ("new_writer", 1, 0, 199_999_000),
        ("new_service_use", 1, 0, 99_999_000),
        ("new_talk", 1, 0, 299_999_000),
    ]
    assert lines[0].says == (f"10.0.0.9 sent write commands (Modbus) to {PLC} and is not known to; no other source is")
    assert more == 0


def test_what_came_back_is_not_listed() -> None:
    again = [{**WRITER, "at": at} for at in (100.0, 300.0, 500.0, 600.0)]
    assert not_back([*usual(11), *again]) == ([], 0)


def test_a_scan_is_one_line() -> None:
    scan = [{**WRITER, "at": 200 + port / 10, "dst_port": port} for port in range(1, 41)]
    [line], more = not_back([*usual(11), *scan])
    assert (line.kind, line.source, line.flows, line.others, more) == ("new_service_use", "10.0.0.9", 40, 39, 0)


def test_what_many_public_addresses_did_is_not_said_of_one_of_them() -> None:
    scan = [{**WRITER, "at": 200 + n / 10, "src_addr": f"8.8.{n}.8", "dst_port": n} for n in range(1, 41)]
    [line], _ = not_back([*usual(11), *scan])
    assert (line.source, line.flows, line.others) == ("any public address", 40, 39)


def test_an_industrial_service_comes_before_others() -> None:
    office = {"at": 101, "src_addr": STATION, "dst_addr": "10.0.0.9", "src_port": 3000, "dst_port": 137}
    fake = {"at": 289, "src_addr": "10.0.0.21", "dst_addr": PLC, "src_port": 1636, "dst_port": 502}
    lines, _ = not_back([*usual(11), office, fake])
    assert ["502" in line.says for line in lines] == [True, False]


def test_an_answer_is_listed_as_what_it_answers() -> None:
    answer = {"at": 200.0, "src_addr": PLC, "dst_addr": "10.0.0.9", "src_port": 102, "dst_port": 50_001}
    answer["conn_state"] = "OTH"  # who opened it was not seen
    [line], _ = not_back([*usual(11), answer])
    assert line.says == f"10.0.0.9 is not known to use S7 (tcp/102) of {PLC}; no other source is"


def test_public_addresses_are_one() -> None:
    out = [
        {"at": 200.0 + at, "src_addr": STATION, "dst_addr": f"93.184.216.{at}", "src_port": 50_001, "dst_port": 443}
        for at in range(9)
    ]
    [line], _ = not_back([*usual(11), *out])
    assert (line.flows, line.others) == (9, 0)
    assert "93.184.216.0 (or any other public address)" in line.says


def test_a_list_has_an_end_and_says_how_much_is_left() -> None:
    once = [{**WRITER, "at": 100.0 + at, "src_addr": f"10.0.1.{at}"} for at in range(30)]
    lines, more = not_back([*usual(11), *once])
    assert (len(lines), more) == (MAX_LINES, 30 - MAX_LINES)


def test_the_list_does_not_depend_on_the_order_of_the_file() -> None:
    rows = [*usual(11), WRITER, {**WRITER, "at": 100.0, "dst_port": 80}]
    turned = [{**row, "record_id": number} for number, row in enumerate(reversed(rows))]
    assert [line.says for line in not_back(rows)[0]] == [line.says for line in not_back(turned)[0]]


# ---- files called quiet


NEWS = Evidence.NEW_SERVICE_USE | Evidence.NEW_HOST


def test_a_quiet_file_says_what_is_usual_in_another() -> None:
    file = file_of([*usual(5, DAY), {**WRITER, "at": DAY + 100.0}], quiet=[decoded(usual(12))])
    assert file.learnt is not None and file.learnt.has_shown
    assert "learnt what is usual from 11 min of quiet traffic, 288 flows" in file.learnt.words()
    rows, suspects = file.on_time, shown_of(file)
    assert set(rows.column("phase").to_pylist()) == {Phase.ANCHORED}
    assert np.count_nonzero(suspects) == 1
    [evidence] = rows.column("evidence").to_numpy()[suspects]
    assert evidence & NEWS == NEWS
    # The shares are those of the quiet flows: its first ones, too, had nothing before them.
    assert np.unique(rows.column("strange_p").to_numpy()[~suspects]).tolist() == pytest.approx([3 / 289, 1.0])


@pytest.mark.parametrize("apart_s", [-10 * DAY, -MINUTE, 0, 3 * MINUTE, 4000 * DAY])
def test_when_the_quiet_file_is_from_does_not_matter(apart_s: int) -> None:
    """Also where it is later than the file, or from a clock that is years ahead."""
    start_s = 10 * DAY
    rows = [*usual(5, start_s), {**WRITER, "at": start_s + 100.0}]
    reference = file_of(rows, quiet=[decoded(usual(12, start_s - 12 * MINUTE))])
    file = file_of(rows, quiet=[decoded(usual(12, start_s + apart_s))])
    for name in ("phase", "evidence", "others", "strangeness", "strange_p"):
        assert file.rows.column(name).equals(reference.rows.column(name)), name


def test_several_quiet_files_are_one_stretch() -> None:
    """The station was quiet on one day, the historian on another: both are usual."""
    days = [
        [row for row in usual(12, day * DAY) if row["src_addr"] == source]
        for day, source in enumerate((STATION, HISTORIAN))
    ]
    file = file_of(usual(5, 9 * DAY), quiet=[decoded(day) for day in reversed(days)])
    assert not shown_of(file).any()
    assert file.learnt is not None and file.learnt.quiet is not None
    assert (file.learnt.quiet.flows, file.learnt.quiet.span_us) == (288, 2 * 715_000_000)


@pytest.mark.parametrize(
    ("rows", "got"), [(usual(5), "got 120 flows in 4 min"), (usual(12)[:288:8], "got 36 flows in 11 min")]
)
def test_a_quiet_file_that_is_too_short_is_refused(rows: list[Row], got: str) -> None:
    with pytest.raises(BadData, match=f"--quiet: {got}, expected at least 100 in 10 min"):
        file_of(usual(5, DAY), quiet=[decoded(rows)])


def test_a_quiet_file_is_refused_where_there_are_no_baselines() -> None:
    with pytest.raises(Usage, match="kdd-nsl"):
        featurize(decoded(usual(5)), load_settings(), named("kdd-nsl"), [decoded(usual(12))])


# ---- sentences about flows that went the whole way


SAYS = re.compile(
    r"(\S+)( \(or any other public address\))? is not known to use \w+ \(tcp/(\d+)\) of (\S+)( \(or .*\))?;.*"
)


def talk(source: np.random.Generator, at: float, user: str, port: int, owner: str) -> Row:
    """A use of a service as a sensor records it: as it was asked, or the answer to it."""
    client = int(source.integers(50_100, 54_000))
    asked = {"at": at, "src_addr": user, "dst_addr": owner, "src_port": client, "dst_port": port}
    if source.random() < 0.5:
        return asked
    return {"at": at, "src_addr": owner, "dst_addr": user, "src_port": port, "dst_port": client, "conn_state": "OTH"}


@pytest.mark.parametrize("seed", range(4))
def test_every_sentence_holds_for_its_flow_whichever_way_it_was_recorded(seed: int) -> None:
    source = np.random.default_rng(seed)
    hosts = [PLC, STATION, HISTORIAN, "10.0.0.9", "93.184.216.1", "93.184.216.2"]
    relations = [
        (user, port, owner) for user in hosts[:4] for port in (22, 102, 502) for owner in hosts if user != owner
    ]
    usual_ones = [relations[at] for at in source.choice(len(relations), 8, replace=False)]
    quiet = [talk(source, float(at), *each) for at in range(0, 12 * MINUTE, 10) for each in usual_ones]
    later = [talk(source, DAY + float(at), *each) for at, each in enumerate(relations)]
    rows = file_of(later, quiet=[decoded(quiet)]).on_time
    known = {tuple("public" if is_public(str(part)) else part for part in each) for each in usual_ones}
    assert rows.num_rows == len(relations)
    for at, (user, port, owner) in enumerate(relations):
        named = tuple("public" if is_public(str(part)) else part for part in (user, port, owner))
        is_new = bool(rows.column("evidence")[at].as_py() & Evidence.NEW_SERVICE_USE)
        assert is_new == (named not in known)
        if is_new:
            [kind] = [kind for kind in shipped_evidence_words().kinds if kind.bit == Evidence.NEW_SERVICE_USE]
            said = SAYS.fullmatch(sentence(kind, example_of(rows, at)))
            assert said is not None
            assert (said[1], int(said[3]), said[4]) == (user, port, owner)
            assert (said[5] is not None) == is_public(owner)
