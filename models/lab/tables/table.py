"""A labelled table of records: what the protocols of the evaluation split, prepare and hand to detectors."""

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from models.rows import Doubles, Ints, Mask, Strings

NORMAL = "normal"


@dataclass(frozen=True, slots=True)
class Column:
    """One column: a number, a flag (0 or 1), or a category whose values are positions in `vocabulary`."""

    name: str
    kind: Literal["number", "flag", "category"]
    vocabulary: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unlabelled:
    """Records without anything that says what they are: all that scoring may see.

    Attributes
    ----------
    values : (n, C) float64; NaN where a number is missing, a vocabulary's position where the column is a category
    """

    columns: tuple[Column, ...]
    values: Doubles

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True, slots=True)
class Table:
    """Labelled records, one entry a record in every array.

    Attributes
    ----------
    values : (n, C) float64, as in Unlabelled
    label : (n,) name of the attack, or `normal`
    family : (n,) class of the multi-class task (for NSL-KDD: normal, dos, probe, r2l, u2r)
    group : (n,) what must stay on one side of a split (a capture, a time block); all different where nothing must
    time_us : (n,) event time, or empty where the set has none
    """

    name: str
    columns: tuple[Column, ...]
    values: Doubles
    label: Strings
    family: Strings
    group: Ints
    time_us: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.values)

    @property
    def attack(self) -> Mask:
        """(n,) which records are not normal."""
        result: Mask = self.label != NORMAL
        return result

    def take(self, chosen: Mask | Ints, name: str | None = None) -> "Table":
        """The records a mask or an index array chooses."""
        return replace(
            self,
            name=name or self.name,
            values=self.values[chosen],
            label=self.label[chosen],
            family=self.family[chosen],
            group=self.group[chosen],
            time_us=self.time_us[chosen] if len(self.time_us) else self.time_us,
        )

    def unlabelled(self) -> Unlabelled:
        """The same records without labels, groups or times."""
        return Unlabelled(self.columns, self.values)


def one_by_one(n: int) -> Ints:
    """Groups of one record each: nothing has to stay together."""
    return np.arange(n, dtype=np.int64)


def first_of_each(table: Table) -> Ints:
    """Positions, ascending, of the first record of every distinct (values, label)."""
    _, code = np.unique(table.label, return_inverse=True)
    whole = np.ascontiguousarray(np.column_stack([table.values, code.astype(np.float64)]))
    whole[np.isnan(whole)] = np.inf  # NaN differs from itself; a missing value does not
    rows = whole.view([("", whole.dtype)] * whole.shape[1]).ravel()
    _, first = np.unique(rows, return_index=True)
    result: Ints = np.sort(first)
    return result


def not_in(table: Table, other: Table) -> Mask:
    """(n,) records of `table` whose values occur in no record of `other`, whatever the labels."""
    both = np.ascontiguousarray(np.concatenate([other.values, table.values]))
    both[np.isnan(both)] = np.inf
    rows = both.view([("", both.dtype)] * both.shape[1]).ravel()
    _, inverse = np.unique(rows, return_inverse=True)
    result: Mask = ~np.isin(inverse[len(other) :], inverse[: len(other)])
    return result
