"""What is said of relations: who is new, who writes, which hardware speaks for an address, how many others do so."""

from typing import Any

import numpy as np
import pytest

from pipeline.contracts.baseline import Evidence, Phase, shown
from pipeline.featurize.baseline.judge import COLUMNS
from pipeline.featurize.baseline.kinds import ADDITIONS as KIND_ADDITIONS
from pipeline.featurize.baseline.relations import ADDITIONS_SHARE, LEAST_ROOM, USUAL_RELATIONS
from pipeline.featurize.sensor import SensorState
from pipeline.featurize.windows.tables import USED
from tests.featurize.baseline.plant import (
    CONTROLLERS,
    HISTORIAN,
    MASTER,
    advanced,
    columns_of,
    flood,
    lived,
    poll,
    polls,
    state_after,
)
from tests.featurize.flows import SECOND, START_US, batch

EVIDENCE, OTHERS, PHASE = (COLUMNS.index(name) for name in ("evidence", "others", "phase"))
ADDITIONS = LEAST_ROOM // ADDITIONS_SHARE
SETTLED_S = 300
"""By then a sensor of the tests is anchored."""


def _says(row: dict[str, Any], before: list[dict[str, Any]] | None = None) -> Evidence:
    """What a baseline that has seen polls, and `before` besides, says of one more flow."""
    rows = sorted([*polls(SETTLED_S), *(before or [])], key=lambda each: float(each["at"]))
    columns, _, _ = lived([*rows, {"at": SETTLED_S + 1.0} | row])
    said = columns[len(rows)]
    assert said[PHASE] == Phase.ANCHORED
    return Evidence(said[EVIDENCE])


def _often(row: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    return [row | more | {"at": at} for at in range(5, SETTLED_S - 5, 5)]


NEW = SETTLED_S + 1.0


def test_what_came_back_is_nothing_new() -> None:
    assert _says(poll(NEW)) == 0


def test_a_new_host_and_a_new_use_are_told_apart() -> None:
    assert _says(poll(NEW, MASTER, HISTORIAN)) & ~Evidence.STRANGE == Evidence.NEW_SERVICE_USE
    assert Evidence.NEW_HOST in _says(poll(NEW, "10.0.0.66"))
    assert _says(poll(NEW) | {"dst_port": 22}) & Evidence.NEW_SERVICE_USE


@pytest.mark.parametrize(
    ("began_s", "is_shown"), [(10.0, False), (SETTLED_S - 30.0, True), (-1.0, True), (-START_US / SECOND, True)]
)
def test_a_connection_that_began_while_everything_was_learnt_is_nothing_new(began_s: float, is_shown: bool) -> None:
    """It is written when it ends. A start before the sensor's first flow says nothing: clocks begin at 1970."""
    long = poll(NEW, "10.0.0.66") | {"start_ts_us": START_US + round(began_s * SECOND)}
    long["duration_us"] = START_US + round(NEW * SECOND) - long["start_ts_us"]
    said = _says(long)
    assert Evidence.NEW_SERVICE_USE in said and (Evidence.SINCE_LEARNING not in said) == is_shown
    row_shown = shown(np.array([Phase.ANCHORED], np.uint8), np.array([said], np.uint32))
    assert bool(row_shown[0]) == is_shown
    grave = np.array([said | Evidence.NEW_CONTROLLER, said | Evidence.SEVERAL_HARDWARE], np.uint32)
    assert shown(np.full(2, Phase.ANCHORED, np.uint8), grave).all()


def test_who_writes_controls_and_asks_for_the_first_time() -> None:
    write = {"ics_proto": "modbus", "ics_functions": [5, 1], "ics_write_cnt": 1}
    assert Evidence.NEW_WRITER | Evidence.NEW_FUNCTION in _says(poll(NEW) | write)
    assert not _says(poll(NEW) | write, _often(poll(0), **write)) & (Evidence.NEW_WRITER | Evidence.NEW_FUNCTION)
    read = {"ics_proto": "modbus", "ics_functions": [43, 1]}
    assert Evidence.NEW_FUNCTION in _says(poll(NEW) | read)
    assert Evidence.NEW_CONTROLLER in _says(poll(NEW) | {"ics_control_cnt": 1})


def test_another_hardware_address_of_a_stable_address_is_told() -> None:
    other = {"src_mac": "00:07:7c:00:00:99"}
    said = _says(poll(NEW) | other)
    assert Evidence.NEW_HARDWARE | Evidence.AT_SOURCE in said and Evidence.AT_TARGET not in said
    assert Evidence.NEW_DEVICE in said
    said = _says(poll(NEW) | {"dst_mac": "00:07:7c:00:00:99"})
    assert Evidence.NEW_HARDWARE | Evidence.AT_TARGET in said and Evidence.AT_SOURCE not in said
    assert Evidence.SEVERAL_HARDWARE in _says(poll(NEW) | {"src_mac_count": 2})


def test_an_address_that_is_never_stable_is_not_told() -> None:
    unstable = _often(poll(0, HISTORIAN), src_mac_count=2)
    assert not _says(poll(NEW, HISTORIAN) | {"src_mac_count": 2}, unstable) & Evidence.SEVERAL_HARDWARE


def test_the_hardware_of_a_router_is_not_told() -> None:
    router = {"src_mac": "00:07:7c:00:00:aa"}
    before = [row for number in range(4) for row in _often(poll(0, f"10.9.0.{number}"), **router)]
    said = _says(poll(NEW) | router, before)
    assert not said & Evidence.NEW_HARDWARE, "an address behind the router answers by the router"


def test_how_many_others_use_a_service_is_counted() -> None:
    before = [row for number in range(3) for row in _often(poll(0, f"10.0.0.{40 + number}", HISTORIAN))]
    rows = sorted([*polls(SETTLED_S), *before], key=lambda each: float(each["at"]))
    columns, _, _ = lived([*rows, poll(NEW, "10.0.0.60", HISTORIAN)])
    assert columns[len(rows)][OTHERS] == 3
    office = {"dst_port": 53, "src_port": 50_000, "ip_proto": 17}
    before = [row for number in range(3) for row in _often(poll(0, f"10.0.0.{40 + number}", HISTORIAN), **office)]
    said = _says(poll(NEW, "10.0.0.60", HISTORIAN) | office, before)
    assert Evidence.NEW_COMMON_USE in said and Evidence.NEW_SERVICE_USE not in said


def test_far_more_bytes_than_ever_are_told() -> None:
    assert Evidence.MORE_BYTES in _says(poll(NEW) | {"fwd_bytes": 2**30})
    assert Evidence.MORE_BYTES not in _says(poll(NEW) | {"fwd_bytes": 2**20}), "a megabyte is no news"
    assert Evidence.MORE_BYTES not in _says(poll(NEW) | {"fwd_bytes": 2**30}, _often(poll(0), fwd_bytes=2**29))


def test_what_was_shown_comes_again_and_is_admitted_in_the_end() -> None:
    stranger = [poll(at, "10.0.0.66") for at in range(SETTLED_S, SETTLED_S + 300, 10)]
    rows = sorted([*polls(SETTLED_S + 300), *stranger], key=lambda each: float(each["at"]))
    columns, _, _ = lived(rows)
    said = [Evidence(columns[number][EVIDENCE]) for number, row in enumerate(rows) if row["src_addr"] == "10.0.0.66"]
    assert Evidence.NEW_SERVICE_USE in said[0] and Evidence.NEW_AGAIN not in said[0]
    assert any(Evidence.NEW_AGAIN in each for each in said)
    assert said[-1] == 0


@pytest.fixture(scope="module")
def anchored() -> SensorState:
    return state_after([*polls(400), *(poll(at / 2, HISTORIAN, CONTROLLERS[1]) for at in range(800))])


def _usual(state: SensorState) -> tuple[set[int], set[bytes]]:
    kinds, relations = state.baseline.kinds, state.baseline.relations
    entries = np.arange(1, int(relations.table.cells[0, USED]) + 1)
    keys = relations.table.cells[entries[relations.cells[entries, 4] == 1], 0]
    return set(keys.tolist()), {point.tobytes() for point in kinds.points[: int(kinds.counts[1])]}


def test_a_flood_of_a_hundred_thousand_displaces_nothing_usual(anchored: SensorState) -> None:
    """Of kinds and relations that never were before, in one block: bounded, counted, and the plant goes on."""
    before = _usual(anchored)
    relations, kinds = (int(anchored.baseline.relations.table.cells[0, USED]), int(anchored.baseline.kinds.counts[0]))
    state, rows, _ = advanced(anchored, flood(100_000, 500.0, 20.0))
    assert before[0] and before[1] and _usual(state) == before
    baseline = state.baseline
    assert int(baseline.relations.table.cells[0, USED]) - relations <= 3 * ADDITIONS, "two or three blocks"
    assert int(baseline.kinds.counts[0]) - kinds <= 3 * KIND_ADDITIONS
    assert baseline.relations.counts[2] + baseline.kinds.counts[3] > 100_000, "what found no room is counted"
    evidence = rows.column("evidence").to_numpy()
    assert shown(rows.column("phase").to_numpy(), evidence).mean() > 0.99
    after, quiet, _ = advanced(state, batch(polls(60, start_s=530.0), first_offset=2_000_000), ended=True)
    of_polls = [said for offset, said in columns_of(quiet).items() if offset >= 2_000_000]
    assert {said[EVIDENCE] & ~Evidence.STRANGE for said in of_polls} == {0} and len(of_polls) == 60
    assert before[0] <= _usual(after)[0] and before[1] <= _usual(after)[1]


def test_a_flood_that_lasts_gets_no_more_room_than_a_small_plant_needs() -> None:
    state = state_after(polls(400))
    usual = int(state.baseline.relations.counts[USUAL_RELATIONS])
    every = flood(36_000, 500.0, 720.0)
    for part in range(12):
        state, _, _ = advanced(state, every.slice(3_000 * part, 3_000))
    assert len(state.baseline.relations.cells) == LEAST_ROOM + 1
    assert int(state.baseline.relations.table.cells[0, USED]) == LEAST_ROOM
    assert int(state.baseline.relations.counts[USUAL_RELATIONS]) == usual
