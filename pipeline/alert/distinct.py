"""What many rows share, found once: a flood has many flows and few values."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
MOST_CODES = 1 << 62


class Coded(NamedTuple):
    """A column of n rows by its distinct values. codes: (n,) index of each row's in `values`."""

    codes: Ints
    values: Sequence[Any]

    def at(self, row: int) -> Any:
        """The value of a row."""
        return self.values[int(self.codes[row])]

    def of(self, rows: Ints) -> list[Any]:
        """The values of these rows."""
        return [self.values[code] for code in self.codes[rows].tolist()]

    def where(self, chosen: Flags) -> "Coded":
        """The column of the rows that are chosen."""
        return Coded(self.codes[chosen], self.values)


class Parts(NamedTuple):
    """What n rows of several incidents have in common: the m distinct values within each of these parts of the rows.

    The rows of a part lie one behind the other, and so do its values, in the order in which they appear. number: (n,)
    which value each row has. first: (m,) the row where each appears first. flows: (m) how many rows have it. starts:
    (parts + 1) where the values of each part begin.
    """

    number: Ints
    first: Ints
    flows: list[int]
    starts: list[int]

    def of(self, part: int) -> slice:
        """Where the values of a part lie."""
        return slice(self.starts[part], self.starts[part + 1])


def coded(column: pa.Array) -> Coded:
    """A column by its distinct values, in the order in which they appear; a null is the value None."""
    found = column.dictionary_encode(null_encoding="encode")
    return Coded(found.indices.to_numpy().astype(np.int64), found.dictionary.to_pylist())


def of_distinct(values: pa.Array, result_of: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """(n,) what `result_of` makes of each value, asked once for each distinct one; null where the value is null."""
    encoded = values.dictionary_encode()
    return result_of(encoded.dictionary).take(encoded.indices)


def combinations(columns: Sequence[Coded]) -> tuple[Ints, Ints]:
    """(n,) which distinct combination of values each row has, and (k,) the row where each appears first.

    They are numbered in the order in which they appear.

        columns  a  a  b  a     number  0  1  2  0     first  0  1  2
                 1  2  1  1
    """
    codes, count = columns[0].codes, len(columns[0].values)
    for column in columns[1:]:
        if count * len(column.values) > MOST_CODES:
            codes, count = _numbered(codes)
        codes, count = codes * len(column.values) + column.codes, count * len(column.values)
    number, count = _numbered(codes)
    first = np.empty(count, np.int64)
    first[number[::-1]] = np.arange(len(number) - 1, -1, -1)  # of several the last that is written stays
    return number, first


def _numbered(codes: Ints) -> tuple[Ints, int]:
    """(n,) the codes numbered from 0 as they appear, and how many there are."""
    encoded = pa.array(codes).dictionary_encode()
    return encoded.indices.to_numpy().astype(np.int64), len(encoded.dictionary)


def within(part: Coded, columns: Sequence[Coded]) -> Parts:
    """The distinct combinations of values within each part of the rows; the codes of `part` are ascending."""
    number, first = combinations([part, *columns])
    starts = np.searchsorted(part.codes[first], np.arange(len(part.values) + 1)).tolist()
    return Parts(number, first, np.bincount(number, minlength=len(first)).tolist(), starts)


def keys_within(part: Coded, columns: Sequence[Coded], separator: str) -> tuple[list[str], Parts]:
    """The rows' values as one text each: (m) the distinct texts within each part of the rows, and where they are."""
    found = within(part, columns)
    texts = list(map(separator.join, zip(*(map(str, column.of(found.first)) for column in columns), strict=True)))
    if len(set(texts)) == len(texts):
        return texts, found
    numbers: dict[tuple[int, str], int] = {}
    same = [numbers.setdefault(key, len(numbers)) for key in zip(part.of(found.first), texts, strict=True)]
    if len(numbers) == len(texts):
        return texts, found
    # Two combinations made one text.
    joined = Coded(np.asarray(same, np.int64)[found.number], range(len(numbers)))
    return [text for _, text in numbers], within(part, [joined])
