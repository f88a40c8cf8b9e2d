import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.lab.protocols.parts import at_random, beside, distinct, trial
from models.lab.tables.table import Column, Table, one_by_one
from models.rows import Ints

CELLS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 1)), min_size=4, max_size=60)


def table(cells: list[tuple[int, int]]) -> Table:
    label = np.where(np.array([each[1] for each in cells]) == 1, "scan", "normal")
    values = np.array([[float(each[0]) if each[0] else np.nan] for each in cells])
    return Table("t", (Column("size", "number"),), values, label, label, one_by_one(len(cells)) // 3)


def words(whole: Table, rows: Ints) -> list[str]:
    return [str(value) for value in whole.values[rows, 0]]


@given(CELLS)
def test_no_repeats_within_or_across(cells: list[tuple[int, int]]) -> None:
    whole = table(cells)
    half = len(cells) // 2
    parts = distinct(whole, np.arange(half), {"b": np.arange(half, len(cells))})
    train, test = parts.train, parts.tests["b"]
    assert not set(words(whole, train)) & set(words(whole, test))
    for rows in (train, test):
        pairs = list(zip(words(whole, rows), whole.label[rows], strict=True))
        assert len(pairs) == len(set(pairs))
    # Nothing else is lost: what is in the test's half and not in training is in the test.
    assert set(words(whole, np.arange(half, len(cells)))) - set(words(whole, train)) == set(words(whole, test))
    assert set(words(whole, np.arange(half))) == set(words(whole, train))


@given(CELLS, st.integers(0, 3))
def test_a_random_split_is_of_the_same_records(cells: list[tuple[int, int]], seed: int) -> None:
    whole = table(cells)
    half = len(cells) // 2
    parts = distinct(whole, np.arange(half), {"b": np.arange(half, len(cells))})
    other = beside(whole, parts, "r", seed)
    both = set(np.concatenate([parts.train, parts.tests["b"]]).tolist())
    assert set(other.train.tolist()) | set(other.tests["r"].tolist()) <= both
    assert not set(words(whole, other.train)) & set(words(whole, other.tests["r"]))
    again = beside(whole, parts, "r", seed)
    assert np.array_equal(again.train, other.train) and np.array_equal(again.tests["r"], other.tests["r"])


def test_a_random_split_holds_its_share_and_has_no_groups() -> None:
    whole = table([(number, number % 2) for number in range(1, 201)])
    parts = at_random(whole, np.arange(200), 0.3, "r", 1)
    assert len(parts.tests["r"]) == 60 and len(parts.train) == 140 and not parts.grouped
    assert not np.array_equal(at_random(whole, np.arange(200), 0.3, "r", 2).train, parts.train)
    assert trial(whole, parts).sizes() == {"train": 140, "tests": {"r": 60}}
