"""What a scored flow is called: an attack's or fault's name where it is known to be one, else unknown, else normal."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.contracts.class_names import NORMAL, UNKNOWN
from pipeline.contracts.preconditions import Preconditions

Mask = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int32]
Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Likeliest:
    """What the classifier finds n rows likest to.

    Attributes
    ----------
    names : classes' names, of all models that scored the rows
    index : (n,) into names
    benign : (n,) whether that class is harmless traffic
    known : (n,) whether the row lies where the model knows that class
    suspect : (n,)
    """

    names: Sequence[str]
    index: Ints
    benign: Mask
    known: Mask
    suspect: Mask


@dataclass(frozen=True, slots=True)
class Names:
    """What n rows are called.

    Attributes
    ----------
    vocabulary : names that rows may have
    index, nearest : (n,) into the vocabulary: what a row is called, and what it is nearest to
    unknown : (n,) whether what it is nearest to is said
    """

    vocabulary: pa.Array
    index: Ints
    nearest: Ints
    unknown: Mask

    def columns(self, here: slice) -> tuple[pa.Array, pa.Array]:
        """`class` and `nearest_class` of some of the rows: their bytes do not depend on the other rows."""
        nearest = pa.array(self.nearest[here], mask=~self.unknown[here])
        return self.vocabulary.take(pa.array(self.index[here])), self.vocabulary.take(nearest)


def no_names() -> Names:
    """Of no rows."""
    none = np.zeros(0, np.int32)
    return Names(pa.array([], pa.string()), none, none, np.zeros(0, np.bool_))


def names_of(
    batches: Sequence[pa.RecordBatch],
    matrix: Matrix,
    likeliest: Likeliest,
    features: Sequence[str],
    preconditions: Preconditions,
) -> Names:
    """Names of batches of n rows in all, with their features (n, F).

    A row is named by its likeliest class where the model knows that class there and no field of the row contradicts it
    (preconditions.toml). Else a suspect is unknown, and what it is nearest to stands beside it; all others are normal.
    """
    named = likeliest.known & ~likeliest.benign
    if named.any():
        rows = pa.Table.from_batches([batch.replace_schema_metadata(None) for batch in batches])
        for number in np.unique(likeliest.index[named]):
            at = np.flatnonzero(named & (likeliest.index == number))
            named[at] = ~preconditions.contradicted(likeliest.names[number], rows, matrix, features, at)
    unknown = likeliest.suspect & ~named
    count = len(likeliest.names)
    names = pa.array([*likeliest.names, NORMAL, UNKNOWN], pa.string())
    nearest = np.where(likeliest.benign, count, likeliest.index)
    chosen = np.where(named, likeliest.index, np.where(unknown, count + 1, count))
    return Names(names, chosen.astype(np.int32), nearest.astype(np.int32), unknown)
