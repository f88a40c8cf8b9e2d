"""What a model says of rows, and how it comes from z, logits and distances: the same for every engine on the CPU."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np

from models.igan.scoring import RowScores
from models.igan.views import class_probability
from models.rows import Floats, Ints, Mask
from models.serving.model import Model


@dataclass(frozen=True, slots=True)
class Scored:
    """What the model says of n rows.

    Attributes
    ----------
    score : (n,) float32 in [0, 1), how unlike normal
    class_index : (n,) int64 into the model's classes, the likeliest; 0 for every benign one
    probability : (n,) float32, calibrated, of the likeliest class
    known : (n,) bool, the likeliest class is no benign one, and the row lies where the model knows it
    novelty : (n,) float32, -log10 of the share of the origin's quiet flows at least so unusual
    p_value : (n,) float32, share of the site's presumed-normal flows at least this unusual
    suspect : (n,) bool, p_value at or below the site's alert level
    """

    score: Floats
    class_index: Ints
    probability: Floats
    known: Mask
    novelty: Floats
    p_value: Floats
    suspect: Mask

    @classmethod
    def empty(cls, rows: int) -> "Scored":
        """Of so many rows, nothing yet."""
        score, novelty, p_value, probability = np.empty((4, rows), dtype=np.float32)
        class_index = np.zeros(rows, dtype=np.int64)
        known, suspect = np.zeros((2, rows), dtype=np.bool_)
        return cls(score, class_index, probability, known, novelty, p_value, suspect)

    def put(self, here: slice | Ints, part: "Scored") -> None:
        """Set some of the rows."""
        for field in fields(self):
            getattr(self, field.name)[here] = getattr(part, field.name)


def named(model: Model, rows: RowScores) -> tuple[Ints, Floats, Mask]:
    """Likeliest class (n,), its probability (n,), and whether the row lies where it is known (n,)."""
    probability = class_probability(rows.logits, rows.likeliest, model.document["temperature"])
    class_index = np.where(rows.likeliest < model.config.benign, 0, rows.likeliest)
    known: Mask = class_index > 0
    known[known] = model.known.known(rows.z[known], probability[known], class_index[known])
    return class_index, probability, known


def scored_of(model: Model, alert_level: Floats, rows: RowScores) -> Scored:
    """What a model says of n rows, by their scores and the alert levels of their calibrations (n,)."""
    class_index, probability, known = named(model, rows)
    suspect = rows.p_value <= alert_level
    return Scored(rows.score, class_index, probability, known, rows.novelty, rows.p_value, suspect)


def scored_by_key(
    score: Callable[[Floats, str], Scored], keys: Sequence[str], rows: Floats, calibration: Ints
) -> Scored:
    """Raw rows (n, F) through an engine that takes those of one calibration at a time.

    keys : (s,) the calibrations
    calibration : (n,) which of them each row is measured by
    """
    numbers = np.unique(calibration).tolist()
    if len(numbers) == 1:
        return score(rows, keys[numbers[0]])  # where they lie: a CUDA device reads pinned memory without a copy
    out = Scored.empty(len(rows))
    for number in numbers:
        here = np.flatnonzero(calibration == number)
        out.put(here, score(rows[here], keys[number]))
    return out
