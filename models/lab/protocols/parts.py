"""Which records train and which are judged, as positions, so that two tables of the same records split alike."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from models.lab.protocols.operations import NOWHERE, Operations
from models.lab.protocols.trial import Task, Trial
from models.lab.tables.table import Table, first_of_each, not_in, one_by_one
from models.rows import Ints, Mask


@dataclass(frozen=True, slots=True)
class Parts:
    """Positions to train on, and of every test; `grouped` False where each record stands for itself."""

    train: Ints
    tests: Mapping[str, Ints]
    grouped: bool = True


def trial(table: Table, parts: Parts, task: Task = "binary", operations: Mapping[str, Operations] = NOWHERE) -> Trial:
    """The trial of these parts of a table."""
    train = table.take(parts.train)
    if not parts.grouped:
        train = replace(train, group=one_by_one(len(train)))
    return Trial(train, [table.take(rows, name) for name, rows in parts.tests.items()], task, operations)


def distinct(table: Table, fit: Ints, test_rows: Mapping[str, Ints], grouped: bool = True) -> Parts:
    """Parts without repeats on either side, and without test records whose values occur in training."""
    train = fit[first_of_each(table.take(fit))]
    training_set = table.take(train)
    tests = {}
    for name, rows in test_rows.items():
        unique = rows[first_of_each(table.take(rows))]
        tests[name] = unique[not_in(table.take(unique), training_set)]
    return Parts(train, tests, grouped)


def at_random(table: Table, rows: Ints, share: float, name: str, seed: int) -> Parts:
    """The distinct of these records, `share` of them drawn at random to be judged on."""
    unique = rows[first_of_each(table.take(rows))]
    order = np.random.default_rng(seed).permutation(unique)
    test_count = round(share * len(order))
    return distinct(table, np.sort(order[test_count:]), {name: np.sort(order[:test_count])}, grouped=False)


def beside(table: Table, parts: Parts, name: str, seed: int) -> Parts:
    """A random split of the same records with the same share held out: the figures of a split that ignores time."""
    test_rows = np.unique(np.concatenate(list(parts.tests.values())))
    rows = np.union1d(parts.train, test_rows)
    return at_random(table, rows, len(test_rows) / len(rows), name, seed)


def positions(chosen: Mask) -> Ints:
    """Where a mask is true."""
    result: Ints = np.flatnonzero(chosen)
    return result
