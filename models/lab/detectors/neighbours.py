"""Nearest neighbours among labelled records, and distances to normal records: neighbours' and Mahalanobis'."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from models.lab.detectors.detector import Family, Prediction, Size, TrainingSet
from models.lab.detectors.predictions import from_probability, normals, of_several_classes, some, stratified
from models.rows import Doubles, Floats, Ints

REFERENCES = 20_000
LEAST_OF_CLASS = 100  # records of a rare class that stay among the references
CLOSE = 1e-3  # nearer counts as this near, so that no neighbour weighs without bound


@dataclass(frozen=True, slots=True)
class FittedNeighbours:
    """References and their classes."""

    search: Any
    y: Ints
    classes: int
    bytes_stored: int

    def predict(self, matrix: Floats) -> Prediction:
        """Neighbours vote by class, a nearer one with more weight."""
        distance, near = self.search.kneighbors(matrix)
        weight = 1 / np.maximum(distance, CLOSE)
        votes = np.stack([(weight * (self.y[near] == number)).sum(axis=1) for number in range(self.classes)], axis=1)
        return from_probability(votes, np.arange(self.classes), self.classes)

    def size(self) -> Size:
        """The references themselves; nothing is learnt."""
        return Size(None, self.bytes_stored)


@dataclass(frozen=True, slots=True)
class Neighbours:
    """k nearest of 20,000 references drawn by class; Euclidean, weighted by 1/distance."""

    k: int = 5
    references: int = REFERENCES

    def fit(self, training: TrainingSet, seed: int) -> FittedNeighbours:
        """Learn from prepared records (n, F)."""
        of_several_classes(training)
        chosen = stratified(training.y, self.references, LEAST_OF_CLASS, seed)
        matrix = training.matrix[chosen]
        return FittedNeighbours(
            _search(matrix, self.k), training.y[chosen], len(training.classes), matrix.nbytes + len(chosen)
        )


@dataclass(frozen=True, slots=True)
class FittedNearNormal:
    """Normal references."""

    search: Any
    bytes_stored: int

    def predict(self, matrix: Floats) -> Prediction:
        """Mean distance to the k nearest normal records."""
        distance, _ = self.search.kneighbors(matrix)
        return Prediction(distance.mean(axis=1).astype(np.float32), None)

    def size(self) -> Size:
        """The references themselves; nothing is learnt."""
        return Size(None, self.bytes_stored)


@dataclass(frozen=True, slots=True)
class NearNormal:
    """Mean distance to the k nearest of 20,000 normal training records."""

    k: int = 5
    references: int = REFERENCES

    def fit(self, training: TrainingSet, seed: int) -> FittedNearNormal:
        """Learn from the normal ones of prepared records (n, F)."""
        normal = normals(training)
        normal = normal[some(len(normal), self.references, seed)]
        return FittedNearNormal(_search(normal, self.k), normal.nbytes)


def _search(matrix: Floats, k: int) -> Any:
    from sklearn.neighbors import NearestNeighbors

    return NearestNeighbors(n_neighbors=min(k, len(matrix)), algorithm="brute", n_jobs=1).fit(matrix)


@dataclass(frozen=True, slots=True)
class FittedMahalanobis:
    """Centre (F,) and whitening (F, F) of normal records."""

    centre: Doubles
    whitening: Doubles

    def predict(self, matrix: Floats) -> Prediction:
        """Distance to the centre in the normal records' own deviations, a feature's share of it."""
        white = (matrix.astype(np.float64) - self.centre) @ self.whitening.T
        return Prediction(np.sqrt(np.square(white).mean(axis=1)).astype(np.float32), None)

    def size(self) -> Size:
        """Centre and half of the symmetric covariance; stored in 32 bits."""
        features = len(self.centre)
        numbers = features + features * (features + 1) // 2
        return Size(numbers, 4 * numbers)


@dataclass(frozen=True, slots=True)
class MahalanobisDistance:
    """Distance to normal records' centre; the covariance is shrunk towards the identity."""

    shrinkage: float = 0.01

    def fit(self, training: TrainingSet, seed: int) -> FittedMahalanobis:
        """Learn from the normal ones of prepared records (n, F); there is nothing random in it."""
        normal = normals(training).astype(np.float64)
        covariance = np.atleast_2d(np.cov(normal, rowvar=False))
        identity = np.eye(len(covariance))
        lower = np.linalg.cholesky((1 - self.shrinkage) * covariance + self.shrinkage * identity)
        return FittedMahalanobis(normal.mean(axis=0), np.linalg.solve(lower, identity))


KNN = Family(
    "knn",
    "k-NN",
    (Neighbours(), Neighbours(1), Neighbours(15)),
    reduction=f"{REFERENCES:,} references drawn by class",
)
KNN_NORMAL = Family(
    "knn-normal",
    "k-NN to normals",
    (NearNormal(), NearNormal(1), NearNormal(20)),
    multiclass=False,
    reduction=f"{REFERENCES:,} normal references",
    runs=1,
)
MAHALANOBIS = Family(
    "mahalanobis",
    "Mahalanobis to normals",
    (MahalanobisDistance(), MahalanobisDistance(0.05), MahalanobisDistance(0.2)),
    multiclass=False,
)
