"""A baseline's arrays: small, whole or refused, and the same baseline again."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pipeline.contracts.baseline import Phase
from pipeline.errors import RefusedState
from pipeline.featurize import snapshot as snapshots
from pipeline.featurize.baseline.change import STEADY_S
from pipeline.featurize.baseline.keys import kind_and_service, what
from pipeline.featurize.baseline.kinds import MOST_KINDS
from pipeline.featurize.baseline.learning import BLOCK, BOUND, LAST_US, PHASE, RESUMED_S
from pipeline.featurize.baseline.recurrence import BLOCKS, LAST_BLOCK, LONGEST_S
from pipeline.featurize.baseline.relations import LEAST_ROOM, MOST_RELATIONS, WHAT
from pipeline.featurize.baseline.saved import FIRST_CLOCK, baseline_in, baseline_out
from pipeline.featurize.baseline.sensor_baseline import no_baseline
from pipeline.featurize.sensor import SensorState
from pipeline.featurize.snapshot import restore, snapshot
from pipeline.featurize.windows.saved import Arrays
from tests.featurize.baseline.plant import QUICK, advanced, columns_of, flood, poll, polls, state_after
from tests.featurize.flows import batch

LIMIT, LIMIT_OF_MANY = 128_000, 1_600_000
"""Where little is usual, and where as much is as a sensor can have."""


def _bytes(arrays: Arrays) -> int:
    return sum(array.nbytes for array in arrays.values())


def test_a_baseline_comes_back_as_it_was() -> None:
    rows = [*polls(220), poll(221, "fd00::7", "203.0.113.5"), poll(222, ics_proto="modbus", ics_functions=[5, 1])]
    baseline = state_after(rows).baseline
    again = baseline_in(baseline_out(baseline))
    assert {name: array.tolist() for name, array in baseline_out(again).items()} == {
        name: array.tolist() for name, array in baseline_out(baseline).items()
    }
    assert again.names == baseline.names and len(again.names) > 5
    named = baseline.relations.ends[:, WHAT].tolist()
    assert again.relations.ends[: len(named), WHAT].tolist() == named[: len(again.relations.ends)]


def test_a_relation_fits_its_word() -> None:
    for kind, protocol, port in ((1, 6, 502), (11, 0x1FFFF, 65_535), (7, 0, -1)):
        assert kind_and_service(int(what(kind, np.uint64((protocol << 17) + port + 1)))) == (kind, protocol, port)
    assert STEADY_S < 2**9 - 1 and MOST_KINDS < 2**10


def test_blocks_of_a_year_are_the_same_after_a_restart() -> None:
    """A quarter of an hour a block is 35,000 blocks a year."""
    rest = batch([*polls(60, start_s=400), poll(461, "10.0.9.9"), poll(480, "10.0.9.9"), *polls(300, start_s=500)])
    after = []
    for restarted in (False, True):
        state = state_after(polls(400))
        baseline = state.baseline
        assert baseline.phase == Phase.ANCHORED
        baseline.clock[BLOCK] += 200_000
        baseline.relations.cells[1:, LAST_BLOCK] += 200_000
        baseline.kinds.cells[:, LAST_BLOCK] += 200_000
        baseline.relations.cells[1:, BLOCKS] += 200_000
        baseline.relations.cells[1:, LONGEST_S] += 100_000
        state = restore(snapshot(state)) if restarted else state
        state, rows, notices = advanced(state, rest, ended=True)
        after.append((columns_of(rows), notices, snapshot(state)))
    assert after[0] == after[1]


def test_what_strangers_bring_is_small() -> None:
    """Kinds and relations at the bounds of a small plant, and as many names as there is room for."""
    state = state_after(polls(400))
    every = flood(36_000, 500, 720)
    for start in range(0, len(every), 3_000):
        state, _, _ = advanced(state, every.slice(start, 3_000))
    arrays = baseline_out(state.baseline)
    assert len(arrays["kinds.points"]) == MOST_KINDS and len(arrays["relations.keys"]) == LEAST_ROOM
    assert 100_000 < _bytes(arrays) <= LIMIT


def test_whatever_comes_the_saved_state_is_bounded() -> None:
    """Kinds, usual relations and names at their bounds, addresses as long as any, and a flood beside them."""
    pick = np.random.default_rng(3)
    addresses = [":".join(f"{part:04x}" for part in pick.integers(4096, 65_536, 8)) for _ in range(800)]
    macs = [":".join(f"{part & 0xFE:02x}" for part in pick.integers(0, 256, 6)) for _ in addresses]
    state = SensorState.empty()
    for block in range(12):
        rows = [
            {
                **poll(block * 40 + number / 100, f"fd{address[2:]}", f"fd{addresses[number - 1][2:]}"),
                "src_mac": macs[number],
                "dst_mac": macs[number - 1],
                "dst_port": number + 1,
                **dict(zip(("fwd_bytes", "rev_bytes"), (2 ** pick.integers(0, 50, 2)).tolist(), strict=True)),
            }
            for number, address in enumerate(addresses)
        ]
        state, _, _ = advanced(state, batch(rows, first_offset=block * 1_000), QUICK, ended=True)
    state, _, _ = advanced(state, flood(20_000, 500, 500), QUICK, ended=True)
    arrays = baseline_out(state.baseline)
    assert len(arrays["kinds.points"]) == MOST_KINDS
    assert LEAST_ROOM < len(arrays["relations.keys"]) <= arrays["relations.room"][0] <= MOST_RELATIONS
    most = LIMIT_OF_MANY * int(arrays["relations.room"][0]) // MOST_RELATIONS
    assert most // 2 < _bytes(arrays) <= most
    assert len(snapshot(state)) - len(snapshot(_without_baseline(state))) <= most


def _without_baseline(state: SensorState) -> SensorState:
    return SensorState(state.waiting, state.clock, state.windows, state.released_early, state.feature_set)


def test_a_state_from_before_there_were_baselines_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    state = state_after(polls(20))
    monkeypatch.setattr(snapshots, "baseline_out", lambda _baseline: {})
    before = snapshot(state)
    monkeypatch.undo()
    restored = restore(before)
    assert not restored.baseline.has_begun
    assert snapshot(restored) == snapshot(_without_baseline(state))


def test_a_baseline_of_the_first_version_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its clock lacks the columns that came later, which begin at 0."""
    state = state_after(polls(400))
    state.baseline.clock[FIRST_CLOCK:] = 0
    of_first = {"clock": state.baseline.clock[:FIRST_CLOCK]}
    monkeypatch.setattr(snapshots, "baseline_out", lambda baseline: {**baseline_out(baseline), **of_first})
    before = snapshot(state)
    monkeypatch.undo()
    assert snapshot(restore(before)) == snapshot(state) != before


def _changed(name: str, change: Callable[[Any], Any]) -> Callable[[Arrays], Arrays]:
    return lambda arrays: {**arrays, name: change(arrays[name].copy())}


def _set(index: Any, value: int) -> Callable[[Any], Any]:
    def change(array: Any) -> Any:
        array[index] = value
        return array

    return change


DAMAGED = {
    "an array is missing": lambda arrays: {name: array for name, array in arrays.items() if name != "clock"},
    "a clock too short": _changed("clock", lambda array: array[: FIRST_CLOCK - 1]),
    "another type": _changed("histogram", lambda array: array.astype(np.float64)),
    "points of other features": _changed("kinds.points", lambda array: array[:, :-1]),
    "points cut short": _changed("kinds.points", lambda array: array[:-1]),
    "more kinds than points": _changed("kinds.counts", _set(0, 400)),
    "more usual kinds than kinds": _changed("kinds.counts", _set(1, 400)),
    "fewer than no usual kinds": _changed("kinds.counts", _set(1, -1)),
    "fewer than no new kinds": _changed("kinds.counts", _set(2, -1)),
    "relations without cells": _changed("relations.cells", lambda array: array[:-1]),
    "relations without ends": _changed("relations.ends", lambda array: array[1:]),
    "too many relations": lambda arrays: {
        **arrays,
        **{name: np.resize(arrays[name], (MOST_RELATIONS + 1, *arrays[name].shape[1:])) for name in arrays
           if name in ("relations.keys", "relations.cells", "relations.ends")},
    },
    "a relation twice": _changed("relations.keys", lambda array: array[[1, *range(1, len(array))]]),
    "an end that is no name": _changed("relations.ends", lambda array: array | np.uint64(0x3FF << 38)),
    "room for less than the least": lambda arrays: {**arrays, "relations.room": np.array([LEAST_ROOM])},
    "room for more than the most": lambda arrays: {**arrays, "relations.room": np.array([MOST_RELATIONS + 1])},
    "further bits of other ends": lambda arrays: {**arrays, "relations.more_ends": np.zeros(1, np.int32)},
    "further bits of an end that is no name": lambda arrays: {
        **arrays, "relations.more_ends": np.full(len(arrays["relations.keys"]), 1 << 16, np.int32)
    },
    "further bits below 0": lambda arrays: {
        **arrays, "relations.more_ends": np.full(len(arrays["relations.keys"]), -1, np.int32)
    },
    "a kind's relation that is none": lambda arrays: {
        **arrays, "kinds.more_related": np.full(np.diff(arrays["kinds.counts"][[1, 0]]), 1 << 5, np.int32)
    },
    "a kind's relation that is none, in few bits": _changed("kinds.cells", lambda array: array | (0xFFF << 16)),
    "further bits of a kind's relation beyond its number": lambda arrays: {
        **arrays, "kinds.more_related": np.full(np.diff(arrays["kinds.counts"][[1, 0]]), 1 << 20, np.int32)
    },
    "more names than ends have bits for": lambda arrays: {
        **arrays, "book": np.frombuffer("\n".join(f"10.9.{n >> 8}.{n & 255}" for n in range(1_100)).encode(), np.uint8)
    },
    "a phase that is none": _changed("clock", _set(PHASE, 9)),
    "a block before the first": _changed("clock", _set(BLOCK, -1)),
    "a block after the last": _changed("clock", _set(BLOCK, 1 << 31)),
    "a silence that ended before the first flow": _changed("clock", _set(RESUMED_S, -1)),
    "a silence that ended after the last second": _changed("clock", _set(RESUMED_S, 1 << 31)),
    "a last flow before all time": _changed("clock", _set(LAST_US, -(1 << 63))),
    "a bound that is no square": _changed("clock", _set(BOUND, -1)),
    "a block's strangeness below 0": _changed("blocks", _set((2, 0), -1)),
    "names that are no text": _changed("book", lambda array: np.full(9, 0xFF, np.uint8)),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_baseline_is_refused(damage: Callable[[Arrays], Arrays], monkeypatch: pytest.MonkeyPatch) -> None:
    state = state_after(polls(60))
    monkeypatch.setattr(snapshots, "baseline_out", lambda baseline: damage(baseline_out(baseline)))
    saved = snapshot(state)
    with pytest.raises(RefusedState, match="sensor state"):
        restore(saved)


def test_nothing_learnt_is_saved_too() -> None:
    assert not baseline_in(baseline_out(no_baseline())).has_begun
