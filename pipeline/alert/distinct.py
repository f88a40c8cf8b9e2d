"""What many rows share, found once: a flood has many flows and few values."""

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Ints = npt.NDArray[np.int64]


class Keys(NamedTuple):
    """The distinct keys of n rows, in the order in which they appear.

    names: (k,) strings. number: (n,) which of them each row has. first: (k,) the row where each appears first.
    """

    names: pa.Array
    number: Ints
    first: Ints


class Parts(NamedTuple):
    """What n rows of several incidents have in common: the m distinct values within each of these parts of the rows.

    The rows of a part lie one behind the other, and so do its values, in the order in which they appear. number: (n,)
    which value each row has. first: (m,) the row where each appears first. flows: (m,) how many rows have it. starts:
    (parts + 1) where the values of each part begin.
    """

    number: Ints
    first: Ints
    flows: Ints
    starts: list[int]

    def of(self, part: int) -> slice:
        """Where the values of a part lie."""
        return slice(self.starts[part], self.starts[part + 1])


def of_distinct(values: pa.Array, result_of: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """(n,) what `result_of` makes of each value, asked once for each distinct one; null where the value is null."""
    coded = values.dictionary_encode()
    return result_of(coded.dictionary).take(coded.indices)


def combinations(columns: Sequence[pa.Array]) -> tuple[Ints, Ints]:
    """(n,) which distinct combination of values each row has, and (k,) the row where each appears first.

    They are numbered in the order in which they appear. Nulls are equal.

        columns  a  a  b  a     number  0  1  2  0     first  0  1  2
                 1  2  1  1
    """
    rows = len(columns[0])
    number, count = np.zeros(rows, np.int64), min(rows, 1)
    for column in columns:
        codes = column.indices if isinstance(column, pa.DictionaryArray) else column
        coded = codes.dictionary_encode(null_encoding="encode")
        if len(coded.dictionary) > 1:
            if count > 1:
                both = number * len(coded.dictionary) + coded.indices.to_numpy()
                coded = pa.array(both).dictionary_encode()
            number, count = coded.indices.to_numpy().astype(np.int64), len(coded.dictionary)
    first = np.empty(count, np.int64)
    first[number[::-1]] = np.arange(rows - 1, -1, -1)  # of several the last that is written stays
    return number, first


def keys_of(columns: Sequence[pa.Array], separator: str, missing: str) -> Keys:
    """The rows' values as one text each, `missing` for a null; only the distinct ones are written."""
    number, first = combinations(columns)
    texts = [column.take(pa.array(first)).cast(pa.string()) for column in columns]
    joined = pc.binary_join_element_wise(*texts, separator, null_handling="replace", null_replacement=missing)
    coded = joined.dictionary_encode()  # two combinations may make one text
    code = coded.indices.to_numpy().astype(np.int64)
    if len(coded.dictionary) == len(first):
        return Keys(coded.dictionary, number, first)
    return Keys(coded.dictionary, code[number], first[np.unique(code, return_index=True)[1]])


def within(part: Ints, parts: int, columns: Sequence[pa.Array]) -> Parts:
    """The distinct combinations of values within each part of the rows; `part`: (n,) the part of each, ascending."""
    number, first = combinations([pa.array(part), *columns])
    starts = np.searchsorted(part[first], np.arange(parts + 1)).tolist()
    return Parts(number, first, np.bincount(number, minlength=len(first)), starts)


def keys_within(
    part: Ints, parts: int, columns: Sequence[pa.Array], separator: str, missing: str
) -> tuple[pa.Array, Parts]:
    """The distinct keys within each part of the rows: (m,) texts as in `keys_of`, and where they are."""
    keys = keys_of(columns, separator, missing)
    found = within(part, parts, [pa.array(keys.number)])
    return keys.names.take(pa.array(keys.number[found.first])), found


def fitting(names: pa.Array, known: Collection[Any], most: int) -> Ints:
    """Indices of the names that are known, and of as many others as still fit beside them, in the order of the names.

    A flood ends here: of its names only those that fit become objects.
    """
    free = max(0, most - len(known))
    if len(names) <= free:
        return np.arange(len(names))
    is_known = pc.is_in(names, value_set=pa.array(list(known), names.type)).to_numpy(zero_copy_only=False)
    return np.union1d(np.flatnonzero(is_known), np.flatnonzero(~is_known)[:free])
