"""Detectors together: LightGBM three times, and with closeness to normal traffic, which errs differently."""

from dataclasses import dataclass, replace

import numpy as np

from models.lab.detectors.detector import Detector, Family, Fitted, Prediction, Size, TrainingSet
from models.lab.detectors.neighbours import REFERENCES, MahalanobisDistance, NearNormal
from models.lab.detectors.predictions import of_several_classes
from models.lab.detectors.ranks import rank
from models.lab.detectors.trees import LightGbm
from models.rows import Doubles, Floats

HELD_OUT_EVERY = 5  # one training record in so many is scored by members fitted without it; ranks are taken among these


@dataclass(frozen=True, slots=True)
class FittedAverage:
    """The same detector, fitted with several seeds."""

    members: tuple[Fitted, ...]

    def predict(self, matrix: Floats) -> Prediction:
        """Means of scores and of probabilities."""
        predictions = [member.predict(matrix) for member in self.members]
        named = [prediction.probability for prediction in predictions if prediction.probability is not None]
        score: Doubles = np.stack([prediction.score for prediction in predictions]).mean(axis=0, dtype=np.float64)
        return Prediction(score.astype(np.float32), np.stack(named).mean(axis=0) if named else None)

    def size(self) -> Size:
        """All of them."""
        return together(self.members)


@dataclass(frozen=True, slots=True)
class Average:
    """A detector fitted several times, with seeds that no other seed of the same protocol uses."""

    detector: Detector
    times: int = 3

    def fit(self, training: TrainingSet, seed: int) -> FittedAverage:
        """Learn from prepared records (n, F)."""
        return FittedAverage(tuple(self.detector.fit(training, seed * self.times + i) for i in range(self.times)))


def together(members: tuple[Fitted, ...]) -> Size:
    """Sizes added up; no count of numbers where one of them has none."""
    sizes = [member.size() for member in members]
    known = [size.parameters for size in sizes if size.parameters is not None]
    return Size(sum(known) if len(known) == len(sizes) else None, sum(size.stored_bytes for size in sizes))


@dataclass(frozen=True, slots=True)
class FittedFusion:
    """Fitted members, each with ascending scores of training records it was not fitted to."""

    members: tuple[Fitted, ...]
    scales: tuple[Doubles, ...]

    def predict(self, matrix: Floats) -> Prediction:
        """Mean of the ranks that the scores would have had among training records, 0 to 1."""
        ranks = [
            rank(member.predict(matrix).score.astype(np.float64), scale)
            for member, scale in zip(self.members, self.scales, strict=True)
        ]
        return Prediction(np.mean(ranks, axis=0).astype(np.float32), None)

    def size(self) -> Size:
        """The members and the scales of their ranks."""
        members = together(self.members)
        return Size(members.parameters, members.stored_bytes + sum(4 * len(scale) for scale in self.scales))


@dataclass(frozen=True, slots=True)
class RankSum:
    """Ranks of several detectors, added."""

    members: tuple[Detector, ...]

    def fit(self, training: TrainingSet, seed: int) -> FittedFusion:
        """Scales by members fitted to four fifths of the records, then the members that stay, fitted to all."""
        of_several_classes(training)
        held_out = np.random.default_rng(seed).permutation(len(training.y)) % HELD_OUT_EVERY == 0
        part = replace(
            training,
            matrix=training.matrix[~held_out],
            y=training.y[~held_out],
            attack=training.attack[~held_out],
            family=training.family[~held_out],
        )
        early = [member.fit(part, seed) for member in self.members]
        scales = [np.sort(member.predict(training.matrix[held_out]).score.astype(np.float64)) for member in early]
        return FittedFusion(tuple(member.fit(training, seed) for member in self.members), tuple(scales))


LIGHTGBM_3 = Average(LightGbm(rounds=150))
LIGHTGBM_AVERAGE = Family("lightgbm-3", "LightGBM × 3", (LIGHTGBM_3,), runs=1, seeds=5)
LIGHTGBM_MAHALANOBIS = Family(
    "lightgbm+mahalanobis",
    "LightGBM × 3 + Mahalanobis ranks",
    tuple(RankSum((LIGHTGBM_3, MahalanobisDistance(shrinkage))) for shrinkage in (0.01, 0.05, 0.2)),
    multiclass=False,
    runs=1,
)
LIGHTGBM_KNN_NORMAL = Family(
    "lightgbm+knn-normal",
    "LightGBM × 3 + k-NN ranks",
    tuple(RankSum((LIGHTGBM_3, NearNormal(k))) for k in (5, 1, 20)),
    multiclass=False,
    reduction=f"{REFERENCES:,} normal references",
    runs=1,
)
