"""Known and unknown attacks as odds that add up: a score from a margin and from how unusual a row is here."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from models.igan import ascending
from models.igan.calibration import retained_ranks, unit_scale
from models.rows import Doubles, Floats, Ints

LEAST_P = 1e-9  # how unusual a row is can say no more than this
CEILING = 50.0  # a view says "very unusual" at most this loudly


@dataclass(frozen=True, slots=True)
class OddsConfig:
    """The constants of a model's odds, chosen in its training.

    Attributes
    ----------
    pi : odds of an unknown attack before anything is seen of a row
    margin_weight : how much a margin that is high for this origin counts beside the distance
    """

    pi: float = 1e-3
    margin_weight: float = 0.25


@dataclass(frozen=True, slots=True)
class Odds:
    """score = log(exp(margin - shift) + pi / p): the log-odds of an attack, known or not.

    `margin` is the classifier's log-odds of the attacks it knows; p is the share of the origin's held-out normal rows
    that are at least so unusual, by distance and margin, each in units where those rows have median 0 and 99th
    percentile 1. A row that the classifier is sure of keeps its place, however ordinary its distance.

        margin   p       log-odds (pi .001, shift 0)
        -9       .5      -6.2     normal
        -9       .001     0.0     as likely unknown as not
        -9       1e-9    13.8     unknown
         5       .5       5.0     known

    On traffic the classifier was not trained with its margin of ordinary rows may be high; `shift` takes off how much
    higher their 99th percentile is than that of the normal rows it was trained with.

    Attributes
    ----------
    distance_unit, margin_unit : centre and scale of each
    n : how many normal rows the ranks are among
    value : (m,) float64, ascending, how unusual the retained ones of them are
    position : (m,) float64, the position of each among all n, from 0; ties share the middle of theirs
    """

    constants: OddsConfig
    distance_unit: tuple[float, float]
    margin_unit: tuple[float, float]
    shift: float
    n: int
    value: Doubles
    position: Doubles

    @classmethod
    def fit(cls, distance: Floats, margin: Floats, shift: float, constants: OddsConfig) -> "Odds":
        """From an origin's held-out normal rows: distances and margins (n,), n > 0."""
        if not len(distance) or constants.pi <= 0 or constants.margin_weight < 0:
            raise ValueError(
                f"odds: got {len(distance)} normal rows and {constants}, expected some, pi > 0, weight >= 0"
            )
        units = unit_scale(distance.astype(np.float64)), unit_scale(margin.astype(np.float64))
        empty = np.empty(0)
        return cls(constants, *units, shift, len(distance), empty, empty).among(distance, margin)

    def among(self, distance: Floats, margin: Floats) -> "Odds":
        """With the same units, ranked among these normal rows: distances and margins (n,), n > 0."""
        value, position = _thinned(np.sort(self.unusual(distance, margin)))
        return replace(self, n=len(distance), value=value, position=position)

    def unusual(self, distance: Floats, margin: Floats) -> Doubles:
        """(n,) distances and margins → (n,) how unusual, in units of the origin's normal rows."""
        return ManyOdds.of([self]).unusual(distance, margin, _first(distance))

    def p_unknown(self, unusual: Doubles) -> Doubles:
        """(n,) → (n,) share of the origin's normal rows at least so unusual, between 1e-9 and 1.

        Beyond the most unusual of them it falls on, ever more slowly.
        """
        return ManyOdds.of([self]).p_unknown(unusual, _first(unusual))

    def score(self, distance: Floats, margin: Floats) -> tuple[Floats, Floats]:
        """(n,) distances and margins → score (n,) in [0, 1), novelty (n,) = -log10 p; float32.

        With u = -ln P(normal) by these odds, score = u / (1 + u).
        """
        return ManyOdds.of([self]).score(distance, margin, _first(distance))

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "pi": self.constants.pi,
            "margin_weight": self.constants.margin_weight,
            "distance_unit": list(self.distance_unit),
            "margin_unit": list(self.margin_unit),
            "shift": self.shift,
            "n": self.n,
            "value": [float(value) for value in self.value],
            "position": [float(value) for value in self.position],
        }

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> "Odds":
        """From a manifest's `odds`; ValueError where it is none."""
        constants = OddsConfig(float(document["pi"]), float(document["margin_weight"]))
        distance_unit, margin_unit = _unit(document["distance_unit"]), _unit(document["margin_unit"])
        value = np.array(document["value"], dtype=np.float64)
        position = np.array(document["position"], dtype=np.float64)
        shift, n = float(document["shift"]), int(document["n"])
        numbers = (constants.pi, constants.margin_weight, *distance_unit, *margin_unit, shift)
        sound = (
            bool(np.isfinite(numbers).all())
            and constants.pi > 0
            and constants.margin_weight >= 0
            and min(distance_unit[1], margin_unit[1]) > 0
            and value.ndim == position.ndim == 1
            and len(value) == len(position) > 0
            and bool(np.isfinite(value).all() and np.isfinite(position).all())
            and bool((np.diff(value) > 0).all() and (np.diff(position) > 0).all())
            and 0 <= position[0] <= position[-1] < n
        )
        if not sound:
            raise ValueError(f"odds of {len(value)} values: expected finite numbers, values and positions ascending")
        return cls(constants, distance_unit, margin_unit, shift, n, value, position)


@dataclass(frozen=True, slots=True)
class ManyOdds:
    """Odds of S origins side by side: each row is measured by those of its own.

    Attributes
    ----------
    log_pi, margin_weight, shift, n : (S,) as of each origin's odds
    distance_unit, margin_unit : (2, S) centre and scale of each
    first : (S + 1,) where each origin's values begin
    value, position : (all,) of the origins' odds, one behind the other
    """

    log_pi: Doubles
    margin_weight: Doubles
    distance_unit: Doubles
    margin_unit: Doubles
    shift: Doubles
    n: Ints
    first: Ints
    value: Doubles
    position: Doubles

    @classmethod
    def of(cls, odds: Sequence[Odds]) -> "ManyOdds":
        """Those of these origins, one at least, in their order."""
        values = [each.value for each in odds]
        return cls(
            np.log(np.array([each.constants.pi for each in odds])),
            np.array([each.constants.margin_weight for each in odds]),
            np.array([each.distance_unit for each in odds]).T,
            np.array([each.margin_unit for each in odds]).T,
            np.array([each.shift for each in odds]),
            np.array([each.n for each in odds], np.int64),
            ascending.firsts(values),
            np.concatenate(values),
            np.concatenate([each.position for each in odds]),
        )

    def unusual(self, distance: Floats, margin: Floats, origin: Ints) -> Doubles:
        """As `Odds.unusual`, each row by the odds of its origin (n,)."""
        near, high = (
            _in_units(view, unit[:, origin])
            for view, unit in ((distance, self.distance_unit), (margin, self.margin_unit))
        )
        result: Doubles = near + self.margin_weight[origin] * high
        return result

    def p_unknown(self, unusual: Doubles, origin: Ints) -> Doubles:
        """As `Odds.p_unknown`, each row by the odds of its origin (n,)."""
        low, high, n = self.value[self.first[origin]], self.value[self.first[origin + 1] - 1], self.n[origin]
        position = np.empty(len(unusual))
        ascending.interpolated(self.value, self.position, self.first, origin, unusual, position)
        # Where the most unusual rows are many, all alike, what lies beyond them lies beyond every one.
        position = np.where(unusual > high, n - 1, position)
        spread = np.maximum(high - low, 1e-12)
        above = np.maximum(unusual - high, 0) / spread
        below = np.maximum(low - unusual, 0) / spread
        rank = (position + above / (1 + above) - below / (1 + below) + 1) / (n + 1)
        result: Doubles = np.maximum(1.0 - rank, LEAST_P)
        return result

    def score(self, distance: Floats, margin: Floats, origin: Ints) -> tuple[Floats, Floats]:
        """As `Odds.score`, each row by the odds of its origin (n,)."""
        p = self.p_unknown(self.unusual(distance, margin, origin), origin)
        log_odds = np.logaddexp(margin.astype(np.float64) - self.shift[origin], self.log_pi[origin] - np.log(p))
        surprise = np.logaddexp(0.0, log_odds)
        return (surprise / (1 + surprise)).astype(np.float32), -np.log10(p).astype(np.float32)


def _in_units(view: Floats, unit: Doubles) -> Doubles:
    centre, scale = unit
    result: Doubles = np.clip((view.astype(np.float64) - centre) / scale, 0.0, CEILING)
    return result


def _first(rows: Doubles | Floats) -> Ints:
    """Of each row that its origin is the only one."""
    return np.zeros(len(rows), np.int64)


def _unit(pair: Any) -> tuple[float, float]:
    centre, scale = (float(number) for number in pair)
    return centre, scale


def _thinned(ascending: Doubles) -> tuple[Doubles, Doubles]:
    """Retained values and their positions: the most unusual ones, and 2 % steps of rank below them."""
    values, first = np.unique(ascending, return_index=True)
    middle = (first + np.append(first[1:], len(ascending)) - 1) / 2
    retained = len(values) - retained_ranks(len(values))[::-1]
    return values[retained], middle[retained]
