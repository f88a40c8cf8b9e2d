"""Evidence: how unusual a record is by each view, on one scale, and their weighted sum as the score."""

from dataclasses import dataclass

import numpy as np

from models.rows import Doubles, Floats

VIEWS = ("attack", "head", "distance", "closeness")
Weights = tuple[float, float, float, float]
SURE = 0.99  # of the held-out normals lie below where the classifier begins to be sure of an attack


@dataclass(frozen=True, slots=True)
class Evidence:
    """Ranks among held-out normal records, view by view.

    A view's rank is its share of held-out normals below it (a tie counts half), so no view's units or tail can
    drown another's. Beyond the most unusual held-out normal the rank grows on, by at most one normal's worth, so that
    attacks still have an order. Ranks alone would let an ordinary-looking record of a known attack pass: `certainty`
    lifts what the classifier is surer of than of nearly all normals.

    Attributes
    ----------
    normal : (4, m) float64, each view's values of the held-out normals, ascending
    """

    normal: Doubles
    weight: Weights
    certainty: float = 0.0

    @classmethod
    def fit(cls, views: Floats, weight: Weights, certainty: float = 0.0) -> "Evidence":
        """From held-out normals' views (m, 4), m > 0."""
        if not len(views) or min(weight) < 0 or sum(weight) <= 0:
            raise ValueError(f"evidence: got {len(views)} normals and weights {weight}, expected some and one above 0")
        return cls(np.sort(views.astype(np.float64), axis=0).T.copy(), weight, certainty)

    def score(self, views: Floats) -> Doubles:
        """Views (n, 4) → (n,) within [0, 1), higher the less normal."""
        total = np.zeros(len(views))
        for column, (own, weight) in enumerate(zip(self.normal, self.weight, strict=True)):
            if weight:
                total += weight * _rank(own, views[:, column].astype(np.float64))
        middle, sure = np.quantile(self.normal[0], [0.5, SURE])
        lift = np.clip((views[:, 0] - sure) / max(sure - middle, 1e-3), 0.0, 1.0)
        result: Doubles = (total + self.certainty * lift) / (sum(self.weight) + self.certainty)
        return result


def _rank(normal: Doubles, value: Doubles) -> Doubles:
    """(n,) share of the ascending normals (m,) below each value, within (0, 1)."""
    below, upto = np.searchsorted(normal, value, "left"), np.searchsorted(normal, value, "right")
    middle, top = np.quantile(normal, [0.5, 1.0])
    beyond = np.maximum(value - top, 0.0) / max(top - middle, 1e-6)
    result: Doubles = ((below + upto) / 2 + 0.5 + beyond / (1 + beyond)) / (len(normal) + 2)
    return result
