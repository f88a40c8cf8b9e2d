"""How many relations a sensor has room for: as much as follows from what is usual, and which go where there is none."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts.baseline import Phase
from pipeline.featurize.baseline.address_names import room_for_names
from pipeline.featurize.baseline.judge import COLUMNS
from pipeline.featurize.baseline.recurrence import BLOCKS, LAST_S, RELATED, USUAL
from pipeline.featurize.baseline.relations import (
    ADDED,
    ADDITIONS_SHARE,
    LEAST_ROOM,
    MOST_OTHERS,
    MOST_RELATIONS,
    ROOM,
    TURNED_AWAY,
    USUAL_RELATIONS,
    Relations,
    add_other,
    begin_block,
    entries_of,
    forget_spares,
    learn,
    made_ready,
    no_relations,
    others,
    room_for,
)
from pipeline.featurize.baseline.saved import baseline_in, baseline_out
from pipeline.featurize.baseline.sensor_baseline import no_baseline
from pipeline.featurize.sensor import SensorState
from pipeline.featurize.snapshot import restore, snapshot
from pipeline.featurize.windows.tables import EVICTED, KEY, USED
from tests.featurize.baseline.plant import advanced, busy, columns_of, poll
from tests.featurize.flows import batch

ENDS = (np.uint64(0), np.uint64(0), np.uint64(0))
HOSTS, ROUNDS, ROUND_S = 1_300, 44, 5.0


def _learnt(relations: Relations, key: int, block: int, now_s: int) -> Relations:
    relations = made_ready(relations, 1, block)
    learn(relations, np.uint64(key), ENDS, block, now_s, 3, 0, False)
    return relations


@pytest.mark.parametrize(
    ("usual", "room"),
    [(0, LEAST_ROOM), (256, LEAST_ROOM), (257, 2_056), (4_096, MOST_RELATIONS), (9_999, MOST_RELATIONS)],
)
def test_room_follows_from_what_is_usual_when_a_block_begins(usual: int, room: int) -> None:
    relations = no_relations()
    relations.counts[USUAL_RELATIONS], relations.counts[ADDED] = usual, 7
    begin_block(relations)
    assert room_for(usual) == relations.counts[ROOM] == room and relations.counts[ADDED] == 0


@given(
    st.lists(st.tuples(st.integers(1, 60), st.integers(0, 9)), max_size=300),
    st.lists(st.integers(0, 300), max_size=8),
    st.sampled_from([16, 24, 40]),
)
def test_what_is_displaced_is_what_a_scan_of_all_says(
    came: list[tuple[int, int]], forgotten: list[int], room: int
) -> None:
    """Beside a plain dictionary that looks at every entry each time; a step of 0 begins a block."""
    relations, known, block, added, turned_away = no_relations(), dict[int, list[int]](), 0, 0, 0
    relations.counts[ROOM] = room
    for at, (key, step) in enumerate(came):
        if step == 0:
            block, added = block + 1, 0
            relations.counts[ADDED] = 0
        if at in forgotten:
            forget_spares(relations)
        relations = _learnt(relations, key, block, at)
        if key not in known:
            may_go = [each for each, (_, _, last, usual, _) in known.items() if not usual and last != block]
            is_full = len(known) >= room
            if added >= room // ADDITIONS_SHARE or (is_full and not may_go):
                turned_away += 1
                continue
            entry = len(known)
            if is_full:
                entry = known.pop(min(may_go, key=lambda each: (known[each][0], known[each][1], known[each][4])))[4]
            added, known[key] = added + 1, [0, at, -1, 0, entry]
        blocks, _, last, usual, entry = known[key]
        blocks += last != block
        known[key] = [blocks, at, block, int(usual or blocks >= 3), entry]
    entries = entries_of(relations)
    cells, keys = relations.cells[entries], relations.table.cells[entries, KEY]
    assert {key: (each[0], each[1], each[3]) for key, each in known.items()} == {
        int(key): tuple(cell) for key, cell in zip(keys, cells[:, [BLOCKS, LAST_S, USUAL]].tolist(), strict=True)
    }
    assert relations.counts[TURNED_AWAY] == turned_away and relations.counts[ADDED] == added


def test_what_is_usual_earns_room_up_to_the_bound_and_no_more() -> None:
    """A network whose relations all come in every block has them all, as far as a sensor can have any."""
    relations, keys, rooms = no_relations(), np.arange(1, MOST_RELATIONS + 1_001), list[int]()
    for block in range(40):
        begin_block(relations)
        rooms.append(int(relations.counts[ROOM]))
        entries, additions = entries_of(relations), rooms[-1] // ADDITIONS_SHARE
        usual = relations.table.cells[entries, KEY][relations.cells[entries, USUAL] == 1]
        for key in np.setdiff1d(keys, usual)[: 4 * additions].tolist():  # usual ones would change nothing
            relations = _learnt(relations, key, block, 60 * block)
        assert relations.counts[ADDED] <= additions
    assert rooms[:4] == [LEAST_ROOM] * 4 and rooms == sorted(rooms)
    assert relations.table.cells[0, USED] == relations.counts[USUAL_RELATIONS] == rooms[-1] == MOST_RELATIONS
    assert len(relations.cells) == MOST_RELATIONS + 1 and relations.table.cells[0, EVICTED] == 0
    assert relations.counts[TURNED_AWAY] > 0, "what does not fit is counted"


def test_who_only_asks_changes_nothing() -> None:
    """Rows are judged again by a baseline that stays as it was (quiet_stretch.py)."""
    relations = no_relations()
    relations.counts[ROOM] = 8
    for key in range(8):
        relations = _learnt(relations, key + 1, key, 60 * key)
        relations.counts[ADDED] = 0
    made_ready(relations, 14, 9)
    relations = _learnt(relations, 99, 9, 540)
    assert relations.counts[TURNED_AWAY] == 0 and relations.table.cells[0, EVICTED] == 1


def test_sources_at_a_target_are_counted_as_far_as_they_are_saved() -> None:
    relations, target = made_ready(no_relations(), 1, 0), np.uint64(5)
    for _ in range(MOST_OTHERS + 3):
        add_other(relations, target, ENDS, 0, 0, False)
    assert others(relations, target) == MOST_OTHERS < 1 << 12


def _busy(cuts: tuple[int, ...], saved: bool) -> tuple[SensorState, dict[int, tuple[object, ...]]]:
    flows, state, said = busy(HOSTS, ROUNDS, ROUND_S), SensorState.empty(), dict[int, tuple[object, ...]]()
    for start, end in pairwise([0, *cuts, len(flows)]):
        state, rows, _ = advanced(state, flows.slice(start, end - start))
        said |= columns_of(rows)
        if saved:
            state = restore(snapshot(state))
    odd = poll(ROUNDS * ROUND_S, f"10.100.{HOSTS - 1 >> 8}.{HOSTS - 1 & 255}", fwd_bytes=2**39, fwd_pkts=2**30)
    state, rows, _ = advanced(state, batch([odd], first_offset=len(flows)), ended=True)
    return state, said | columns_of(rows)


def test_a_sensor_of_a_thousand_hosts_ends_learning_and_knows_them_all() -> None:
    """The same however its flows are cut and its state is saved meanwhile."""
    state, said = _busy((), False)
    baseline = state.baseline
    relations, names = baseline.relations, baseline.names
    assert baseline.phase == Phase.ANCHORED
    hosts = [f"10.100.{n >> 8}.{n & 255}" for n in range(HOSTS) if n & 255 != 255]
    assert relations.counts[USUAL_RELATIONS] >= 4 * len(hosts) > LEAST_ROOM, "an address, a device, its hardware, a use"
    assert set(hosts) <= set(names.values()) and 1 << 10 < len(names) <= room_for_names(MOST_RELATIONS)[0]
    evidence = COLUMNS.index("evidence")
    assert not any(said[HOSTS * (ROUNDS - 1) + number][evidence] for number in range(HOSTS))
    assert baseline.kinds.cells[:, RELATED].max() >= 1 << 12, "what is saved of a kind's relation needs more bits"
    cuts = tuple(range(700, HOSTS * ROUNDS, 4_321))
    cut, said_of_cut = _busy(cuts, True)
    assert said_of_cut == said and snapshot(cut) == snapshot(state)
    again = baseline_in(baseline_out(baseline))
    assert (
        again.names == names
        and (again.kinds.cells[:, RELATED] == baseline.kinds.cells[: len(again.kinds.cells), RELATED]).all()
    )
    used = int(relations.table.cells[0, USED])
    assert (again.relations.ends[: used + 1] == relations.ends[: used + 1]).all()


def test_a_small_sensor_is_saved_as_it_was_before_there_was_more_room() -> None:
    more = {"relations.room", "relations.more_ends", "kinds.more_related"}
    assert not more & baseline_out(no_baseline()).keys()
    state, _ = _busy((), False)
    assert more <= baseline_out(state.baseline).keys()
