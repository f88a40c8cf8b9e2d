"""Tables of nothing but identifiers: who, where from, and when. They do not describe what an attack looks like.

On a fair split a model of them is near chance. Where it is not, the set's attacks come from hosts or ports of their
own, and a model that is given them learns those: that is why no table of the evaluation has them.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from models.lab.detectors.detector import Family
from models.lab.protocols import iiot
from models.lab.protocols.fit import Unit, fit
from models.lab.protocols.iiot import NamedTrial, Plant
from models.lab.protocols.plan import nsl_kdd_table
from models.lab.protocols.trial import Trial
from models.lab.tables.nsl_kdd import TEST, TRAIN
from models.lab.tables.table import Column, Table

SPLIT = "identifiers-only"


@dataclass(frozen=True, slots=True)
class IdentifiersOnly:
    """A family or two on identifiers alone, over the splits of `iiot` and NSL-KDD; part of the protocol `controls`.

    Attributes
    ----------
    nsl_kdd : its folder, or None
    data, plant : as in Iiot
    """

    nsl_kdd: Path | None
    data: Path
    families: tuple[Family, ...]
    seeds: int = 1
    plant: Callable[[], Plant] | None = None
    name: str = "controls"

    def units(self) -> list[Unit]:
        """The units, seed by seed."""
        return [
            Unit(self.name, f"{SPLIT}/{split.name}", family, seed, calibrated=False)
            for seed in range(self.seeds)
            for split in self.trials()
            for family in self.families
        ]

    def document(self, unit: Unit) -> dict[str, Any]:
        """One fit on its split."""
        by_name = {f"{SPLIT}/{trial.name}": trial for trial in self.trials()}
        return fit(unit, by_name[unit.split].build(unit.seed))

    def trials(self) -> list[NamedTrial]:
        """Splits by name."""
        splits = [] if self.nsl_kdd is None else [nsl_kdd(self.nsl_kdd)]
        return splits + iiot.trials(self.data, self.plant, identifying=True)


def nsl_kdd(folder: Path) -> NamedTrial:
    """KDDTrain+ → KDDTest+ by a record's position in its file, the only identifier NSL-KDD has left."""
    return NamedTrial("nsl-kdd", _FilePosition(folder))


@dataclass(frozen=True, slots=True)
class _FilePosition:
    folder: Path

    def __call__(self, seed: int) -> Trial:
        return Trial(
            position_only(nsl_kdd_table(self.folder, TRAIN)),
            [position_only(nsl_kdd_table(self.folder, TEST))],
            "binary",
        )


def position_only(table: Table) -> Table:
    """The same records with nothing but their share of the way through the file."""
    position = np.arange(len(table), dtype=np.float64)[:, None] / max(len(table) - 1, 1)
    return replace(table, columns=(Column("place", "number"),), values=position)
