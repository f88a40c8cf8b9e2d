"""What many rows share, found once: a flood has many flows and few values."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

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
        coded = column.dictionary_encode(null_encoding="encode")
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
