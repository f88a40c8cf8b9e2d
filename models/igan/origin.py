"""What belongs to one origin of flows (a sensor, a site, or all of them pooled): its view, odds and p-values."""

from dataclasses import dataclass
from typing import Any

from models.igan.calibration import ConformalTable
from models.igan.distances import Closeness
from models.igan.odds import Odds
from models.igan.views import View


@dataclass(frozen=True, slots=True)
class Origin:
    """One origin's calibration."""

    view: View
    odds: Odds
    table: ConformalTable
    alert_level: float

    def document(self) -> dict[str, Any]:
        """As plain JSON values; the view's tensors are among the weights."""
        prototypes = {"prototypes": len(self.view.prototypes)} if isinstance(self.view, Closeness) else {}
        return {"odds": self.odds.document(), **prototypes, **self.table.document(self.alert_level)}

    @classmethod
    def from_document(cls, document: dict[str, Any], view: View) -> "Origin":
        """From a manifest's entry and the view of its tensors; ValueError, KeyError or TypeError where it is none."""
        odds, table = Odds.from_document(document["odds"]), ConformalTable.from_document(document)
        return cls(view, odds, table, float(document["alert_level"]))
