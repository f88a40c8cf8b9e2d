"""How well records are named: per class, over all classes, and whether the stated confidence is right.

A truth of −1 is a class that training did not have: every prediction of such a row is wrong.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from models.rows import Ints, Mask
from models.training.measures.binary import Scores, at_threshold, share
from models.training.measures.intervals import wilson

BINS = 15
UNKNOWN = -1


def f1_by_class(truth: Ints, predicted: Ints, classes: tuple[str, ...]) -> dict[str, float]:
    """F1 of every class that occurs in the truth."""
    result = {}
    for number, name in enumerate(classes):
        true, claimed = truth == number, predicted == number
        if true.any():
            result[name] = float(2 * (true & claimed).sum() / (true.sum() + claimed.sum()))
    return result


def macro_f1(truth: Ints, predicted: Ints, classes: int) -> float:
    """Mean F1 over the classes that occur in the truth; NaN where none does."""
    scores = f1_by_class(truth, predicted, tuple(str(number) for number in range(classes)))
    return float(np.mean(list(scores.values()))) if scores else float("nan")


def correlation(confusion: npt.NDArray[np.int64]) -> float:
    """Matthews correlation of a (K, K) table of truth × prediction (Gorodkin 2004); 0 where either side is constant."""
    table = confusion.astype(object)  # Python integers: no overflow
    total = int(table.sum())
    true, predicted = table.sum(axis=1), table.sum(axis=0)
    covariance = total * int(np.trace(table)) - int(true @ predicted)
    scale = (total * total - int(true @ true)) * (total * total - int(predicted @ predicted))
    return float(covariance / scale**0.5) if scale else 0.0


def expected_calibration_error(confidence: Scores, right: Mask, bins: int = BINS) -> float:
    """Mean gap between stated confidence and share that was right, weighted by rows."""
    edge = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    gaps = [
        abs(float(confidence[edge == b].mean()) - float(right[edge == b].mean())) * int((edge == b).sum())
        for b in set(edge.tolist())
    ]
    return sum(gaps) / len(confidence)


def reliability(truth: Ints, probability: Scores) -> dict[str, Any]:
    """Bins of [mean confidence, share right, rows], expected calibration error and Brier score; None of no rows.

    The Brier score is the squared distance between probabilities and truth, halved for two classes (as
    scikit-learn does); a class that training did not have counts as one the model gave probability 0.
    """
    if not len(truth):
        return {"bins": [], "ece": None, "brier": None}
    confidence = probability.max(axis=1).astype(np.float64)
    right = probability.argmax(axis=1) == truth
    edge = np.clip((confidence * BINS).astype(np.int64), 0, BINS - 1)
    bins = [
        [float(confidence[edge == b].mean()), float(right[edge == b].mean()), int((edge == b).sum())]
        for b in sorted(set(edge.tolist()))
    ]
    known = np.flatnonzero(truth != UNKNOWN)
    distance = np.square(probability.astype(np.float64)).sum(axis=1) + 1
    distance[known] -= 2 * probability[known, truth[known]]
    halves = 2 if probability.shape[1] == 2 else 1
    return {
        "bins": bins,
        "ece": expected_calibration_error(confidence, right),
        "brier": float(distance.mean()) / halves,
    }


def figures(truth: Ints, probability: Scores, classes: tuple[str, ...], attack: Mask) -> dict[str, Any]:
    """All figures of the most probable class, plain JSON.

    Parameters
    ----------
    truth : (n,) class numbers; −1 is a class unknown in training
    probability : (n, K), finite; column 0 is normal
    attack : (n,) which rows are not normal, for the figures of "not called normal" as an alarm

    Confusion is K rows of truth × K columns of predictions, with one more row at the end where a truth is −1.
    Recall and F1 are None for a class that does not occur. ValueError where shapes do not agree.
    """
    if probability.shape != (len(truth), len(classes)) or not np.isfinite(probability).all():
        raise ValueError(
            f"probability: got {probability.shape} for {len(truth)} rows and {len(classes)} classes, or a value that "
            "is not finite; expected one finite column per class"
        )
    k = len(classes)
    predicted = probability.argmax(axis=1)
    row = np.where(truth == UNKNOWN, k, truth)
    confusion = np.bincount(row * (k + 1) + predicted, minlength=(k + 1) ** 2).reshape(k + 1, k + 1)
    right, of = np.diag(confusion)[:k], confusion.sum(axis=1)[:k]
    f1 = f1_by_class(truth, predicted, classes)
    macro = float(np.mean(list(f1.values()))) if f1 else None
    return {
        "acc": share(int(right.sum()), len(truth)),
        "macro_f1": macro,
        "mcc": correlation(confusion),
        "recall": {
            name: {
                "recall": share(int(hit), int(n)),
                **dict(zip(("low", "high"), wilson(int(hit), int(n)), strict=True)),
                "n": int(n),
            }
            for name, hit, n in zip(classes, right, of, strict=True)
        },
        "f1": {name: f1.get(name) for name in classes},
        "confusion": confusion[: k + bool(confusion[k].any()), :k].tolist(),
        "reliability": reliability(truth, probability),
        "binary": at_threshold((predicted != 0).astype(np.float64), attack, 0.5),
    }
