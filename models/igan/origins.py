"""Calibrations of many origins side by side: each row is measured by its own, at what rows cost, not origins."""

from collections.abc import Sequence

import numpy as np

from models.igan.calibration import ConformalTables
from models.igan.distances import Distance, Distances
from models.igan.odds import ManyOdds
from models.igan.origin import Origin
from models.igan.views import View
from models.rows import Floats, Ints


class Origins:
    """What belongs to S origins of flows; a row gets the bits that its own origin alone gives it.

    One thread at a time: what is written in between is made once.

    Parameters
    ----------
    origins : one at least
    """

    def __init__(self, origins: Sequence[Origin]) -> None:
        self.odds = ManyOdds.of([each.odds for each in origins])
        self.tables = ConformalTables.of([each.table for each in origins])
        self.alert_level = np.array([each.alert_level for each in origins], np.float32)
        """(S,) float32."""
        self._views = [each.view for each in origins]
        self._distances = _side_by_side(self._views)

    def distance(self, z: Floats, origin: Ints) -> Floats:
        """Preprocessed rows (n, F), the origin of each (n,) → (n,) how far each lies from its origin's normal rows."""
        if self._distances is not None:
            return self._distances(z, origin)
        out = np.empty(len(z), np.float32)
        # Prototypes are packed by what is usual at their origin: thousands of them, beside which a call costs little.
        for number in np.unique(origin).tolist():
            here = np.flatnonzero(origin == number)
            out[here] = self._views[number](z[here])
        return out


def _side_by_side(views: Sequence[View]) -> Distances | None:
    """The views as one; None where they are not all distances from a centre."""
    distances = [view for view in views if isinstance(view, Distance)]
    return Distances(distances) if len(distances) == len(views) else None
