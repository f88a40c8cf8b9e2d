"""Prepared records of a few clusters: normal traffic around the middle, every attack somewhere else."""

from dataclasses import replace

import numpy as np

from models.lab.detectors.detector import TrainingSet

FEATURES = 12
CLASSES = ("normal", "dos", "probe", "r2l")
SHIFT = {0: slice(0, 0), 1: slice(0, 4), 2: slice(3, 7), 3: slice(6, 10)}  # columns that are higher in an attack


def records(count: int, seed: int, absent: int | None = None) -> TrainingSet:
    """About `count` records of four classes, six in ten of them normal; `absent` is a class without any."""
    random = np.random.default_rng(seed)
    y = random.choice(4, size=count, p=[0.6, 0.2, 0.15, 0.05])
    if absent is not None:
        y = np.where(y == absent, 1, y)
    matrix = random.normal(size=(count, FEATURES))
    for number, columns in SHIFT.items():
        matrix[y == number, columns] += 3.0
    matrix[:, -2:] = np.eye(2)[(matrix[:, 0] > 0.5).astype(np.int64)]
    names = tuple(f"f{number}" for number in range(FEATURES))
    y = y.astype(np.int64)
    return TrainingSet(np.clip(matrix, -6, 6).astype(np.float32), y, CLASSES, y, y, names)


def two_classes(training: TrainingSet) -> TrainingSet:
    """The same, as normal and attack."""
    return replace(training, y=(training.y > 0).astype(np.int64), classes=("normal", "attack"))
