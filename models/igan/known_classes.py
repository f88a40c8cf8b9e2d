"""Where each attack or fault class is known: near rows it was learnt from, and with a probability that proved right.

A classifier names one of its classes whatever it is shown. What lies far from everything a class was learnt from is not
known to be of that class, however sure the classifier is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from models.rows import Floats, Ints, Mask

MAX_PROTOTYPES = 32  # of a class: nearer than 64 bring (within the noise), at half the time
CENTRE = "known.centre"
CHUNK = 16  # columns between two looks at whether a row is too far already


@dataclass(frozen=True, slots=True)
class KnownClasses:
    """Prototypes of every class, and how near and how probable a row must be.

    Attributes
    ----------
    centre : (P, F) float32, prototypes in preprocessed features, those of class 0 first
    first : (K + 1,) int64, class k has centre[first[k]:first[k + 1]]; a class without prototypes is known nowhere
    radius : (K,) float32, the distance from the nearest prototype within which a class is known
    probability : (K,) float32, the calibrated probability it must have
    """

    centre: Floats
    first: Ints
    radius: Floats
    probability: Floats

    def __post_init__(self) -> None:
        count = np.diff(self.first)
        whole = len(self.first) == len(self.radius) + 1 == len(self.probability) + 1 and self.centre.ndim == 2
        if not whole or self.first[0] != 0 or self.first[-1] != len(self.centre) or (count < 0).any():
            raise ValueError(
                f"known classes: got {self.centre.shape} prototypes for {count.tolist()}, radii {len(self.radius)} and "
                f"probabilities {len(self.probability)}, expected one each a class, and as many prototypes as are said"
            )
        if int(count.max(initial=0)) > MAX_PROTOTYPES:
            raise ValueError(f"known classes: got {count.max()} prototypes of a class, expected {MAX_PROTOTYPES}")
        if not ((self.radius >= 0).all() and ((self.probability >= 0) & (self.probability <= 1)).all()):
            raise ValueError("known classes: got a negative radius, or a probability beyond 0 to 1")

    def known(self, z: Floats, probability: Floats, class_index: Ints) -> Mask:
        """(n,) whether each row lies where its class is known.

        Parameters
        ----------
        z : (n, F) float32 preprocessed features
        probability : (n,) calibrated probability of the row's class
        class_index : (n,) the class of each row
        """
        sure: Mask = probability >= self.probability[class_index]
        _leave_near(
            np.ascontiguousarray(z, np.float32),
            np.ascontiguousarray(class_index, np.int64),
            self.centre,
            self.first,
            np.square(self.radius),
            sure,
        )
        return sure

    def distance(self, z: Floats, number: int) -> Floats:
        """(n,) distance of rows z (n, F) from the nearest prototype of one class; infinite where it has none."""
        centre = self.centre[self.first[number] : self.first[number + 1]]
        return nearest(z, centre)

    def document(self, classes: Sequence[str]) -> dict[str, Any]:
        """As plain JSON values by class; prototypes are among the weights."""
        return {
            name: {
                "prototypes": int(self.first[number + 1] - self.first[number]),
                "radius": float(self.radius[number]),
                "probability": float(self.probability[number]),
            }
            for number, name in enumerate(classes)
        }

    @property
    def tensors(self) -> dict[str, Floats]:
        """The prototypes, by name, for weights.safetensors."""
        return {CENTRE: self.centre}

    @classmethod
    def from_document(
        cls, document: Mapping[str, Any], tensors: Mapping[str, Floats], classes: Sequence[str]
    ) -> "KnownClasses":
        """From a manifest's `known` and its weights; ValueError or KeyError where they do not fit the classes."""
        if set(document) != set(classes):
            raise ValueError(f"known classes: got {sorted(document)}, expected {sorted(classes)}")
        entries = [document[name] for name in classes]
        return cls(
            np.ascontiguousarray(tensors[CENTRE], np.float32),
            np.concatenate([[0], np.cumsum([int(entry["prototypes"]) for entry in entries])]).astype(np.int64),
            np.array([float(entry["radius"]) for entry in entries], np.float32),
            np.array([float(entry["probability"]) for entry in entries], np.float32),
        )


def nearest(z: Floats, centre: Floats) -> Floats:
    """(n, F) rows, (p, F) prototypes → (n,) distance from the nearest one; infinite where there is none."""
    if not len(centre):
        return np.full(len(z), np.inf, np.float32)
    least = np.full(len(z), np.inf)
    for prototype in centre:
        np.minimum(least, np.square(z - prototype, dtype=np.float64).sum(axis=1), out=least)
    result: Floats = np.sqrt(least).astype(np.float32)
    return result


# Sums of a chunk may be taken in vectors: a row's terms are the same whatever rows stand beside it, so are its bits.
@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _leave_near(z: Floats, class_index: Ints, centre: Floats, first: Ints, square: Floats, known: Mask) -> None:
    """Of the rows in `known`, leave those with a prototype of their class within its radius (`square` of it)."""
    width = z.shape[1]
    chunks = width // CHUNK
    for row in range(len(z)):
        if not known[row]:
            continue
        number = class_index[row]
        limit = square[number]
        known[row] = False
        for prototype in range(first[number], first[number + 1]):
            total = np.float32(0.0)
            for chunk in range(chunks):
                start = chunk * CHUNK
                for column in range(CHUNK):
                    moved = z[row, start + column] - centre[prototype, start + column]
                    total += moved * moved
                if total > limit:
                    break
            else:
                for column in range(chunks * CHUNK, width):
                    moved = z[row, column] - centre[prototype, column]
                    total += moved * moved
            if total <= limit:
                known[row] = True
                break
