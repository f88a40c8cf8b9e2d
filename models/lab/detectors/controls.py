"""Detectors that must fail: if they do well, the records or the protocol give something away."""

from dataclasses import dataclass, replace

import numpy as np

from models.lab.detectors.detector import Detector, Family, Fitted, Prediction, Size, TrainingSet
from models.lab.detectors.predictions import from_probability, of_several_classes
from models.lab.detectors.trees import FittedTrees, LightGbm
from models.rows import Doubles, Floats


@dataclass(frozen=True, slots=True)
class FittedMajority:
    """(K,) shares of the classes in training."""

    share: Doubles

    def predict(self, matrix: Floats) -> Prediction:
        """The same of every record."""
        same = np.repeat(self.share[None, :], len(matrix), axis=0)
        return from_probability(same, np.arange(len(self.share)), len(self.share))

    def size(self) -> Size:
        """A share a class."""
        return Size(len(self.share), self.share.nbytes)


@dataclass(frozen=True, slots=True)
class Majority:
    """Says of every record what most training records were."""

    def fit(self, training: TrainingSet, seed: int) -> FittedMajority:
        """Count the classes."""
        counts = np.bincount(training.y, minlength=len(training.classes))
        return FittedMajority(counts / max(len(training.y), 1))


@dataclass(frozen=True, slots=True)
class Stump:
    """One threshold on one feature, the one that divides the training classes best (Gini)."""

    def fit(self, training: TrainingSet, seed: int) -> FittedTrees:
        """Learn from prepared records (n, F)."""
        from sklearn.tree import DecisionTreeClassifier

        seen = of_several_classes(training)
        stump = DecisionTreeClassifier(max_depth=1, random_state=seed).fit(training.matrix, training.y)
        return FittedTrees(stump, seen, len(training.classes))


@dataclass(frozen=True, slots=True)
class ShuffledLabels:
    """A detector taught with labels dealt out at random: it can only know the classes' shares."""

    detector: Detector

    def fit(self, training: TrainingSet, seed: int) -> Fitted:
        """Deal the labels out, then let the detector learn."""
        order = np.random.default_rng(seed).permutation(len(training.y))
        dealt = replace(training, y=training.y[order], attack=training.attack[order], family=training.family[order])
        return self.detector.fit(dealt, seed)


MAJORITY = Family("majority", "Majority class", (Majority(),))
STUMP = Family("stump", "One-feature stump", (Stump(),))
SHUFFLED_LABELS = Family("shuffled-labels", "LightGBM, labels shuffled", (ShuffledLabels(LightGbm()),))
