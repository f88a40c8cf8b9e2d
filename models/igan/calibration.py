"""Calibration: conformal p-values against frozen tables of presumed-normal flows, and units of a view."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.igan import ascending
from models.rows import Doubles, Floats, Ints

EXACT = 256  # so many of the most unusual scores are retained exactly
COARSER = 1.02  # below them, every retained rank is this factor further down


@dataclass(frozen=True, slots=True)
class ConformalTable:
    """Scores of `n` presumed-normal flows, the most unusual ones exactly, the rest at 2 % steps of rank.

    A p-value is (1 + how many of the n score at least as high) / (n + 1). Between two retained scores all flows above
    the lower one are counted, so the table's p-value is never below the exact one.

    Attributes
    ----------
    score : (m,) float32, ascending
    above : (m,) how many of the n flows score more than that
    """

    n: int
    score: Floats
    above: Ints

    @classmethod
    def fit(cls, scores: Floats) -> "ConformalTable":
        """From the scores (n,) of presumed-normal flows, n > 0."""
        ascending = np.sort(scores.astype(np.float32))
        retained = np.unique(ascending[len(ascending) - retained_ranks(len(ascending))])
        above = len(ascending) - np.searchsorted(ascending, retained, side="right")
        return cls(len(ascending), retained, above.astype(np.int64))

    @property
    def smallest_p(self) -> float:
        """The smallest p-value this many flows can give."""
        return 1.0 / (self.n + 1)

    def p_value(self, scores: Floats) -> Floats:
        """(n,) scores → (n,) p-values, float32."""
        return ConformalTables.of([self]).p_value(scores, np.zeros(len(scores), np.int64))

    def document(self, alert_level: float) -> dict[str, Any]:
        """As plain JSON values, with the alert level and the smallest p-value stated."""
        return {
            "n": self.n,
            "smallest_p_value": self.smallest_p,
            "alert_level": alert_level,
            "score": [float(value) for value in self.score],
            "above": [int(value) for value in self.above],
        }

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> "ConformalTable":
        """From a manifest; ValueError where it is no such table."""
        with np.errstate(over="ignore"):
            score = np.array(document["score"], dtype=np.float32)
        above = np.array(document["above"], dtype=np.int64)
        n = int(document["n"])
        sound = (
            len(score) == len(above) > 0
            and bool(np.isfinite(score).all())
            and bool((np.diff(score) > 0).all())
            and bool((np.diff(above) < 0).all())
            and above[-1] == 0
            and above[0] < n
        )
        if not sound:
            raise ValueError(f"calibration table of {len(score)} scores: expected finite ascending scores and counts")
        return cls(n, score, above)


@dataclass(frozen=True, slots=True)
class ConformalTables:
    """Tables of many origins, one behind the other.

    Attributes
    ----------
    first : (S + 1,) where each table's scores begin
    score : (all,) float32, ascending within a table
    p : (all + S,) float32: of each table the p-values of what has 0, 1, 2, ... of its scores below it
    """

    first: Ints
    score: Floats
    p: Floats

    @classmethod
    def of(cls, tables: Sequence[ConformalTable]) -> "ConformalTables":
        """Those of these tables, one at least, in their order."""
        score = [table.score for table in tables]
        p = [(1 + np.concatenate([[table.n], table.above])) / (table.n + 1) for table in tables]
        return cls(ascending.firsts(score), np.concatenate(score), np.concatenate(p).astype(np.float32))

    def p_value(self, scores: Floats, origin: Ints) -> Floats:
        """(n,) scores, which table each is looked up in (n,) → (n,) p-values, float32."""
        below = np.empty(len(scores), np.int64)
        ascending.below(self.score, self.first, origin, np.require(scores, np.float32, ["C", "W"]), below)
        result: Floats = self.p[self.first[origin] + origin + below]
        return result


def retained_ranks(count: int) -> Ints:
    """Ranks that are retained of `count` ascending values, count > 0: the most unusual, rank 1, comes first."""
    ranks = list(range(1, min(EXACT, count) + 1))
    while ranks[-1] < count:
        ranks.append(min(max(int(ranks[-1] * COARSER), ranks[-1] + 1), count))
    return np.array(ranks, dtype=np.int64)


def unit_scale(view: Doubles) -> tuple[float, float]:
    """Centre and scale that give normal rows median 0 and 99th percentile 1."""
    centre, top = np.quantile(view, [0.5, 0.99])
    return float(centre), float(max(top - centre, 1e-3))
