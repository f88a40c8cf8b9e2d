"""From a table's columns to the matrix every detector gets: constants from training records only."""

from dataclasses import dataclass

import numpy as np

from models.errors import RefusedModel
from models.lab.tables.table import Column, Unlabelled
from models.rows import Doubles, Floats

CLIP = 6.0
HEAVY = 20.0  # a number is heavy-tailed if its 99.9th percentile is this many times its median, both counted from 1
LEAST_DEVIATION = 1e-6
MOST = 1e30  # beyond it a square would overflow


@dataclass(frozen=True, slots=True)
class Prepared:
    """The preprocessing all detectors share: log1p of heavy tails, z-score, clip ±6, one-hot with an `unknown` bucket.

    Attributes
    ----------
    columns : of the training table; a table with others is refused
    names : (F,) of the matrix's columns
    known : per category column, the codes that occurred in training, ascending
    """

    columns: tuple[Column, ...]
    names: tuple[str, ...]
    log: tuple[bool, ...]
    mean: Doubles
    deviation: Doubles
    known: tuple[tuple[int, ...], ...]

    @classmethod
    def fit(cls, train: Unlabelled) -> "Prepared":
        """Constants from training records, which are all this function is given."""
        scalar = [index for index, column in enumerate(train.columns) if column.kind != "category"]
        numbers = train.values[:, scalar]
        log = tuple(train.columns[index].kind == "number" and heavy_tailed(train.values[:, index]) for index in scalar)
        scaled = _compress(numbers, log)
        there = np.isfinite(scaled)
        count = np.maximum(there.sum(axis=0), 1)
        mean = np.where(there, scaled, 0.0).sum(axis=0) / count
        deviation = np.sqrt((np.where(there, scaled - mean, 0.0) ** 2).sum(axis=0) / count)
        deviation = np.where(deviation < LEAST_DEVIATION, 1.0, deviation)  # a constant says nothing; a departure does
        categories = [index for index, column in enumerate(train.columns) if column.kind == "category"]
        known = tuple(
            tuple(int(code) for code in np.unique(train.values[:, index]) if code >= 0) for index in categories
        )
        names = [train.columns[index].name for index in scalar]
        for index, codes in zip(categories, known, strict=True):
            column = train.columns[index]
            names += [f"{column.name}={column.vocabulary[code]}" for code in codes] + [f"{column.name}=unknown"]
        return cls(train.columns, tuple(names), log, mean, deviation, known)

    def matrix(self, records: Unlabelled) -> Floats:
        """(n, C) values → (n, F) float32; a missing number counts as the usual value, a new category as unknown."""
        if [(each.name, each.kind) for each in records.columns] != [(each.name, each.kind) for each in self.columns]:
            raise RefusedModel(
                f"columns: got {[each.name for each in records.columns]}, expected "
                f"{[each.name for each in self.columns]} as in training; give a table with the same columns"
            )
        scalar = [index for index, column in enumerate(self.columns) if column.kind != "category"]
        z = (_compress(records.values[:, scalar], self.log) - self.mean) / self.deviation
        parts = [np.clip(np.nan_to_num(z, nan=0.0), -CLIP, CLIP)]
        categories = [index for index, column in enumerate(self.columns) if column.kind == "category"]
        for index, codes in zip(categories, self.known, strict=True):
            # The same word may stand at another position in another table's vocabulary: compare words.
            words = {word: code for code, word in enumerate(records.columns[index].vocabulary)}
            here = [words.get(self.columns[index].vocabulary[code], -2) for code in codes]
            hot = records.values[:, index, None] == np.array(here, dtype=np.float64)
            parts += [hot.astype(np.float64), ~hot.any(axis=1, keepdims=True) * 1.0]
        return np.ascontiguousarray(np.concatenate(parts, axis=1), dtype=np.float32)


def heavy_tailed(values: Doubles) -> bool:
    """Whether a number's large values dwarf its usual ones, by training records alone."""
    finite = np.minimum(np.abs(values[np.isfinite(values)]), MOST)
    if not len(finite):
        return False
    middle, top = np.quantile(finite, [0.5, 0.999])
    return bool((1 + top) / (1 + middle) > HEAVY)


def _compress(numbers: Doubles, log: tuple[bool, ...]) -> Doubles:
    finite = np.where(np.isfinite(numbers), np.clip(numbers, -MOST, MOST), np.nan)
    result: Doubles = np.where(np.array(log, dtype=bool), np.sign(finite) * np.log1p(np.abs(finite)), finite)
    return result
