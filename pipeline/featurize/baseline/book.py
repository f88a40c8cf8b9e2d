"""Addresses in words: the tables hold keys, and people read names."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.featurize.baseline.keys import OUTSIDE, FlowRelations
from pipeline.featurize.baseline.relations import SOURCE, TARGET, Relations

MOST_NAMES = 512
"""9 kB saved with addresses of IPv4."""
CROWDED = 384
"""Names from which on those are dropped that no relation needs any more."""
NOT_NOTED = np.uint64(1)
"""The key of every address that found no room."""
OUTSIDE_WORDS = "any public address"
UNKNOWN_WORDS = "an address not noted"

Book = dict[int, str]


def remember(book: Book, rows: npt.NDArray[np.int64], flow: FlowRelations, src: pa.Array, dst: pa.Array) -> None:
    """Note the addresses of these rows of a batch, in their order, as far as there is room."""
    if not len(rows) or len(book) >= MOST_NAMES:
        return
    keys = np.column_stack((flow.src[rows], flow.dst[rows])).ravel()
    distinct, first = np.unique(keys, return_index=True)
    for key, at in sorted(zip(distinct.tolist(), first.tolist(), strict=True), key=lambda pair: pair[1]):
        if key in book or key == int(OUTSIDE) or len(book) >= MOST_NAMES:
            continue
        column = src if at % 2 == 0 else dst
        book[key] = column[int(rows[at // 2])].as_py()


def forget_unnamed(book: Book, relations: Relations) -> None:
    """Make one of all ends without a name, as a saved baseline does: what a block says must not depend on a restore."""
    ends = relations.ends[:, [SOURCE, TARGET]]
    named = np.isin(ends, np.array([0, int(OUTSIDE), *book], np.uint64))
    relations.ends[:, [SOURCE, TARGET]] = np.where(named, ends, NOT_NOTED)


def tidy(book: Book, relations: Relations) -> None:
    """Drop the names that no relation needs, where it gets crowded."""
    if len(book) < CROWDED:
        return
    needed = set(relations.ends[:, [SOURCE, TARGET]].ravel().tolist())
    for key in [key for key in book if key not in needed]:
        del book[key]


def name_of(book: Book, key: int) -> str:
    """An address in words."""
    return OUTSIDE_WORDS if key == int(OUTSIDE) else book.get(key, UNKNOWN_WORDS)
