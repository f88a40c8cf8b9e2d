"""Evidence: how unusual a record is by each view, on one scale, and their weighted sum as the score."""

from dataclasses import dataclass

import numpy as np

from models.igan.ranks import rank
from models.rows import Doubles, Floats

VIEWS = ("attack", "head", "distance", "closeness")
Weights = tuple[float, float, float, float]
LEAST_P = 1e-9  # a view alone can say no more than this


@dataclass(frozen=True, slots=True)
class Evidence:
    """The views' p-values among held-out normal records, combined as −log p.

    A view that is sure weighs more than several that are not, so that a known attack of ordinary looks is found, and
    so is one that only lies far from everything normal. Beyond the most unusual held-out normal the p-value still
    falls, slowly, so that attacks keep an order.
    Source: Fisher 1925, "Statistical methods for research workers", section 21.1, with weights.

    Attributes
    ----------
    normal : (4, m) float64, each view's values of the held-out normals, ascending
    """

    normal: Doubles
    weight: Weights

    @classmethod
    def fit(cls, views: Floats, weight: Weights) -> "Evidence":
        """From held-out normals' views (m, 4), m > 0."""
        if not len(views) or min(weight) < 0 or sum(weight) <= 0:
            raise ValueError(f"evidence: got {len(views)} normals and weights {weight}, expected some and one above 0")
        return cls(np.sort(views.astype(np.float64), axis=0).T.copy(), weight)

    def score(self, views: Floats) -> Doubles:
        """Views (n, 4) → (n,) from 0 on, higher the less normal."""
        used = [column for column, weight in enumerate(self.weight) if weight]
        surprise = self.surprise(views, used)
        result: Doubles = surprise @ np.array([self.weight[column] for column in used]) / sum(self.weight)
        return result

    def surprise(self, views: Floats, used: list[int] | None = None) -> Doubles:
        """Views (n, 4) → −log p of those used (all where none are named), (n, used)."""
        each = range(len(VIEWS)) if used is None else used
        p = [1.0 - rank(views[:, column].astype(np.float64), self.normal[column]) for column in each]
        return -np.log(np.maximum(np.stack(p, axis=1), LEAST_P))
