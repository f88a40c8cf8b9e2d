"""What the archive, state, models and samples need of their storage, and what its kinds share.

Everybody else knows files by their names below it, with `/` between folders.
"""

import hashlib
import io
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

import pyarrow as pa

from pipeline.errors import RefusedState

if TYPE_CHECKING:
    import duckdb  # the writer does without it

BUFFER_BYTES = 1024 * 1024
WRITE_BYTES = 128 * 1024
"""The page cache holds together what one write brings, and who maps the file and looks at a byte takes all of that into
memory: 994 KiB on average of what was written 1 MiB at a time (Linux 6.18, ext4)."""

Step = Callable[[str], None]
"""Called with the name of each step once it is done: where tests make a writer die."""


def no_step(_name: str) -> None:
    """The step of a writer outside of tests: does nothing."""


class Sink(io.RawIOBase):
    """An open file that knows the SHA-256 of what was written to it; closes the handle it was given."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self.digest = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        """Whether it can be written to: always."""
        return True

    def tell(self) -> int:
        """Bytes written so far."""
        return self.size

    def write(self, data: object) -> int:
        """Write all of it; what a buffer still holds of an abandoned file is dropped."""
        view = memoryview(data).cast("B")  # type: ignore[arg-type]
        if self.closed:
            return len(view)
        self.digest.update(view)
        self.size += len(view)
        left = view
        while len(left):
            left = left[os.write(self._handle, left[:WRITE_BYTES]) :]
        return len(view)

    def sync(self) -> None:
        """Make the bytes durable."""
        os.fsync(self._handle)

    def close(self) -> None:
        """Close the file."""
        if not self.closed:
            os.close(self._handle)
        super().close()


@contextmanager
def buffered(sink: Sink) -> Iterator[pa.NativeFile]:
    """The sink as a file for what writes many small parts; all of it is in the sink when the context ends."""
    file = pa.BufferedOutputStream(pa.PythonFile(sink, "w"), BUFFER_BYTES)
    yield file
    file.flush()


class NameTaken(RefusedState):
    """A data file's name is taken by other content."""


class Entry(NamedTuple):
    """A file: its name, its bytes, and when it was written, in seconds since the epoch by the storage's clock."""

    name: str
    size: int
    written_s: float


class Storage(Protocol):
    """What the archive, state, models and samples need of their storage.

    A name that is not there raises FileNotFoundError; a full disk, no access and no answer raise Failed or
    Misconfigured with what to do.
    """

    uri: str
    at_once: ClassVar[int]
    """How many requests at a time are faster than one after another."""
    errors: ClassVar[tuple[type[Exception], ...]]
    """What reading an opened file may raise."""

    def exists(self) -> bool:
        """Whether there is an archive, or a folder for one."""

    def begin(self) -> None:
        """Make the folder, where there are folders."""

    def folders(self, below: str) -> list[str]:
        """Names of the folders directly in a folder; none where it is not there."""

    def names(self, below: str, after: str = "") -> Iterator[str]:
        """All files below a folder, in any order, whose names are greater than `after`; none where it is not there, an
        error where it can't be read.
        """

    def entries(self, below: str) -> Iterator[Entry]:
        """The same files with their sizes and ages; one that goes meanwhile is left out."""

    def now_s(self, entries: Iterable[Entry]) -> float:
        """The storage's clock, or a time before it, as these entries show it: what is old by it is old."""

    def has(self, name: str) -> bool:
        """Whether a file is there."""

    def size(self, name: str) -> int:
        """Size of a file in bytes."""

    def written_s(self, name: str) -> float:
        """When a file was written, seconds since the epoch by the storage's clock."""

    def read(self, name: str) -> bytes:
        """A whole file."""

    def read_many(self, names: Iterable[str]) -> Iterator[bytes]:
        """Whole files, in order; several at a time where asking takes longer than reading."""

    def open(self, name: str) -> pa.NativeFile:
        """A file to read parts of."""

    def mapped(self, name: str) -> pa.Buffer:
        """A whole file in the page cache's memory, not the process's."""

    def sha256(self, name: str) -> str:
        """A whole file's digest, in hex."""

    def create(self, name: str, data: bytes) -> bool:
        """Create a file whole and durable, or not at all; False where the name is taken."""

    def replace(self, name: str, data: bytes | memoryview) -> None:
        """Write a file whole and durable, and replace one that has the name."""

    def refresh(self, name: str) -> bool:
        """Make a file as young as one just written; False where it has to be written again for that."""

    def staged(self, staging: str) -> AbstractContextManager[Sink]:
        """A data file to write, which may lie at `staging` until it is placed; it is gone where the context fails."""

    def place(self, staging: str, name: str, sha256: str, step: Step) -> None:
        """Give a staged file its name, which must be free, or hold the same bytes already: else NameTaken, and the file
        may be placed under another.

        A name is never taken over: a writer that was declared dead and woke up cannot change a file that a manifest
        lists. Steps: `file written`, `file placed`. Bytes and name are durable after `sync`.
        """

    def sync(self, names: Iterable[str]) -> None:
        """Make placed files durable: their bytes and their names."""

    def sink(self, name: str) -> AbstractContextManager[Sink]:
        """A file to write; it is whole and durable when the context ends, and gone where that fails."""

    def delete(self, name: str) -> None:
        """Delete a file; nothing happens where it is gone already."""

    def delete_folder(self, name: str) -> None:
        """Delete a folder with all that is in it."""

    def url(self, name: str) -> str:
        """The URL by which DuckDB reads a file."""

    def register_duckdb(self, connection: "duckdb.DuckDBPyConnection") -> None:
        """Register with DuckDB what it needs to read `url`s."""
