"""The odds' constants are chosen on training records: what is right about those gets the say."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from models.igan.config import IganConfig
from models.igan.odds import OddsConfig
from models.rows import Floats, Ints
from models.training.odds_choice import LEAST, ROWS, OddsChoice, choose_odds, constants_of, drawn

CONFIG = replace(IganConfig(), prototypes=32)


def records(rows: int, seed: int = 1) -> tuple[Floats, Ints]:
    """Normal rows and four attacks that lie beside them in column 0: (n, 4), names (n,)."""
    random = np.random.default_rng(seed)
    name = random.choice(np.array([0, 0, 0, 1, 2, 3, 4]), size=rows)
    matrix = random.normal(size=(rows, 4)).astype(np.float32)
    matrix[:, 0] += 4 * (name > 0)
    return matrix, name.astype(np.int64)


def knowing(matrix: Floats, name: Ints, fold: int) -> Callable[[Floats], tuple[Floats, Floats]]:
    """A classifier that sees column 0, and shows the views nothing but noise."""
    assert (name == 0).any() and (name > 0).any()
    return lambda rows: (np.ascontiguousarray(rows[:, 1:]), 3 * rows[:, 0] - 6)


def chosen(config: IganConfig = CONFIG, family: Ints | None = None) -> OddsChoice:
    matrix, name = records(3_000)
    return choose_odds(matrix, name, name if family is None else family, knowing, config)


def test_where_only_the_margin_knows_anything_the_cheaper_view_stays() -> None:
    choice = chosen()
    assert choice.view == "distance" and choice == chosen()
    assert choice.known is not None and choice.known > 0.8
    assert choice.unknown is not None and choice.unknown > 0.8
    assert set(choice.document()) == {"criterion", "chosen", "known", "unknown", "merit"}
    assert len(choice.merit) == 2 * len(constants_of(CONFIG))


def test_the_configurations_constants_are_the_default_and_tried_first() -> None:
    config = replace(CONFIG, pi=2e-3, margin_weight=0.1)
    assert constants_of(config)[0] == OddsConfig(2e-3, 0.1)
    assert len(set(constants_of(config))) == len(constants_of(config)) == 12
    assert len(constants_of(CONFIG)) == 6
    assert choose_odds(*two_rows(), config).constants == OddsConfig(2e-3, 0.1)


def two_rows() -> tuple[Floats, Ints, Ints, Callable[..., Callable[[Floats], tuple[Floats, Floats]]]]:
    """A table too small to choose anything on."""
    name = np.array([0, 0, 1, 1], dtype=np.int64)
    return np.zeros((4, 4), dtype=np.float32), name, name, knowing


def test_where_all_attacks_are_of_one_family_names_are_left_out() -> None:
    _, name = records(3_000)
    assert chosen(family=(name > 0).astype(np.int64)).unknown is not None


@pytest.mark.parametrize("rows", [2, 5, 30])
def test_a_table_with_next_to_nothing_gets_an_answer(rows: int) -> None:
    matrix, name = np.zeros((2 * rows, 4), dtype=np.float32), np.repeat(np.array([0, 1]), rows)
    choice = choose_odds(matrix, name, name, knowing, CONFIG)
    assert choice.constants in constants_of(CONFIG) and choice.unknown is None


def test_rare_names_are_drawn_in_full() -> None:
    name = np.repeat([0, 1, 2, 3], [40_000, 20_000, 60, 3])
    rows = drawn(name, np.random.default_rng(0))
    counts = np.bincount(name[rows])
    assert len(rows) == len(np.unique(rows)) == ROWS
    assert counts[3] == 3 and counts[2] >= LEAST
    assert counts[0] / counts[1] == pytest.approx(2, rel=0.05)
