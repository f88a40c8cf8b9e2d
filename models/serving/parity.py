"""How far an engine's scores are from the kernel's, on vectors that a model brings along, and how far they may be."""

from dataclasses import dataclass

import numpy as np

from models.errors import RefusedModel
from models.rows import Floats
from models.serving.engine import Engine
from models.serving.kernel_engine import KernelEngine
from models.serving.model import Model
from models.serving.scored import Scored

CHECKED_ROWS = 256


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What two engines may differ by.

    Attributes
    ----------
    most : of scores, of 19 rows in 20
    largest : of any score. A bin that is hardly wider than rounding makes a step of it: logarithms that differ in their
        last bit may fall on either side
    flips : the share of rows of which one engine says suspect, or another class, and the other does not
    """

    most: float = 1e-4
    largest: float = 1e-2
    flips: float = 0.01


EXACT = Tolerance()
REDUCED = Tolerance(most=2e-3, largest=2e-2, flips=0.005)  # three layers in half precision


@dataclass(frozen=True, slots=True)
class Difference:
    """What two engines differ by: as `Tolerance`, and the rows compared."""

    most: float
    largest: float
    flips: float
    rows: int

    def within(self, tolerance: Tolerance) -> bool:
        """Whether it is nowhere more than a tolerance; a difference that is no number is."""
        return self.most <= tolerance.most and self.largest <= tolerance.largest and self.flips <= tolerance.flips


def usual_range(model: Model) -> tuple[Floats, Floats]:
    """The ends of the training's usual range, of each feature: (F,), (F,)."""
    low, high = (np.array(model.document["baseline"][name], np.float32) for name in ("q01", "q99"))
    return low, high


def golden_rows(model: Model) -> Floats:
    """Rows between the ends of the training's usual range, beyond them, huge, infinite, and no numbers: (m, F)."""
    random = np.random.default_rng(0)
    low, high = usual_range(model)
    share = random.random((CHECKED_ROWS, len(low)), dtype=np.float32)
    rows = low + share * (high - low)
    rows[::4] = low + np.round(share[::4]) * (high - low)
    rows[1::4] += random.normal(size=rows[1::4].shape).astype(np.float32) * (np.abs(high) + 1)
    for number, value in enumerate((np.nan, np.inf, -np.inf, 3e38, -3e38, 0.0)):
        rows[number] = value
        rows[8 + number, number % len(low)] = value
    return rows.astype(np.float32)


def apart(got: Floats, wanted: Floats) -> tuple[float, float]:
    """What scores of the same rows (n,), 0 < n, differ by: of 19 rows in 20, and of any."""
    by = np.sort(np.abs(got - wanted))
    return float(by[int(0.95 * len(by))]), float(by[-1])


def difference(got: Scored, wanted: Scored) -> Difference:
    """What two engines' scores of the same rows differ by, one row at least."""
    most, largest = apart(got.score, wanted.score)
    flips = (got.suspect != wanted.suspect) | (got.class_index != wanted.class_index) | (got.known != wanted.known)
    return Difference(most, largest, float(flips.mean()), len(flips))


def measured(engine: Engine, model: Model) -> Difference:
    """How far an engine is from the kernel, on the model's golden rows by each of its calibrations."""
    rows, kernel = golden_rows(model), KernelEngine(model)
    parts = [difference(engine.score(rows, key), kernel.score(rows, key)) for key in model.origins]
    return Difference(
        max(part.most for part in parts),
        max(part.largest for part in parts),
        max(part.flips for part in parts),
        sum(part.rows for part in parts),
    )


def require_parity(engine: Engine, model: Model, tolerance: Tolerance, name: str) -> Difference:
    """RefusedModel where an engine is further from the kernel than it may be; how far it is."""
    found = measured(engine, model)
    if not found.within(tolerance):
        raise RefusedModel(
            f"engine {name}, model {model.id}: got scores that differ from the kernel's by {found.most:.2g} in 19 rows "
            f"of 20 and {found.largest:.2g} at most, {found.flips:.2%} of rows with another verdict, expected "
            f"{tolerance.most:g}, {tolerance.largest:g} and {tolerance.flips:.2%}; choose an engine in single precision"
        )
    return found
