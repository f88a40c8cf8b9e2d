"""More records of rare classes, copied, interpolated (SMOTE) or made by a conditional GAN, in front of LightGBM."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch

from models.lab.detectors.descent import seeded
from models.lab.detectors.detector import Family, Fitted, TrainingSet
from models.lab.detectors.gan import train_gan
from models.lab.detectors.predictions import of_several_classes, some
from models.lab.detectors.trees import LightGbm
from models.rows import Floats, Ints

NEIGHBOURS = 5  # of SMOTE; a class with no more records than that is copied instead
SEARCHED = 5_000  # records of a class among which SMOTE looks for neighbours

Method = Literal["cgan", "smote", "random"]


def missing(y: Ints, classes: int, share: float) -> dict[int, int]:
    """Class → how many records it lacks to the share of the largest class; with two classes, to be level with it."""
    counts = np.bincount(y, minlength=classes)
    target = int(counts.max() * (share if classes > 2 else 1.0))
    return {number: int(target - count) for number, count in enumerate(counts) if 0 < count < target}


def copied(matrix: Floats, extra: int, seed: int) -> Floats:
    """(extra, F) of a class's records (n, F), drawn with replacement."""
    from imblearn.over_sampling import RandomOverSampler

    return _resampled(RandomOverSampler(sampling_strategy={1: len(matrix) + extra}, random_state=seed), matrix)


def interpolated(matrix: Floats, extra: int, seed: int) -> Floats:
    """(extra, F) between a class's records (n, F) and their neighbours, by SMOTE."""
    from imblearn.over_sampling import SMOTE

    if len(matrix) <= NEIGHBOURS:
        return copied(matrix, extra, seed)
    among = matrix[some(len(matrix), SEARCHED, seed)]
    sampler = SMOTE(sampling_strategy={1: len(among) + extra}, k_neighbors=NEIGHBOURS, random_state=seed)
    return _resampled(sampler, among)


def _resampled(sampler: object, matrix: Floats) -> Floats:
    """What the sampler adds to one class; the library wants to see a second, larger one."""
    other = np.zeros((1, matrix.shape[1]), dtype=np.float32)
    both, y = np.concatenate([other, matrix]), np.append(0, np.ones(len(matrix), dtype=np.int64))
    more, _ = sampler.fit_resample(both, y)  # type: ignore[attr-defined]
    result: Floats = np.asarray(more[len(both) :], dtype=np.float32)
    return result


def invented(training: TrainingSet, lacking: dict[int, int], steps: int, seed: int) -> list[Floats]:
    """Records of each class that lacks some, by a conditional GAN of all classes, put where records can be.

    A column that has two values in training gets the nearer one, any other stays within training's range.
    """
    low, high = training.matrix.min(axis=0), training.matrix.max(axis=0)
    two = ((training.matrix == low) | (training.matrix == high)).all(axis=0)
    with seeded(seed) as random:
        generator, _ = train_gan(
            torch.from_numpy(training.matrix),
            torch.from_numpy(training.y),
            len(training.classes),
            steps,
            random,
        )
        made = [generator.draw(torch.full((extra,), number), random).numpy() for number, extra in lacking.items()]
    nearer = [np.where(fake > (low + high) / 2, high, low) for fake in made]
    return [
        np.where(two, snapped, np.clip(fake, low, high)).astype(np.float32)
        for fake, snapped in zip(made, nearer, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class Oversampled:
    """Rare classes brought to a share of the largest, then unweighted LightGBM: the same one behind every method."""

    method: Method
    share: float = 0.25
    steps: int = 1000

    def fit(self, training: TrainingSet, seed: int) -> Fitted:
        """Learn from prepared records (n, F) and those added to them."""
        of_several_classes(training)
        lacking = missing(training.y, len(training.classes), self.share)
        if self.method == "cgan":
            added = invented(training, lacking, self.steps, seed) if lacking else []
        else:
            more = copied if self.method == "random" else interpolated
            added = [more(training.matrix[training.y == number], extra, seed) for number, extra in lacking.items()]
        y = [np.full(len(rows), number, dtype=np.int64) for rows, number in zip(added, lacking, strict=True)]
        unknown = np.zeros(sum(map(len, y)), dtype=np.int64)  # which attack an added record is; nothing here asks
        larger = replace(
            training,
            matrix=np.concatenate([training.matrix, *added]),
            y=np.concatenate([training.y, *y]),
            attack=np.concatenate([training.attack, unknown]),
            family=np.concatenate([training.family, unknown]),
        )
        return LightGbm(balanced=False).fit(larger, seed)


def _candidates(method: Method) -> tuple[Oversampled, ...]:
    return Oversampled(method), Oversampled(method, 0.1), Oversampled(method, 0.5)


CGAN = Family("cgan-oversampling", "Conditional GAN + LightGBM", _candidates("cgan"), runs=1, seeds=3)
SMOTE_FAMILY = Family(
    "smote",
    "SMOTE + LightGBM",
    _candidates("smote"),
    reduction=f"neighbours among {SEARCHED:,} records of a class",
    runs=1,
    seeds=3,
)
RANDOM = Family("random-oversampling", "Random oversampling + LightGBM", _candidates("random"), runs=1, seeds=3)
