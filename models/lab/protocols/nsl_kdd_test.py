"""Protocol `nsl-kdd-test`: KDDTrain+ → KDDTest+ and KDDTest-21, binary and five classes, over seeds.

The seed draws everything random in a detector; forests and boosting get it too. Thresholds come from training alone.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.lab.detectors.detector import Family
from models.lab.protocols.fit import Unit, fit
from models.lab.protocols.plan import nsl_kdd_table
from models.lab.protocols.trial import Task, Trial
from models.lab.tables.nsl_kdd import TEST, TEST_21, TRAIN


@dataclass(frozen=True, slots=True)
class NslKddTest:
    """Every family and seed, for each task it can do."""

    data: Path
    families: tuple[Family, ...]
    seeds: int = 10
    tasks: tuple[Task, ...] = ("binary", "5-class")
    name: str = "nsl-kdd-test"

    def units(self) -> list[Unit]:
        """Seed by seed. The five-class fits carry no thresholds: their decision is the likeliest class."""
        return [
            Unit(self.name, "train-test", family, seed, task, calibrated=task == "binary")
            for seed in range(self.seeds)
            for task in self.tasks
            for family in self.families
            if seed < family.seeds and (task == "binary" or family.multiclass)
        ]

    def document(self, unit: Unit) -> dict[str, Any]:
        """One fit on its trial."""
        return fit(unit, self.trial(unit))

    def trial(self, unit: Unit) -> Trial:
        """KDDTest-21 is KDDTest+ without its easiest records: two views of one test."""
        tables = [nsl_kdd_table(self.data, name) for name in (TRAIN, TEST, TEST_21)]
        return Trial(tables[0], tables[1:], unit.task)
