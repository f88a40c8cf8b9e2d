"""Counts of two models' answers: what plain Python counts, whatever the cut into messages and their order."""

import itertools
import math
from collections import Counter
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts.uids import RAW_POSITION
from pipeline.tools.shadow.counts import DECADES, HOUR_US, SMALLEST_P, Counts, bins, changes
from pipeline.tools.shadow.examples import KINDS, MAX_EXAMPLES
from pipeline.tools.shadow.tally import Tally
from tests.tools.shadow.scored_rows import pair

ROWS = 300


def counted(*pairs: tuple[pa.RecordBatch, pa.RecordBatch]) -> Counts:
    counts = Counts()
    for in_use, candidate in pairs:
        counts.take(in_use, candidate)
    return counts


@given(st.integers(0, 50), st.lists(st.integers(0, ROWS), max_size=8), st.randoms(use_true_random=False), st.booleans())
def test_counts_do_not_depend_on_messages_their_order_or_restarts(
    seed: int, cuts: list[int], random: Any, is_restarted: bool
) -> None:
    in_use, candidate = pair(ROWS, seed, alike=0.2)
    bounds = sorted({0, ROWS, *cuts})
    parts = [(in_use.slice(a, b - a), candidate.slice(a, b - a)) for a, b in itertools.pairwise(bounds)]
    random.shuffle(parts)
    counts = Counts()
    for ours, theirs in parts:
        counts.take(ours, theirs)
        if is_restarted:
            counts = Counts.of(orjson.loads(orjson.dumps(counts.document())))
    whole = Counts()
    whole.take(*(pa.concat_batches(each) for each in zip(*parts, strict=True)))
    assert counts.document() == whole.document() == counted((in_use, candidate)).document()


def test_counts_are_what_plain_python_counts() -> None:
    in_use, candidate = pair(ROWS, seed=3)
    counts = counted((in_use, candidate))
    rows = list(zip(in_use.to_pylist(), candidate.to_pylist(), strict=True))
    outcome = [ours["suspect"] + 2 * theirs["suspect"] for ours, theirs in rows]
    for tally, key in (
        (counts.sensors, lambda ours, theirs: (ours["site"], ours["sensor"])),
        (counts.classes, lambda ours, theirs: (ours["class"], theirs["class"])),
        (counts.hours, lambda ours, theirs: (ours["end_ts_us"] // HOUR_US,)),
        (counts.models, lambda ours, theirs: (ours["model"],)),
    ):
        cells = Counter((key(*row), each) for row, each in zip(rows, outcome, strict=True))
        got = {(name, each): int(n) for name, four in tally.by_key.items() for each, n in enumerate(four) if n}
        assert got == cells
        assert tally.others.tolist() == [0, 0, 0, 0]
    times = {model: [ours["end_ts_us"] for ours, _ in rows if ours["model"] == model] for model in ("igan-a", "igan-b")}
    assert counts.held_us == {model: (min(each), max(each)) for model, each in times.items()}
    differ = [
        [a["score"] != b["score"], a["p_value"] != b["p_value"], a["suspect"] != b["suspect"], _called(a) != _called(b)]
        for a, b in rows
    ]
    assert counts.differing.tolist() == [sum(map(any, differ)), *(sum(column) for column in zip(*differ, strict=True))]
    assert 0 < counts.differing[0] < ROWS
    _expect_examples(counts, [(row, any(each)) for row, each in zip(rows, differ, strict=True)])


def _called(row: dict[str, Any]) -> tuple[str, str]:
    return row["class"], row["nearest_class"] or ""


def _expect_examples(counts: Counts, rows: list[tuple[Any, bool]]) -> None:
    for kind, outcomes in KINDS.items():
        chosen = [row for row, differs in rows if differs and row[0]["suspect"] + 2 * row[1]["suspect"] in outcomes]
        chosen.sort(key=lambda row: (-_decades(row), -abs(row[0]["score"] - row[1]["score"]), _position(row[0])))
        assert [_position(each) for each in counts.examples.by_kind[kind]] == [
            _position(ours) for ours, _ in chosen[:MAX_EXAMPLES]
        ]
        first, (ours, theirs) = counts.examples.by_kind[kind][0], chosen[0]
        assert first["in_use"] == {name: ours[name] for name in first["in_use"]}
        assert first["candidate"] == {name: theirs[name] for name in first["candidate"]}


def _decades(row: Any) -> float:
    ours, theirs = (math.log10(max(each["p_value"], float(SMALLEST_P))) for each in row)
    return abs(ours - theirs)


def _position(row: dict[str, Any]) -> tuple[int, ...]:
    return tuple(row[name] for name in RAW_POSITION)


def test_a_model_beside_itself_differs_in_nothing() -> None:
    in_use, candidate = pair(ROWS, alike=1.0)
    counts = counted((in_use, candidate))
    assert counts.differing.tolist() == [0] * 5
    for vector in (counts.p_changes, counts.score_changes):
        assert vector.sum() == vector[len(vector) // 2] == ROWS
    assert not any(counts.examples.by_kind.values())
    assert counts.total.sum() == ROWS


def test_no_rows_change_nothing() -> None:
    in_use, candidate = pair(0)
    assert counted((in_use, candidate)).document() == Counts().document()


def test_a_change_lies_in_the_bin_of_its_size_and_way() -> None:
    change = np.array([0.0, 0.0, 0.01, -0.01, 0.02, -9.0, 9.0])
    differs = np.array([False, *[True] * 6])
    got = changes(change, differs, DECADES)
    middle = bins(DECADES) // 2
    assert {n - middle: int(count) for n, count in enumerate(got) if count} == {-7: 1, -1: 1, 0: 1, 1: 2, 2: 1, 7: 1}


@given(st.permutations(range(9)), st.booleans())
def test_a_full_tally_keeps_the_same_keys_in_any_order(order: list[int], newest: bool) -> None:
    tally = Tally(4, newest)
    for number in order:
        tally.add([(number,), (number % 3,)], np.array([0, 0, 1]), np.array([0, 3, 2]))
    kept = [5, 6, 7, 8] if newest else [0, 1, 2, 3]
    assert sorted(tally.by_key) == [(each,) for each in kept]
    assert tally.total.tolist() == [9, 0, 9, 9]
    assert tally.by_key[(kept[0],)].tolist() == ([1, 0, 0, 1] if newest else [1, 0, 3, 1])


@pytest.mark.parametrize("change", [{"differing": [1, 2]}, {"p_changes": ["1"] * bins(DECADES)}, {"held_us": {"a": 1}}])
def test_what_is_not_counts_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        Counts.of({**Counts().document(), **change})
