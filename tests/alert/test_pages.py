"""Which incidents page: the same again, the budget, what no flood can hide; in any batches, over restarts."""

from itertools import pairwise
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.alert import pages as page_state
from pipeline.alert.grouping import load_grouping
from pipeline.alert.incident import CROWD, Incident, as_document, of_document
from pipeline.alert.incidents import closed_incidents, incidents_of
from pipeline.alert.levels import CERTAIN, CLEAR, FAINT, FLOOD, GRAVE, LEVEL_NAMES, MANY, SLIGHT, Sign
from pipeline.alert.ocsf import CLOSE, CREATE
from pipeline.alert.pages import (
    AGAIN_US,
    BOUND,
    BUDGET,
    CERTAIN_EVIDENCE,
    DAY_US,
    HOUR_US,
    MAX_ENTRIES,
    NEW,
    OPENED_BEFORE,
    PAGE,
    REASONS,
    REVIEW,
    SAME,
    WEAK,
    Disposition,
    Occasion,
    SensorPages,
)
from pipeline.alert.partition import MAX_IDLE, PartitionState, advance_partition, restore, snapshot
from pipeline.contracts.baseline import Evidence
from pipeline.contracts.envelope import SensorWatermark
from pipeline.errors import Misconfigured
from pipeline.runtime.wire import batches
from pipeline.settings import load_settings
from schemas.pages import Pages
from schemas.validation import violation
from tests.alert.suspects import SECOND, START_US, scored
from tests.alert.test_evidence import shown
from tests.alert.test_ocsf import SCHEMA
from tests.contracts.facts import rows_facts
from tests.examples import examples

HOUR_S = 3_600
USE = Evidence.NEW_SERVICE_USE
PLAIN = Pages()


def occasion(
    hours: float, level: int, actor: str = "10.0.0.7", kind: str = "use", device: str = "", **changes: Any
) -> Occasion:
    uid = changes.pop("uid", f"{kind}-{actor}-{hours}")
    plain = {"of_flow": level, "flows": 1, **changes}
    return Occasion(uid, START_US + round(hours * HOUR_US), Sign(kind, actor, device), level, **plain)


def judged(pages: SensorPages, *args: Any, budget: Pages = PLAIN, **changes: Any) -> tuple[str, str]:
    decided = pages.judge(occasion(*args, **changes), budget)
    return decided.disposition, decided.reason


# ---- the budget


def test_a_day_brings_a_page_and_quiet_days_save_up_three() -> None:
    pages = SensorPages()
    assert judged(pages, 0, CLEAR, "a") == (PAGE, NEW)  # a sensor starts with one
    assert judged(pages, 1, CLEAR, "b") == (REVIEW, BUDGET)
    assert judged(pages, 23.9, CLEAR, "c") == (REVIEW, BUDGET)
    assert judged(pages, 24, CLEAR, "d") == (PAGE, NEW)
    after = [judged(pages, 24 + 300 + number, CLEAR, f"e{number}")[0] for number in range(5)]
    assert after == [PAGE, PAGE, PAGE, REVIEW, REVIEW]


def test_the_weaker_the_more_must_be_left() -> None:
    pages = SensorPages()
    assert judged(pages, 0, SLIGHT, "a") == (REVIEW, BUDGET)
    assert judged(pages, 0, FAINT, "b") == (REVIEW, WEAK)
    assert judged(pages, 47, SLIGHT, "c") == (REVIEW, BUDGET)
    assert judged(pages, 48, SLIGHT, "d") == (PAGE, NEW)
    assert judged(pages, 48, CLEAR, "e") == (PAGE, NEW)
    assert judged(pages, 500, FAINT, "f") == (REVIEW, WEAK)


def test_what_is_held_back_is_told_with_the_reason() -> None:
    pages = SensorPages()
    pages.judge(occasion(0, CLEAR, "a"), PLAIN)
    decided = pages.judge(occasion(12, CLEAR, "b"), PLAIN)
    assert decided.says == "clear evidence pages where the budget of 1 a day has 1 left; it has 0.5"


@pytest.mark.parametrize("a_day", [0, 1, 5])
def test_a_flood_of_weaker_incidents_hides_no_certain_one(a_day: int) -> None:
    pages, budget = SensorPages(), Pages(a_day=a_day)
    flood = [judged(pages, number / 1_000, CLEAR, f"actor {number}", budget=budget) for number in range(3_000)]
    assert flood.count((PAGE, NEW)) <= a_day + 1
    assert judged(pages, 3, CERTAIN, "10.0.0.66", kind="control", budget=budget) == (PAGE, CERTAIN_EVIDENCE)
    assert judged(pages, 3, GRAVE, "10.0.0.67", kind="control", budget=budget) == (PAGE, CERTAIN_EVIDENCE)


def test_what_is_certain_is_bounded_too() -> None:
    pages = SensorPages()
    flood = [judged(pages, number / 100, CERTAIN, f"actor {number}") for number in range(100)]
    assert flood.count((PAGE, CERTAIN_EVIDENCE)) == 10 and flood[10:] == [(REVIEW, BOUND)] * 90
    assert judged(pages, 1, CLEAR, "other") == (PAGE, NEW)
    assert judged(pages, 3.5, CERTAIN, "later") == (PAGE, CERTAIN_EVIDENCE)


# ---- the same again


def test_the_same_again_within_a_day_and_a_quarter_is_no_page() -> None:
    pages = SensorPages()
    assert judged(pages, 0, CERTAIN) == (PAGE, CERTAIN_EVIDENCE)
    again = pages.judge(occasion(3, CERTAIN), PLAIN)
    assert (again.disposition, again.reason) == (REVIEW, SAME)
    assert again.says == "incident use-10.0.0.7 3 h 0 min before was about 10.0.0.7 too, and no weaker"
    assert judged(pages, 32, CERTAIN) == (REVIEW, SAME)  # within thirty hours of the last one
    assert judged(pages, 63, CERTAIN) == (PAGE, CERTAIN_EVIDENCE)
    assert judged(pages, 64, CERTAIN, "10.0.0.8") == (PAGE, CERTAIN_EVIDENCE)
    assert judged(pages, 64, CERTAIN, kind="control") == (PAGE, CERTAIN_EVIDENCE)


def test_what_is_stronger_is_not_the_same() -> None:
    pages = SensorPages()
    assert judged(pages, 0, CLEAR) == (PAGE, NEW)
    assert judged(pages, 1, CERTAIN) == (PAGE, CERTAIN_EVIDENCE)
    assert judged(pages, 2, CERTAIN) == (REVIEW, SAME)
    assert judged(pages, 3, GRAVE) == (PAGE, CERTAIN_EVIDENCE)


def test_what_is_weaker_does_not_prolong_what_is_the_same() -> None:
    pages = SensorPages()
    judged(pages, 0, GRAVE)
    assert [judged(pages, hours, SLIGHT)[1] for hours in (10, 20, 29)] == [SAME] * 3
    assert judged(pages, AGAIN_US / HOUR_US + 1, GRAVE) == (PAGE, CERTAIN_EVIDENCE)


def test_small_incidents_of_one_actor_add_up() -> None:
    pages = SensorPages()
    decided = [judged(pages, number / 4, SLIGHT) for number in range(MANY + 1)]
    assert decided == [(REVIEW, BUDGET)] * (MANY - 1) + [(PAGE, NEW), (REVIEW, SAME)]
    faint = [judged(pages, 1 + number / 1_000, FAINT, "10.0.0.9", kind="strange")[1] for number in range(FLOOD + 1)]
    assert set(faint) == {WEAK}  # of these an outage makes a lot


def test_a_device_that_nobody_is_known_to_use_is_one_cause() -> None:
    pages = SensorPages()
    assert judged(pages, 0, GRAVE, "10.0.0.7", device="10.0.0.30") == (PAGE, CERTAIN_EVIDENCE)
    assert judged(pages, 1, CERTAIN, "10.0.0.8", device="10.0.0.30") == (REVIEW, SAME)
    assert judged(pages, 1, CERTAIN, "10.0.0.8", device="10.0.0.31") == (PAGE, CERTAIN_EVIDENCE)


def test_what_is_known_is_bounded_and_saved() -> None:
    pages = SensorPages()
    for number in range(3 * MAX_ENTRIES):
        pages.judge(occasion(number / 1_000, SLIGHT, f"actor {number}"), PLAIN)
    assert len(pages.entries) == MAX_ENTRIES and "actor\x1fuse\x1factor 767" in pages.entries
    document = orjson.loads(orjson.dumps(page_state.as_document(pages)))
    assert page_state.of_document(document) == pages
    assert page_state.of_document(page_state.as_document(SensorPages())) == SensorPages()


# ---- in an incident


def rows(number: int, hours: float, evidence: Evidence, flows: int = 1, **row: Any) -> list[dict[str, Any]]:
    """Suspects of one incident."""
    return [
        shown(evidence, at=hours * HOUR_S + each / 1_000, raw_offset=number * 10_000 + each, **row)
        for each in range(flows)
    ]


def test_a_review_becomes_a_page_and_never_the_other_way() -> None:
    actor = {"dst_port": 502}
    events = incidents_of([scored(rows(1, 0, USE, **actor))]), incidents_of([scored(rows(1, 0, USE, MANY, **actor))])
    few, many = (event["unmapped"] for [event] in events)
    assert (few["disposition"], few["level"]) == (REVIEW, "slight")
    assert (many["disposition"], many["disposition_reason"], many["level"]) == (PAGE, NEW, "clear")
    grave = [*rows(1, 0, USE, **actor), *rows(2, 0.001, Evidence.NEW_CONTROLLER), *rows(3, 0.002, USE, **actor)]
    [event] = incidents_of([scored(grave)])
    assert (event["unmapped"]["disposition"], event["unmapped"]["level"]) == (PAGE, "grave")
    assert violation(event, "alert") is None


def test_each_poll_of_replaced_hardware_says_the_same() -> None:
    evidence = Evidence.NEW_HARDWARE | Evidence.AT_TARGET
    [incident] = closed_incidents([scored(rows(1, 0, evidence, FLOOD))])
    assert (incident.level, incident.judged.disposition) == (CLEAR, PAGE)


def test_the_raise_goes_out_with_an_update() -> None:
    state, activities = PartitionState.empty(), []
    for seq, batch in enumerate((rows(1, 0, USE, dst_port=502), rows(2, 0.001, Evidence.NEW_CONTROLLER))):
        facts = rows_facts(seq=seq)
        advanced = advance_partition(state, scored(batch), facts, load_grouping(), lambda _model: None)
        state = advanced.state
        activities += [(event["activity_id"], event["unmapped"]["disposition"]) for event in advanced.events]
        assert advanced.tally.pages == seq
    assert activities == [(CREATE, REVIEW), (2, PAGE)]


SOME = st.sampled_from(
    [
        Evidence.NEW_CONTROLLER,
        Evidence.NEW_WRITER,
        Evidence.NEW_WRITER | USE,
        Evidence.NEW_HARDWARE | Evidence.AT_TARGET,
        USE | Evidence.STRANGE,
        USE,
        Evidence.STRANGE,
    ]
)
FLOWS = st.lists(
    st.tuples(
        SOME, st.sampled_from([1, 1, 1, 20]), st.integers(0, 3), st.integers(0, 3), st.sampled_from([1, 40, 600])
    ),
    min_size=1,
    max_size=16,
)


@pytest.mark.slow
@settings(max_examples=examples(60), deadline=None)
@given(flows=FLOWS, cuts=st.sets(st.integers(1, 60), max_size=8))
def test_dispositions_are_the_same_in_any_batches_and_over_restarts(
    flows: list[tuple[Evidence, int, int, int, int]], cuts: set[int]
) -> None:
    suspects, hours = list[dict[str, Any]](), 0.0
    for evidence, count, source, target, minutes in flows:
        ends = {"src_addr": f"10.0.0.{source}", "dst_addr": f"10.0.1.{target}", "dst_port": 502}
        suspects += rows(len(suspects) + 1, hours, evidence, count, **ends)
        hours += minutes / 60
    whole, split = (_dispositions(suspects, where) for where in (set[int](), cuts))
    assert whole == split
    assert {judged.reason for judged in whole.values()} <= set(REASONS)


def _dispositions(suspects: list[dict[str, Any]], cuts: set[int]) -> dict[str, Disposition]:
    """Of every incident, where the suspects come in batches cut before these numbers, with a restart after each."""
    edges = [0, *sorted(cut for cut in cuts if cut < len(suspects)), len(suspects)]
    parts = [scored(suspects[start:end]) for start, end in pairwise(edges)]
    state, last = PartitionState.empty(), dict[str, Disposition]()
    for seq, batch in enumerate([*parts, parts[0].slice(0, 0)]):
        is_last = seq == len(parts)
        until_us = START_US if is_last else int(batch.column("end_ts_us").to_numpy().max())
        facts = rows_facts(
            seq=seq,
            watermarks=(SensorWatermark("plant", "left", until_us),),
            ended=(("plant", "left"),) if is_last else (),
        )
        advanced = advance_partition(restore(snapshot(state)), batch, facts, load_grouping(), lambda _model: None)
        state = advanced.state
        for event in advanced.events:
            about = event["unmapped"]
            if event["activity_id"] == CLOSE:
                last[event["finding_info"]["uid"]] = Disposition(
                    about["disposition"],
                    about["disposition_reason"],
                    about["disposition_says"],
                    LEVEL_NAMES.index(about["level"]),
                    0,
                )
    assert all(not sensor.followed for sensor in state.sensors.values())
    return last


def _file(state: PartitionState, seq: int, hours: float, number: int) -> tuple[PartitionState, list[str]]:
    """A file of one incident of a sensor, with its end: the state after it, and the incident's disposition."""
    ends = {"src_addr": f"10.0.0.{number}", "dst_addr": f"10.0.1.{number}"}
    batch = scored(rows(seq + 1, hours, Evidence.MORE_BYTES, 1, **ends))
    facts = rows_facts(seq=seq, ended=(("plant", "left"),))
    advanced = advance_partition(restore(snapshot(state)), batch, facts, load_grouping(), lambda _model: None)
    closed = [event["unmapped"] for event in advanced.events if event["activity_id"] == CLOSE]
    return advanced.state, [about["disposition_reason"] for about in closed]


def test_a_source_of_hourly_files_has_no_budget_every_hour() -> None:
    state, told = PartitionState.empty(), list[str]()
    for seq, (hours, number) in enumerate([(0, 1), (1, 2), (2, 3), (24, 4), (3, 4), (-100, 1), (-50, 5)]):
        state, reasons = _file(state, seq, hours, number)
        told += reasons
    # The fifth file lies before the fourth, and the sixth so long before that it is not the same again.
    assert told == [NEW, BUDGET, BUDGET, NEW, SAME, BUDGET, NEW]


def test_of_sensors_that_send_nothing_any_more_256_are_known() -> None:
    state = PartitionState.empty()
    for seq in range(2):
        names = [f"sensor {number:03}" for number in range(seq * 200, seq * 200 + 200)]
        batch = scored([row for name in names for row in rows(seq, seq, Evidence.MORE_BYTES, sensor=name)])
        facts = rows_facts(seq=seq, evicted=tuple(("plant", name) for name in names))
        state = advance_partition(state, batch, facts, load_grouping(), lambda _model: None).state
    assert len(state.sensors) == MAX_IDLE and ("plant", "sensor 399") in state.sensors
    assert all(not sensor.followed for sensor in state.sensors.values())


def test_a_message_too_many_changes_no_budget() -> None:
    batch = scored(rows(1, 0, Evidence.MORE_BYTES))
    state = advance_partition(PartitionState.empty(), batch, rows_facts(), load_grouping(), lambda _model: None).state
    before = snapshot(state)
    advance_partition(state, batch, rows_facts(), load_grouping(), lambda _model: None)
    assert snapshot(state) == before


def test_an_incident_opened_before_there_were_pages_stays_what_it_was() -> None:
    [incident] = closed_incidents([scored(rows(1, 0, USE, dst_port=502))])
    document = as_document(incident)
    for name in ("judged", "level", "level_flows", "judged_flows"):
        del document[name]
    assert of_document(document).judged == OPENED_BEFORE
    assert of_document(as_document(incident)).judged == incident.judged


def test_a_state_saved_before_there_were_pages_is_read() -> None:
    batch = scored(rows(1, 0, Evidence.MORE_BYTES))
    state = advance_partition(PartitionState.empty(), batch, rows_facts(), load_grouping(), lambda _model: None).state
    waiting, facts = batches.decode(snapshot(state), "scored")
    for saved in facts["sensors"]:
        del saved["pages"]
    assert restore(batches.encode(waiting, facts)).sensors["plant", "left"].pages == SensorPages()
    assert restore(snapshot(state)).sensors["plant", "left"].pages == state.sensors["plant", "left"].pages


def test_each_site_has_its_own_budget() -> None:
    def paged(rows: pa.RecordBatch, pages: Pages) -> int:
        return sum(incident.judged.disposition == PAGE for incident in closed_incidents([rows], pages=pages))

    suspects = [
        row
        for number in range(9)
        for row in rows(number, number, Evidence.MORE_BYTES, src_addr=f"10.0.0.{number}", dst_addr=f"10.0.1.{number}")
    ]
    assert [paged(scored(suspects), Pages(a_day=a_day, burst=9)) for a_day in (0, 1, 24)] == [0, 1, 9]


# ---- settings and schema


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('{"a_day": -1}', "FOREBAY_PAGES, a_day: got -1"),
        ('{"burst": 0}', "FOREBAY_PAGES, burst: got 0"),
        ('{"a_week": 1}', "a_week, which pages have no field for"),
    ],
)
def test_a_wrong_budget_is_named(monkeypatch: pytest.MonkeyPatch, value: str, expected: str) -> None:
    monkeypatch.setenv("FOREBAY_PAGES", value)
    with pytest.raises(Misconfigured) as raised:
        load_settings()
    assert expected in str(raised.value)


def test_a_site_may_have_another_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREBAY_SITE_PAGES", '{"plant": {"a_day": 4}}')
    chosen = load_settings()
    assert (chosen.pages_of("plant"), chosen.pages_of("other")) == (Pages(a_day=4), Pages())


def test_the_schema_knows_all_reasons_and_levels() -> None:
    about = SCHEMA["properties"]["unmapped"]["properties"]
    assert about["disposition"]["enum"] == [PAGE, REVIEW]
    assert about["disposition_reason"]["enum"] == list(REASONS)
    assert about["level"]["enum"] == list(LEVEL_NAMES)


def test_a_token_is_a_day() -> None:
    assert DAY_US == 24 * HOUR_US == 86_400 * SECOND


# ---- what is strong, among much that is weak


def test_a_strong_flow_in_a_flood_pages_though_the_flood_did() -> None:
    state, paged = PartitionState.empty(), []
    flood = [
        shown(USE | Evidence.STRANGE, at=each / 1_000, raw_offset=each, src_addr=f"f{each}", dst_addr=f"g{each}")
        for each in range(5_000)
    ]
    program = [shown(Evidence.NEW_CONTROLLER, at=6, raw_offset=10_000)]
    for seq, batch in enumerate((flood, program)):
        advanced = advance_partition(state, scored(batch), rows_facts(seq=seq), load_grouping(), lambda _model: None)
        state = advanced.state
        paged.append(advanced.tally.pages)
    crowd = max((each.incident for each in state.sensors["plant", "left"].followed if each.incident), key=_count)
    assert crowd.key == CROWD and crowd.count > 4_000
    assert (crowd.judged.disposition, crowd.judged.level) == (PAGE, GRAVE)
    assert paged[1] == 1  # somebody is called again


def _count(incident: Incident) -> int:
    return incident.count


def test_another_actor_in_an_incident_under_review_is_judged_by_himself() -> None:
    first = shown(Evidence.NEW_WRITER, at=0, raw_offset=1)
    again = shown(Evidence.NEW_WRITER, at=1_000, raw_offset=2)
    other = shown(Evidence.NEW_WRITER, at=1_001, raw_offset=3, src_addr="10.0.0.66")
    assert _reasons([first, again]) == [CERTAIN_EVIDENCE, SAME]
    assert _reasons([first, again, other]) == [CERTAIN_EVIDENCE, CERTAIN_EVIDENCE]


def _reasons(*suspects: list[dict[str, Any]]) -> list[str]:
    return [incident.judged.reason for incident in closed_incidents([scored(each) for each in suspects])]


def test_who_is_answered_between_the_same_addresses_is_another_actor_in_any_batch() -> None:
    first = shown(Evidence.NEW_WRITER, at=0, raw_offset=1)
    again = shown(Evidence.NEW_WRITER, at=1_000, raw_offset=2)
    answer = shown(Evidence.NEW_WRITER, at=1_001, raw_offset=3, src_port=502, dst_port=40_000, conn_state="OTH")
    assert _reasons([first, again], [answer]) == [CERTAIN_EVIDENCE, CERTAIN_EVIDENCE]
    assert _reasons([first, again, answer]) == [CERTAIN_EVIDENCE, CERTAIN_EVIDENCE]


def test_a_page_rings_again_for_what_is_stronger_only() -> None:
    def rings(*batches: list[dict[str, Any]]) -> list[int]:
        state, paged = PartitionState.empty(), []
        for seq, batch in enumerate(batches):
            facts = rows_facts(seq=seq)
            advanced = advance_partition(state, scored(batch), facts, load_grouping(), lambda _model: None)
            state = advanced.state
            paged.append(advanced.tally.pages)
        return paged

    scan = rows(1, 0, USE | Evidence.STRANGE, 100)
    assert rings(scan, rows(2, 0.001, Evidence.NEW_WRITER)) == [1, 0]  # by its number it is as certain
    assert rings(scan, rows(2, 0.001, Evidence.NEW_CONTROLLER)) == [1, 1]
    assert rings(scan, rows(2, 0.001, Evidence.NEW_WRITER, 1, src_addr="10.0.0.66")) == [1, 1]
