"""Protocol `unknowns`: one family of attacks left out of training, then looked for among normals not trained on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.lab.detectors.detector import Family
from models.lab.protocols.fit import Unit, fit
from models.lab.protocols.plan import nsl_kdd_table
from models.lab.protocols.trial import Trial
from models.lab.tables.nsl_kdd import FAMILIES, TRAIN
from models.lab.tables.table import NORMAL

HELD_SHARE = 0.3  # of the normals


@dataclass(frozen=True, slots=True)
class Unknowns:
    """Every family of detectors against every family of attacks it never saw, on KDDTrain+."""

    data: Path
    families: tuple[Family, ...]
    seeds: int = 3
    name: str = "unknowns"

    def units(self) -> list[Unit]:
        """Seed by seed, family by family; ranking alone is judged, so no thresholds."""
        return [
            Unit(self.name, f"without-{left_out}", family, seed, calibrated=False)
            for seed in range(self.seeds)
            for left_out in FAMILIES[1:]
            for family in self.families
            if seed < family.seeds
        ]

    def document(self, unit: Unit) -> dict[str, Any]:
        """One fit on its trial."""
        return fit(unit, self.trial(unit))

    def trial(self, unit: Unit) -> Trial:
        """Normals are divided by the seed; the family left out is only in the test."""
        table = nsl_kdd_table(self.data, TRAIN)
        left_out = table.family == unit.split.removeprefix("without-")
        held_out = (table.family == NORMAL) & (np.random.default_rng(unit.seed).random(len(table)) < HELD_SHARE)
        return Trial(table.take(~left_out & ~held_out), [table.take(left_out | held_out, unit.split)], "binary")
