"""From what libraries and networks give to a prediction: every class has its column, every score is finite."""

import numpy as np
import numpy.typing as npt

from models.errors import RefusedModel
from models.lab.detectors.detector import Prediction, TrainingSet
from models.rows import Floats, Ints

LEAST_CHANCE = 1e-12
Numbers = npt.NDArray[np.floating]


def from_logits(logits: Numbers) -> Prediction:
    """(n, K) unnormalised log-probabilities → softmax, and the log-odds of any attack.

    Log-odds still separate records whose probabilities have all become 1.
    """
    exact = np.nan_to_num(logits.astype(np.float64), nan=0.0, posinf=1e6, neginf=-1e6)
    exact = exact - exact.max(axis=1, keepdims=True)
    probability = np.exp(exact)
    probability /= probability.sum(axis=1, keepdims=True)
    score = np.logaddexp.reduce(exact[:, 1:], axis=1) - exact[:, 0]
    return Prediction(score.astype(np.float32), probability.astype(np.float32))


def from_margin(margin: Numbers) -> Prediction:
    """(n,) log-odds of an attack in a task of two classes."""
    return from_logits(np.column_stack([np.zeros(len(margin)), margin]))


def from_probability(probability: Numbers, seen: Ints, classes: int) -> Prediction:
    """(n, classes seen in training) probabilities → (n, K); the score is the chance of any attack."""
    every = np.zeros((len(probability), classes))
    every[:, seen] = probability
    every /= np.maximum(every.sum(axis=1, keepdims=True), LEAST_CHANCE)
    return Prediction(every[:, 1:].sum(axis=1).astype(np.float32), every.astype(np.float32))


def spread(logits: Numbers, seen: Ints, classes: int) -> Numbers:
    """(n, classes seen) → (n, K) logits; a class not seen in training is as good as impossible."""
    every = np.full((len(logits), classes), -1e4)
    every[:, seen] = logits
    return every


def of_several_classes(training: TrainingSet) -> Ints:
    """The class numbers that occur, ascending; RefusedModel where there is only one class."""
    seen: Ints = np.unique(training.y)
    if len(seen) < 2:
        names = [training.classes[number] for number in seen]
        raise RefusedModel(
            f"training records: got only {names or 'none'}, expected at least two classes; "
            "give labelled attacks, or choose a detector that learns normal records alone (mahalanobis, knn-normal)"
        )
    return seen


def normals(training: TrainingSet) -> Floats:
    """(m, F) the normal records; RefusedModel where there are fewer than two."""
    normal: Floats = training.matrix[training.y == 0]
    if len(normal) < 2:
        raise RefusedModel(
            f"training records: got {len(normal)} normal ones, expected at least 2 to learn what is usual"
        )
    return normal


def some(rows: int, most: int, seed: int) -> Ints:
    """Positions, ascending, of at most `most` of so many records, drawn without bias."""
    if rows <= most:
        return np.arange(rows, dtype=np.int64)
    return np.sort(np.random.default_rng(seed).permutation(rows)[:most]).astype(np.int64)


def stratified(y: Ints, most: int, least: int, seed: int) -> Ints:
    """Positions, ascending, of about `most` records: every class by its share, at least `least` where it has them."""
    if len(y) <= most:
        return np.arange(len(y), dtype=np.int64)
    chosen = []
    for number in np.unique(y):
        here = np.flatnonzero(y == number)
        chosen.append(here[some(len(here), max(round(most * len(here) / len(y)), least), seed + int(number))])
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def balanced_weight(y: Ints) -> npt.NDArray[np.float64]:
    """(n,) weights under which every class that occurs weighs the same; their mean is 1."""
    present, inverse, counts = np.unique(y, return_inverse=True, return_counts=True)
    weight: npt.NDArray[np.float64] = (len(y) / (len(present) * counts))[inverse]
    return weight
