"""What a detector is to the protocols: it learns from a training set and predicts records it has not seen."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from models.rows import Floats, Ints

BUDGET = 3  # candidate settings a family may bring; the first is its default


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """All that a detector may learn from: training records, prepared by constants of these very records.

    Attributes
    ----------
    matrix : (n, F) float32
    y : (n,) class numbers of the task; 0 is normal
    classes : names of the task's classes, normal first
    attack : (n,) number of the attack's name, 0 for normal: finer than `y`
    family : (n,) number of the attack's family, 0 for normal: to leave families out of training
    names : (F,) of the matrix's columns
    """

    matrix: Floats
    y: Ints
    classes: tuple[str, ...]
    attack: Ints
    family: Ints
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Prediction:
    """A detector's prediction for records.

    Attributes
    ----------
    score : (n,) float64-comparable, higher the less normal
    probability : (n, K) of the task's classes, or None where the detector only scores how unusual a record is
    """

    score: Floats
    probability: Floats | None


@dataclass(frozen=True, slots=True)
class Size:
    """How big a fitted detector is: numbers it learnt (None where that has no meaning), bytes it takes stored."""

    parameters: int | None
    stored_bytes: int


class Fitted(Protocol):
    """A detector that has learnt."""

    def predict(self, matrix: Floats) -> Prediction:
        """(n, F) records → its prediction of them."""
        ...

    def size(self) -> Size:
        """The size of the fitted detector."""
        ...


class Detector(Protocol):
    """A detector with its settings, still to learn."""

    def fit(self, training: TrainingSet, seed: int) -> Fitted:
        """Learn; the same training set and seed give the same predictions on the same CPU type."""
        ...


@runtime_checkable
class Settling(Protocol):
    """A detector with settings that it chooses by itself on training records, once for all its fits to them."""

    def settle(self, training: TrainingSet, seed: int) -> tuple[Detector, dict[str, Any]]:
        """The detector with its settings chosen, and what was chosen as plain JSON values."""
        ...


@dataclass(frozen=True, slots=True)
class Family:
    """A kind of detector as the tables show it.

    Attributes
    ----------
    candidates : settings tried on training records before every fit, at most BUDGET; the first is the default
    multiclass : False for a detector that only scores how unusual a record is
    reduction : what was reduced so that it fits the time, marked in every table; empty where nothing was
    runs : how many of the ten runs of `nsl-kdd-cv` it takes part in
    seeds : how many seeds of the other protocols
    """

    name: str
    title: str
    candidates: tuple[Detector, ...]
    multiclass: bool = True
    reduction: str = ""
    runs: int = 10
    seeds: int = 10
