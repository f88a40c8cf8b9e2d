"""Weights are chosen on training records: what is right about them gets more."""

import numpy as np
import pytest

from models.igan.evidence import VIEWS
from models.lab.detectors.view_weights import CANDIDATES, LEAST, ROWS, EvidenceWeights, _drawn, choose_evidence_weights
from models.rows import Floats, Ints

NAMES = np.array([0, 0, 0, 1, 2, 3, 4])


def records(rows: int, random: np.random.Generator) -> tuple[Floats, Ints]:
    """Column 0 separates attacks from normal, the others are noise."""
    name = random.choice(NAMES, size=rows)
    matrix = random.normal(size=(rows, 4)).astype(np.float32)
    matrix[:, 0] += 4 * (name > 0)
    return matrix, name


def chosen(good: int, family: Ints | None = None) -> EvidenceWeights:
    """What is chosen where view `good` is column 0 and all the others are noise."""
    matrix, name = records(3_000, np.random.default_rng(1))

    def fit(_: Floats, names: Ints) -> object:
        assert (names == 0).any() and (names > 0).any()

        def views(some: Floats) -> Floats:
            seen = some[:, [1, 2, 3, 1]].copy()
            seen[:, good] = some[:, 0]
            return seen

        return views

    return choose_evidence_weights(matrix, name, name if family is None else family, fit, 0)  # type: ignore[arg-type]


def test_the_view_that_is_right_counts_most() -> None:
    attack, distance = chosen(VIEWS.index("attack")), chosen(VIEWS.index("distance"))
    assert attack.weight[0] > 0.8 * sum(attack.weight)
    assert distance.weight[0] < distance.weight[2] == 1
    assert attack.known is not None and attack.known > 0.8
    assert attack.unknown is not None and attack.unknown > 0.8
    assert attack == chosen(VIEWS.index("attack"))
    assert set(attack.document()) == {*VIEWS, "known", "unknown"}


def test_where_all_attacks_are_of_one_family_names_are_left_out() -> None:
    _, name = records(3_000, np.random.default_rng(1))
    assert chosen(0, (name > 0).astype(np.int64)).unknown is not None


@pytest.mark.parametrize("rows", [1, 2, 5, 30])
def test_a_table_with_next_to_nothing_gets_the_first_candidate_or_some_other(rows: int) -> None:
    matrix = np.zeros((2 * rows, 3), dtype=np.float32)
    name = np.repeat([0, 1], rows)
    choice = choose_evidence_weights(
        matrix, name, name, lambda *_: lambda some: np.zeros((len(some), 4), dtype=np.float32), 0
    )
    assert choice.weight in CANDIDATES
    assert choice.unknown is None


def test_rare_names_are_drawn_in_full() -> None:
    name = np.repeat([0, 1, 2, 3], [40_000, 20_000, 60, 3])
    rows = _drawn(name, np.random.default_rng(0))
    counts = np.bincount(name[rows])
    assert len(rows) == len(np.unique(rows)) == ROWS
    assert counts[3] == 3 and counts[2] >= LEAST
    assert counts[0] / counts[1] == pytest.approx(2, rel=0.05)
