"""Protocol `nsl-kdd-cv`: stratified 10-fold × 10 runs on KDDTrain+, the protocol of the paper. It interpolates:

folds share the campaigns they are drawn from, so that 99.9 % is usual and says little about another network.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.lab.detectors.detector import Family
from models.lab.protocols.fit import Unit, fit
from models.lab.protocols.plan import nsl_kdd_table
from models.lab.protocols.trial import Trial
from models.lab.tables.nsl_kdd import TRAIN
from models.rows import Ints, Strings

FOLDS = 10


@dataclass(frozen=True, slots=True)
class NslKddCv:
    """Every family on every fold of every run it takes part in."""

    data: Path
    families: tuple[Family, ...]
    runs: int = 10
    name: str = "nsl-kdd-cv"

    def units(self) -> list[Unit]:
        """Run by run, fold by fold."""
        return [
            Unit(self.name, f"run{run:02d}-fold{fold:02d}", family, run, calibrated=False)
            for run in range(self.runs)
            for fold in range(FOLDS)
            for family in self.families
            if run < family.runs
        ]

    def document(self, unit: Unit) -> dict[str, Any]:
        """One fit on its trial."""
        return fit(unit, self.trial(unit))

    def trial(self, unit: Unit) -> Trial:
        """Nine folds to learn from, the tenth to be judged on."""
        table = nsl_kdd_table(self.data, TRAIN)
        held_out = stratified_folds(table.label, FOLDS, unit.seed) == int(unit.split[-2:])
        return Trial(table.take(~held_out), [table.take(held_out, "fold")], "binary")


def stratified_folds(label: Strings, folds: int, seed: int) -> Ints:
    """(n,) fold of each record: every label is dealt out evenly, in random order."""
    random = np.random.default_rng(seed)
    fold = np.empty(len(label), dtype=np.int64)
    dealt = 0
    for name in np.unique(label):
        members = random.permutation(np.flatnonzero(label == name))
        fold[members] = (dealt + np.arange(len(members))) % folds  # the next label continues where the last one ends
        dealt += len(members)
    return fold
