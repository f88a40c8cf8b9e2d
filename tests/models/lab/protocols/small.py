"""A small labelled table and a detector that remembers all it was given."""

from dataclasses import dataclass, field

import numpy as np

from models.lab.detectors.detector import Family, Prediction, Size, TrainingSet
from models.lab.tables.table import Column, Table, one_by_one
from models.rows import Doubles, Floats

COLUMNS = (
    Column("bytes", "number"),
    Column("urgent", "flag"),
    Column("service", "category", ("dns", "http", "modbus")),
    Column("record", "number"),
)


def table(n: int = 400, seed: int = 0, name: str = "small", first: int = 0) -> Table:
    """Normals about 100 bytes, scans about 10, a few floods of 100,000; `record` numbers the records."""
    random = np.random.default_rng(seed)
    label = random.choice(["normal", "scan", "flood"], n, p=[0.7, 0.25, 0.05])
    centre = np.select([label == "normal", label == "scan"], [100.0, 10.0], 100_000.0)
    values = np.column_stack(
        [
            centre * random.lognormal(0, 0.3, n),
            (label == "scan") * (random.random(n) < 0.5) * 1.0,
            random.integers(0, 3, n).astype(np.float64),
            np.arange(first, first + n, dtype=np.float64),
        ]
    )
    family = np.where(label == "flood", "dos", np.where(label == "scan", "probe", "normal"))
    return Table(name, COLUMNS, values, label.astype(np.str_), family.astype(np.str_), one_by_one(n))


@dataclass(frozen=True)
class Remembering:
    """Learns a centre of normals; keeps every training set and every matrix it was asked about."""

    power: float = 1.0
    training_sets: list[TrainingSet] = field(default_factory=list, compare=False)
    asked: list[Floats] = field(default_factory=list, compare=False)

    def fit(self, training_set: TrainingSet, seed: int) -> "Remembered":
        self.training_sets.append(training_set)
        centre: Doubles = training_set.matrix[training_set.y == 0].mean(axis=0).astype(np.float64)
        return Remembered(self, centre, len(training_set.classes))


@dataclass(frozen=True)
class Remembered:
    detector: Remembering
    centre: Doubles
    classes: int

    def predict(self, matrix: Floats) -> Prediction:
        self.detector.asked.append(matrix)
        score = np.abs(matrix[:, 0] - self.centre[0]).astype(np.float32) ** np.float32(self.detector.power)
        far = 1 / (1 + np.exp(1 - score))
        rest = np.repeat(((far) / (self.classes - 1))[:, None], self.classes - 1, axis=1)
        return Prediction(score, np.column_stack([1 - far, rest]).astype(np.float32))

    def size(self) -> Size:
        return Size(len(self.centre), 8 * len(self.centre))


def family(*candidates: Remembering, multiclass: bool = True) -> Family:
    return Family("remembering", "Remembering", candidates or (Remembering(),), multiclass)
