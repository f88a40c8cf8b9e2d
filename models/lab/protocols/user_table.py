"""Protocol `table`: a training and a test table of the user's, binary and by the names of its labels.

The test is judged as it is and, where it repeats training records, once more without those: the difference is what a
model gets for remembering.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from models.errors import RefusedModel
from models.lab.detectors.detector import Family
from models.lab.protocols.fit import Unit, fit
from models.lab.protocols.trial import Task, Trial
from models.lab.tables.labelled import read_pair
from models.lab.tables.table import Table, not_in

NEW_ONLY = "without records of training"


@dataclass(frozen=True, slots=True)
class UserTable:
    """Every family and seed on the user's own split, for each task the labels allow.

    Attributes
    ----------
    train, test : CSV or Parquet
    label, normal : the label's column, and its value for normal records
    drop : columns to leave out
    """

    train: Path
    test: Path
    label: str
    normal: str
    drop: tuple[str, ...]
    families: tuple[Family, ...]
    seeds: int = 3
    name: str = "table"

    def units(self) -> list[Unit]:
        """Seed by seed: binary with thresholds, and by label where training has more than one attack."""
        train, _, _ = self.tables()
        tasks: tuple[Task, ...] = ("binary", "attack") if len(np.unique(train.label)) > 2 else ("binary",)
        return [
            Unit(self.name, "train-test", family, seed, task, calibrated=task == "binary")
            for seed in range(self.seeds)
            for task in tasks
            for family in self.families
            if seed < family.seeds and (task == "binary" or family.multiclass)
        ]

    def document(self, unit: Unit) -> dict[str, Any]:
        """One fit, with what is to know about how the tables were read."""
        train, tests, notes = self.tables()
        return {**fit(unit, Trial(train, tests, unit.task)), "notes": list(notes)}

    def tables(self) -> tuple[Table, Sequence[Table], tuple[str, ...]]:
        """Training table, the tables to be judged on, and remarks; read once a process."""
        return _tables(self.train, self.test, self.label, self.normal, self.drop)


@cache
def _tables(
    train: Path, test: Path, label: str, normal: str, drop: tuple[str, ...]
) -> tuple[Table, tuple[Table, ...], tuple[str, ...]]:
    training_set, exam = read_pair(train, test, label, normal, drop)
    notes = training_set.notes + exam.notes
    # The names are the tables' files', which may be the same in two folders.
    whole = replace(exam.table, name=test.stem)
    new = not_in(exam.table, training_set.table)
    if new.all():
        return training_set.table, (whole,), notes
    repeats = f"{test.name}: {int((~new).sum())} of {len(new)} records repeat a training record"
    part = whole.take(new, f"{test.stem}, {NEW_ONLY}")
    if not new.any() or len(np.unique(part.attack)) < 2:
        if train.resolve() == test.resolve():
            raise RefusedModel(f"--test {test}: got the training table itself, expected other records")
        return training_set.table, (whole,), (*notes, repeats)
    return training_set.table, (whole, part), (*notes, repeats)
