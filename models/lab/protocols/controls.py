"""Protocol `controls`: detectors that must fail, where they must, and IGAN-IDS with parts taken away."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.lab.detectors.detector import Family
from models.lab.protocols.fit import Unit, fit
from models.lab.protocols.identifiers import SPLIT, IdentifiersOnly
from models.lab.protocols.plan import nsl_kdd_table
from models.lab.protocols.trial import Trial
from models.lab.tables.nsl_kdd import TEST, TRAIN


@dataclass(frozen=True, slots=True)
class Controls:
    """Controls are judged on the binary task, ablations on five classes too, on KDDTest+.

    Attributes
    ----------
    controls : majority, one-feature stump, shuffled labels
    ablations : IGAN-IDS without parts, compared seed by seed
    identifiers : the same detectors given nothing but who and when, over every set there is; must be near chance
    """

    data: Path
    controls: tuple[Family, ...]
    ablations: tuple[Family, ...]
    seeds: int = 5
    identifiers: IdentifiersOnly | None = None
    name: str = "controls"

    def units(self) -> list[Unit]:
        """The units, seed by seed."""
        units: list[Unit] = []
        for seed in range(self.seeds):
            units += [Unit(self.name, "control", family, seed, calibrated=False) for family in self.controls]
            units += [Unit(self.name, "ablation", family, seed, calibrated=False) for family in self.ablations]
            units += [Unit(self.name, "ablation", family, seed, "5-class", False) for family in self.ablations]
        return units + (self.identifiers.units() if self.identifiers else [])

    def document(self, unit: Unit) -> dict[str, Any]:
        """One fit on KDDTrain+, judged on KDDTest+; identifiers on their own splits."""
        if self.identifiers and unit.split.startswith(SPLIT):
            return self.identifiers.document(unit)
        train, test = nsl_kdd_table(self.data, TRAIN), nsl_kdd_table(self.data, TEST)
        return fit(unit, Trial(train, [test], unit.task))
