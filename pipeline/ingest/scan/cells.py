"""Records as cells: where each wanted value stands in the bytes, and what kind of value it is.

Every format is first cut into cells by a compiled scanner; everything after that is the same for all formats.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
Kinds = npt.NDArray[np.uint8]

# Kinds of a cell. BARE is a field of a delimited line; the others are JSON's.
ABSENT, BARE, NUMBER, STRING, ESCAPED, TRUE, FALSE, OBJECT, ARRAY, NULL = range(10)


class LocalClock(NamedTuple):
    """How the times of n records are written: in which zone, and when each record's message was sent.

    Without `sent_us` of a local time that comes twice the later one counts.
    """

    zone: str
    sent_us: Ints | None  # (n,)

    def of(self, rows: npt.NDArray[np.bool_]) -> "LocalClock":
        """The clock of the chosen records."""
        return self if self.sent_us is None else LocalClock(self.zone, self.sent_us[rows])


class Cells(NamedTuple):
    """n records cut into C wanted columns; `starts` and `ends` are byte offsets in `text`."""

    text: Bytes
    record_starts: Ints  # (n,)
    record_ends: Ints  # (n,)
    starts: Ints  # (C, n)
    ends: Ints  # (C, n)
    kinds: Kinds  # (C, n)
    problem: Kinds  # (n,) index into REASONS, 0 where the record could be cut
    clock: LocalClock | None = None  # how times without an offset are written; None: in UTC

    @property
    def rows(self) -> int:
        """Number of records."""
        return len(self.record_starts)

    def of(self, rows: npt.NDArray[np.bool_]) -> "Cells":
        """The chosen records alone."""
        return Cells(
            self.text,
            self.record_starts[rows],
            self.record_ends[rows],
            self.starts[:, rows],
            self.ends[:, rows],
            self.kinds[:, rows],
            self.problem[rows],
            None if self.clock is None else self.clock.of(rows),
        )

    def bytes_of(self, column: int, row: int) -> bytes:
        """The bytes of one cell, for a message to people."""
        return self.text[self.starts[column, row] : self.ends[column, row]].tobytes()


def blank_cells(text: Bytes, record_starts: Ints, record_ends: Ints, columns: int) -> Cells:
    """Cells without any value yet."""
    shape = (columns, len(record_starts))
    return Cells(
        text,
        record_starts,
        record_ends,
        np.zeros(shape, np.int64),
        np.zeros(shape, np.int64),
        np.zeros(shape, np.uint8),
        np.zeros(len(record_starts), np.uint8),
    )
