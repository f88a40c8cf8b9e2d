"""A poller that falls silent, a sensor that was idle, a plant that changed."""

from typing import Any

import numpy as np
import pytest

from pipeline.contracts.baseline import Phase, shown
from pipeline.contracts.notices import ADMITTED, ANCHORED, CHANGED, EXTENDED, LEARNT, SILENT, Notice
from pipeline.featurize.baseline.learning import MOST_S, PHASE, seconds
from schemas.learning import Learning
from tests.featurize.baseline.plant import CONTROLLERS, HISTORIAN, QUICK, lived, poll, polls, state_after
from tests.featurize.flows import SECOND, START_US

SLOW_TO_ADMIT = QUICK.model_copy(update={"admit_s": 1_000})


def _told(rows: list[dict[str, Any]], *kinds: str, learning: Learning = QUICK) -> list[Notice]:
    return [notice for notice in lived(rows, learning=learning)[1] if notice.kind in kinds]


def _without(rows: list[dict[str, Any]], target: str) -> list[dict[str, Any]]:
    return [row for row in rows if row["dst_addr"] != target]


def test_a_poller_that_stops_is_told_once() -> None:
    rows = [*polls(400), *_without(polls(4000, start_s=400), CONTROLLERS[2])]
    [silent] = _told(rows, SILENT)
    assert [(each.source, each.target, each.service) for each in silent.relations] == [
        ("10.0.0.1", CONTROLLERS[2], "502/tcp")
    ]
    assert 900 <= silent.at_us / SECOND - START_US / SECOND - 400 < 2_000
    assert (
        len(_told([*rows, *polls(60, start_s=4_400), *_without(polls(4000, start_s=4_460), CONTROLLERS[2])], SILENT))
        == 2
    )


@pytest.mark.parametrize("idle_s", [1_000, 100_000])
def test_nobody_is_silent_while_the_sensor_is_idle(idle_s: int) -> None:
    """A sensor's outage is no poller's, even of those that come back a little later than others."""
    back = 400 + idle_s
    rows = [*polls(400), *_without(polls(200, start_s=back), CONTROLLERS[1]), *polls(4000, start_s=back + 200)]
    assert not _told(rows, SILENT)


def test_pollers_stay_steady_where_the_sensor_was_idle_while_it_learnt() -> None:
    rows = [*polls(100), *polls(400, start_s=1_100), *_without(polls(3000, start_s=1_500), CONTROLLERS[3])]
    [silent] = _told(rows, SILENT)
    assert [each.target for each in silent.relations] == [CONTROLLERS[3]]


def test_what_stopped_while_it_was_learnt_is_not_missed() -> None:
    rows = [*polls(60), *_without(polls(4000, start_s=60), CONTROLLERS[0])]
    assert not _told(rows, SILENT, learning=QUICK.model_copy(update={"anchor_s": 1_000}))


def test_another_plant_on_the_same_sensor_is_told_and_learnt_beside_the_old_one() -> None:
    def elsewhere(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        ends = ("src_addr", "dst_addr")
        return [row | {end: row[end].replace("10.0.0.", "10.7.0.") for end in ends} for row in rows]

    rows = [*polls(400), *elsewhere(polls(900, start_s=400))]
    learnt, anchored, changed, *later = _told(rows, LEARNT, ANCHORED, CHANGED, learning=SLOW_TO_ADMIT)
    assert (learnt.kind, anchored.kind, changed.kind) == (LEARNT, ANCHORED, CHANGED)
    assert changed.at_us - START_US < 500 * SECOND
    assert [notice.kind for notice in later] == [LEARNT, ANCHORED]
    columns, _, _ = lived([*rows, *polls(30, start_s=1_300)], learning=SLOW_TO_ADMIT)
    assert all(columns[len(rows) + number][4] == 0 for number in range(30)), "what was usual before is usual still"


def test_one_who_scans_and_one_new_device_do_not_change_the_plant() -> None:
    scan = [
        poll(400 + number / 10, HISTORIAN, f"10.0.3.{number % 250}", dst_port=number % 9 + 1) for number in range(900)
    ]
    assert not _told(
        [*polls(400), *sorted([*scan, *polls(200, start_s=400)], key=lambda row: row["at"])],
        CHANGED,
        learning=SLOW_TO_ADMIT,
    )
    device = [poll(400 + number, "10.0.0.50", CONTROLLERS[number % 4]) for number in range(200)]
    assert not _told(
        [*polls(400), *sorted([*device, *polls(200, start_s=400)], key=lambda row: row["at"])],
        CHANGED,
        learning=SLOW_TO_ADMIT,
    )


def test_a_new_line_beside_the_old_one_is_shown_and_named_once() -> None:
    """Half of what comes is new, and the old half comes as ever: nobody can tell that from made-up sources."""
    line = [poll(400.5 + number, f"10.8.0.{number % 5}", f"10.8.1.{number % 7}") for number in range(900)]
    rows = sorted([*polls(1_300), *line], key=lambda row: float(row["at"]))
    slow = QUICK.model_copy(update={"admit_s": 10_000})
    columns, notices, _ = lived(rows, learning=slow)
    assert [notice.kind for notice in notices if notice.kind in (CHANGED, EXTENDED)] == [EXTENDED]
    (extended,) = [notice for notice in notices if notice.kind == EXTENDED]
    assert len(extended.relations) == 20 and extended.more and {each.what for each in extended.relations} == {"use"}
    assert extended.at_us - START_US < 500 * SECOND
    is_line = np.array([row["src_addr"].startswith("10.8.") for row in rows])
    phase, evidence = np.array([(columns[number][0], columns[number][4]) for number in range(len(rows))]).T
    is_shown = shown(phase.astype(np.uint8), evidence.astype(np.uint32))
    assert is_shown[is_line].all() and not is_shown[~is_line].any()


def test_half_of_a_plant_that_is_replaced_is_shown_and_all_of_it_is_a_change() -> None:
    def replaced(targets: list[str]) -> list[dict[str, Any]]:
        rows = polls(900, start_s=400)
        return [row | {"dst_addr": row["dst_addr"].replace("10.0.", "10.7."), "dst_port": 102, "src_addr": "10.7.0.1"}
                if row["dst_addr"] in targets else row for row in rows]  # fmt: skip

    assert not _told([*polls(400), *replaced(CONTROLLERS[:2])], CHANGED, learning=SLOW_TO_ADMIT)
    assert len(_told([*polls(400), *replaced(CONTROLLERS)], CHANGED, learning=SLOW_TO_ADMIT)) == 1


def test_what_was_shown_and_came_back_is_admitted_and_listed() -> None:
    device = [poll(400 + number * 5, "10.0.0.50", CONTROLLERS[number % 4]) for number in range(60)]
    rows = sorted([*polls(400), *device, *polls(300, start_s=400)], key=lambda row: float(row["at"]))
    admitted = _told(rows, ADMITTED)
    named = {(each.what, each.source) for notice in admitted for each in notice.relations}
    assert ("use", "10.0.0.50") in named


@pytest.mark.parametrize("years", [69, 300])
def test_a_clock_that_jumps_by_a_lifetime_stops_nothing(years: int) -> None:
    at = years * 31_557_600.0
    rows = [*polls(400), *polls(400, start_s=at), *polls(400, start_s=2 * at)]
    columns, notices, _ = lived(rows)
    assert len(columns) == len(rows) and all(notice.kind != SILENT for notice in notices)
    clock = state_after(rows).baseline.clock
    assert clock[PHASE] == Phase.ANCHORED
    assert seconds(clock, START_US + int(9 * at) * SECOND) == MOST_S and seconds(clock, 0) == 0
