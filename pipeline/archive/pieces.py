"""Rows of open files as they came: spans of the batches they came in, and several spans joined.

A view of a span costs 24 µs, and joining it with others 43, however few rows it has, for there are 90 columns; a row
copied by its number costs .5. Where many sensors share a batch their spans are a row or two each.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import pyarrow as pa

ROWS_A_VIEW = 512
"""A view of a span costs as much as so many rows of which a column each is put in one piece, to copy some by number."""
JOINED_ROWS = 16_384
"""So many rows are joined at a time: 13 MB."""


Counted = TypeVar("Counted")


class Piece(NamedTuple):
    """Rows `start` to `stop` of a batch, and the number of the segment on disk that holds them (None: only memory)."""

    batch: pa.RecordBatch
    start: int
    stop: int
    segment: int | None

    @classmethod
    def of(cls, rows: pa.RecordBatch, segment: int | None) -> "Piece":
        """All of these rows."""
        return cls(rows, 0, len(rows), segment)

    @property
    def size(self) -> int:
        """How many rows it has."""
        return self.stop - self.start

    @property
    def is_scrap(self) -> bool:
        """Whether it is a small part of a batch in memory."""
        return self.segment is None and self.size < ROWS_A_VIEW and self.size * 8 <= len(self.batch)

    @property
    def rows(self) -> pa.RecordBatch:
        """A view of them."""
        return self.batch.slice(self.start, self.size)


def joined(pieces: Sequence[Piece], schema: pa.Schema, file_of: Sequence[int] | None = None) -> pa.RecordBatch:
    """The rows of pieces of this schema, one behind the other, in one batch; there is a row at least.

    file_of: the file that each piece is of, ascending; the rows of one come in raw order then, whatever its pieces.

    By number, where the pieces are many for the rows of their batches; numbers count the batches' rows through:

        batches   |0 . 2|3 4 .|     pieces  3 4, 0, 2     rows  3 4 0 2
    """
    batches = {id(piece.batch): piece.batch for piece in pieces}
    first_of, rows = dict[int, int](), 0
    for name, batch in batches.items():
        first_of[name], rows = rows, rows + len(batch)
    sizes = np.array([piece.size for piece in pieces])
    at = np.arange(sizes.sum())
    if rows > ROWS_A_VIEW * len(pieces):
        table = pa.Table.from_batches([piece.rows for piece in pieces], schema)
        taken = file_of is not None
    else:
        firsts = np.array([first_of[id(piece.batch)] + piece.start for piece in pieces])
        at += np.repeat(firsts - (np.cumsum(sizes) - sizes), sizes)
        table, taken = pa.Table.from_batches(batches.values(), schema), True
    if file_of is not None:
        offset, index = (table.column(name).to_numpy()[at] for name in ("raw_offset", "raw_index"))
        at = at[np.lexsort((index, offset, np.repeat(file_of, sizes)))]
    [batch] = (table.take(pa.array(at)) if taken else table).combine_chunks().to_batches()
    return batch


def parted(of: Iterable[Counted], rows: Callable[[Counted], int], most: int = JOINED_ROWS) -> Iterator[list[Counted]]:
    """What has rows, in order, in lists of at most so many rows, or of one."""
    part: list[Counted] = []
    left = most
    for each in of:
        if part and left < rows(each):
            yield part
            part, left = [], most
        part.append(each)
        left -= rows(each)
    if part:
        yield part
