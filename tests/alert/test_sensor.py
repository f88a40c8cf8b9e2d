from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.alert.grouping import Grouping
from pipeline.alert.incident import Incident, as_document
from pipeline.alert.ocsf import CLOSE, CREATE, UPDATE
from pipeline.alert.partition import PartitionState, restore, snapshot
from pipeline.alert.sensor import advance
from pipeline.alert.sensor_state import SensorState
from pipeline.contracts.baseline import Evidence
from tests.alert.suspects import SECOND, START_US, scored
from tests.alert.test_evidence import shown
from tests.examples import examples

GROUPING = Grouping(link="none", key=("actor",), open_count=2, gap_us=8 * SECOND, max_open=2, max_waiting=2)


def invariant(incident: Incident) -> dict[str, Any]:
    """The parts of an incident that must not depend on how its flows are batched."""
    names = ("uid", "key", "opened_ts_us", "count", "late", "first_ts_us", "start_ts_us", "end_ts_us", "classes")
    more = ("sources", "targets", "positions", "total_score_ppm", "lowest_p_value", "last_clock_us", "talks")
    sample = incident.features.as_document()
    return {name: getattr(incident, name) for name in names + more} | sample


def play(messages: list[tuple[pa.RecordBatch, int]], grouping: Grouping = GROUPING) -> list[tuple[Incident, int]]:
    """The changes that messages (rows, watermark) of one sensor lead to, its end included."""
    state = SensorState()
    changes = []
    for number, (rows, watermark_us) in enumerate(messages):
        ended = number == len(messages) - 1
        changes += advance(state, rows, watermark_us, ended, grouping)[0]
    assert state.followed == []
    assert state.waiting is None
    return [(incident, activity) for incident, activity, _ in changes]


# Rows as `raw` has them: (end, who, how far the sensor's clock moves on). Lateness 3 s decides which are late.
ARRIVALS = st.lists(st.tuples(st.integers(0, 12), st.sampled_from("abcd"), st.integers(0, 4)), max_size=40)


@pytest.mark.slow
@settings(max_examples=examples(50), deadline=None)
@given(arrivals=ARRIVALS, cuts=st.sets(st.integers(1, 39), max_size=6), link=st.sampled_from(["none", "address"]))
def test_incidents_do_not_depend_on_how_flows_come_in_batches(
    arrivals: list[tuple[int, str, int]], cuts: set[int], link: str
) -> None:
    grouping = replace(GROUPING, link=link, key=("actor",) if link == "none" else ())
    whole, split = (
        {
            incident.uid: invariant(incident)
            for incident, activity in play(messages_of(arrivals, where), grouping)
            if activity == CLOSE
        }
        for where in (set[int](), cuts)
    )
    assert whole == split


def messages_of(arrivals: list[tuple[int, str, int]], cuts: set[int]) -> list[tuple[pa.RecordBatch, int]]:
    """What featurize makes of the arrivals, cut before the given rows: on time in event order, then late ones."""
    lateness, now, latest = 3, 0, -10
    rows: list[dict[str, Any]] = []
    waiting: list[dict[str, Any]] = []
    late: list[dict[str, Any]] = []
    messages = []

    def flush(watermark: int) -> None:
        ready = sorted(
            (flow for flow in waiting if flow["at"] < watermark), key=lambda flow: (flow["at"], flow["raw_offset"])
        )
        waiting[:] = [flow for flow in waiting if flow["at"] >= watermark]
        messages.append((scored(ready + late), START_US + min(watermark, 10_000) * SECOND))
        late.clear()

    for number, (back, who, forward) in enumerate(arrivals):
        if number in cuts:
            flush(latest - lateness)
        now += forward
        end = max(0, now - back)
        row = {"at": end, "src_addr": who, "raw_offset": number, "dst_addr": "efgh"[back % 4]}
        watermark = latest - lateness
        if end < watermark:
            late.append({**row, "late_by_us": (watermark - end) * SECOND})
        else:
            waiting.append(row)
        latest = max(latest, end)
        rows.append(row)
    flush(1_000_000)
    return messages


def test_an_incident_is_created_updated_and_closed_once_each_revision() -> None:
    messages = [
        (scored([{"at": 0}, {"at": 1}]), START_US + SECOND),
        (scored([]), START_US + 2 * SECOND),
        (scored([{"at": 3, "raw_offset": 8 + more} for more in range(6)]), START_US + 3 * SECOND),
        (scored([]), START_US + 11 * SECOND),
        (scored([]), START_US + 12 * SECOND),
        (scored([]), START_US + 13 * SECOND),
    ]
    state = SensorState()
    emitted = []
    for rows, watermark_us in messages:
        for incident, activity, revision in advance(state, rows, watermark_us, False, GROUPING)[0]:
            emitted.append((activity, revision, incident.count))
    assert emitted == [(CREATE, 1, 2), (UPDATE, 2, 8), (CLOSE, 3, 8)]


def updates(rows: list[dict[str, Any]], at_once: int = 1, **changed: Any) -> list[int]:
    """How many flows an incident had at each of its events; each flow but the first comes in a message of its own.

    at_once : how many flows the first message has
    """
    state, grouping, counts = SensorState(), Grouping(open_count=1, **changed), []
    numbered = [{"raw_offset": number, **row} for number, row in enumerate(rows)]
    for message in (numbered[:at_once], *([row] for row in numbered[at_once:])):
        changes, _ = advance(state, scored(message), None, False, grouping)
        counts += [incident.count for incident, *_ in changes]
    return counts


def test_an_update_waits_until_its_time() -> None:
    rows = [{"at": number / 10} for number in range(25)]
    assert updates(rows, update_every_us=SECOND, update_growth=1) == [1, 11, 21]


def test_an_incident_that_grows_is_updated_at_each_growth_by_a_factor() -> None:
    assert updates([{"at": number} for number in range(300)]) == [1, 4, 16, 64, 256]


def test_an_incident_that_goes_on_slowly_is_updated_once_an_hour() -> None:
    rows = [{"at": 0}] * 1000 + [{"at": 40 * number} for number in range(1, 200)]
    counts = updates(rows, at_once=1000)
    assert counts[-2:] == [counts[-2], counts[-2] + 90] and counts[-1] < 4 * counts[-3]


def test_a_class_that_no_revision_said_is_an_update() -> None:
    named = ["portscan"] * 30 + ["mitm"] * 10 + ["portscan"] * 10 + ["mitm"] * 10
    counts = updates([{"at": number, "class": name} for number, name in enumerate(named)], update_growth=1_000)
    assert counts == [1, 16, 34], "16 flows weigh a level more; the same class again is none"


def test_an_incident_that_becomes_a_page_is_updated() -> None:
    plain = [shown(Evidence.NEW_FUNCTION, at=number) for number in range(5)]
    rows, state, seen = [*plain, shown(Evidence.NEW_CONTROLLER, at=30)], SensorState(), list[tuple[int, int, str]]()
    for number, row in enumerate(rows):
        changes, _ = advance(state, scored([row | {"raw_offset": number}]), None, False, Grouping(update_growth=1_000))
        seen += [(activity, incident.count, incident.judged.disposition) for incident, activity, revision in changes]
    assert seen == [(CREATE, 2, "review"), (UPDATE, 6, "page")]


def test_an_update_comes_after_a_restart_as_without_one() -> None:
    grouping, whole, cut = Grouping(), SensorState(), SensorState()
    for number in range(70):
        rows = scored([{"at": number, "raw_offset": number}])
        expected, _ = advance(whole, rows, None, False, grouping)
        cut = restore(snapshot(PartitionState(0, {("plant", "left"): cut}))).sensors["plant", "left"]
        got, _ = advance(cut, rows, None, False, grouping)
        assert [(change.activity, as_document(change.incident)) for change in got] == [
            (change.activity, as_document(change.incident)) for change in expected
        ]


def test_what_opens_and_ends_within_a_batch_is_created_and_closed() -> None:
    rows = scored([{"at": 0}, {"at": 1}, {"at": 100}])
    changes, tally = advance(SensorState(), rows, START_US + 200 * SECOND, False, GROUPING)
    assert [(activity, revision, incident.count) for incident, activity, revision in changes] == [
        (CREATE, 1, 2),
        (CLOSE, 2, 2),
    ]
    assert tally.alone == 1  # the third flow found no company


def test_evidence_too_far_apart_never_becomes_an_incident() -> None:
    rows = scored([{"at": 9.0 * number} for number in range(20)])
    changes, tally = advance(SensorState(), rows, None, True, GROUPING)
    assert changes == []
    assert tally.alone == tally.suspects == 20


def test_a_file_that_goes_back_in_time_starts_anew_after_the_end_of_the_one_before() -> None:
    state = SensorState()
    later = scored([{"at": 1000}, {"at": 1001}])
    first, _ = advance(state, later, None, True, GROUPING)
    earlier = scored([{"at": 0, "raw_offset": 10}, {"at": 1, "raw_offset": 11}])
    second, _ = advance(state, earlier, None, True, GROUPING)
    assert [change.activity for change in first + second] == [CREATE, CLOSE, CREATE, CLOSE]
    assert second[1].incident.opened_ts_us == START_US + SECOND


@pytest.mark.slow
def test_a_scan_of_ten_thousand_addresses_is_one_incident() -> None:
    state = SensorState()
    changes = []
    for part in range(5):
        rows = scored(
            [
                {"at": part + number / 2000, "dst_addr": f"10.{part}.{number >> 8}.{number & 255}"}
                for number in range(2000)
            ]
        )
        changes += advance(state, rows, None, False, Grouping())[0]
    changes += advance(state, scored([]), None, True, Grouping())[0]
    assert {incident.uid for incident, *_ in changes} == {changes[0].incident.uid}
    last = changes[-1].incident
    assert last.count == 10_000
    assert len(last.positions) == 1024
    assert len(last.targets) == 256
    assert last.more_targets


def test_ten_thousand_forged_senders_are_a_few_incidents_and_a_crowd() -> None:
    grouping = Grouping(link="address", open_count=1, max_open=16)
    rows = scored(
        [
            {"at": number / 5000, "src_addr": f"10.0.{number >> 8}.{number & 255}", "dst_addr": f"f{number}"}
            for number in range(10_000)
        ]
    )
    changes, tally = advance(SensorState(), rows, None, True, grouping)
    closed = [incident for incident, activity, revision in changes if activity == CLOSE]
    assert len(closed) == 17
    assert sum(incident.count for incident in closed) == 10_000
    assert max(incident.count for incident in closed) == tally.crowded == 10_000 - 16


def test_an_incident_has_the_same_uid_however_its_records_came() -> None:
    rows = [{"at": 0, "record_id": 11}, {"at": 1, "record_id": 12}]
    live = [{**row, "raw_partition": 2, "raw_offset": 900 + at, "raw_index": 3} for at, row in enumerate(rows)]
    uids = [advance(SensorState(), scored(each), None, True, GROUPING)[0][0].incident.uid for each in (rows, live)]
    assert uids[0] == uids[1]
    other, _ = advance(SensorState(), scored([{**rows[0], "record_id": 13}, rows[1]]), None, True, GROUPING)
    assert other[0].incident.uid != uids[0]
