"""Storage in a folder of this machine: temp file, fsync, then a name that no other file has."""

import hashlib
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa

from pipeline.errors import RefusedState
from pipeline.runtime.files import (
    create_exclusive,
    disk_full_as_failed,
    make_folder,
    sync_file,
    sync_folder,
    write_atomic,
)
from pipeline.runtime.storage.mapped_files import map_file
from pipeline.runtime.storage.storage import Entry, NameTaken, Sink, Step

if TYPE_CHECKING:
    import duckdb  # the writer does without it


class LocalFolder:
    """Storage (pipeline/runtime/storage/storage.py) in a folder."""

    errors: ClassVar[tuple[type[Exception], ...]] = (OSError,)

    at_once: ClassVar[int] = 8
    """What waits for the disk at the same time shares its journal's next write: 80 files take a tenth of the time."""

    def __init__(self, root: Path, what: str = "archive") -> None:
        self.root = root
        self.what = what
        self.uri = str(root)
        self._to_sync: set[Path] = set()
        """Folders in which a folder was made whose name is not durable yet."""

    def exists(self) -> bool:
        """Whether the folder is there."""
        return self.root.is_dir()

    def begin(self) -> None:
        """Make the folder."""
        with disk_full_as_failed(self.what, self.root):
            make_folder(self.root)

    def folders(self, below: str) -> list[str]:
        """Names of the folders directly in a folder."""
        try:
            return [entry.name for entry in os.scandir(self.root / below) if entry.is_dir()]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def names(self, below: str, after: str = "") -> Iterator[str]:
        """All files below a folder, whose names are greater than `after`."""
        for folder, _, files in os.walk(self.root / below, onerror=_unless_gone):
            inside = Path(folder).relative_to(self.root).as_posix()
            prefix = "" if inside == "." else f"{inside}/"
            yield from (path for name in files if (path := f"{prefix}{name}") > after)

    def entries(self, below: str) -> Iterator[Entry]:
        """The same files with their sizes and ages."""
        for name in self.names(below):
            try:
                status = (self.root / name).stat()
            except FileNotFoundError:
                continue
            yield Entry(name, status.st_size, status.st_mtime)

    def now_s(self, entries: Iterable[Entry]) -> float:
        """The clock of this machine."""
        return time.time()

    def has(self, name: str) -> bool:
        """Whether a file is there."""
        return (self.root / name).exists()

    def size(self, name: str) -> int:
        """Size of a file in bytes."""
        return (self.root / name).stat().st_size

    def written_s(self, name: str) -> float:
        """When a file was written."""
        return (self.root / name).stat().st_mtime

    def read(self, name: str) -> bytes:
        """A whole file."""
        return (self.root / name).read_bytes()

    def read_many(self, names: Iterable[str]) -> Iterator[bytes]:
        """Whole files, one after another."""
        return map(self.read, names)

    def open(self, name: str) -> pa.NativeFile:
        """A file to read parts of."""
        return pa.OSFile(str(self.root / name))

    def mapped(self, name: str) -> pa.Buffer:
        """A whole file, mapped."""
        with (self.root / name).open("rb") as file:
            return map_file(file.fileno())

    def sha256(self, name: str) -> str:
        """A whole file's digest."""
        with (self.root / name).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def create(self, name: str, data: bytes) -> bool:
        """Create a file whole and durable, or not at all."""
        with disk_full_as_failed(self.what, self.root):
            return create_exclusive(self.root / name, data)

    def replace(self, name: str, data: bytes | memoryview) -> None:
        """Write beside, make durable, then rename."""
        with disk_full_as_failed(self.what, self.root):
            write_atomic(self.root / name, data)

    def refresh(self, name: str) -> bool:
        """Set a file's modification time to now; False where it is not there."""
        try:
            os.utime(self.root / name)
        except OSError:
            return False
        return True

    @contextmanager
    def staged(self, staging: str) -> Iterator[Sink]:
        """A file of that name to write; one from before is replaced."""
        with disk_full_as_failed(self.what, self.root):
            target = self.root / staging
            make_folder(target.parent)
            target.unlink(missing_ok=True)
            try:
                with Sink(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)) as sink:
                    yield sink
            except BaseException:
                target.unlink(missing_ok=True)
                raise

    def place(self, staging: str, name: str, sha256: str, step: Step) -> None:
        """Link the staged file under the final name."""
        step("file written")
        with disk_full_as_failed(self.what, self.root):
            temp, final = self.root / staging, self.root / name
            self._to_sync |= {made.parent for made in make_folder(final.parent, durable=False)}
            link_if_absent(temp, final, sha256)
        step("file placed")

    def sync(self, names: Iterable[str]) -> None:
        """Make bytes and names durable, a folder once; some at a time, for they share the disk's next write."""
        files = [self.root / name for name in names]
        folders = {file.parent for file in files} | self._to_sync
        with disk_full_as_failed(self.what, self.root), ThreadPoolExecutor(self.at_once, "sync") as pool:
            list(pool.map(sync_file, files))
            list(pool.map(sync_folder, folders))
        self._to_sync.clear()

    @contextmanager
    def sink(self, name: str) -> Iterator[Sink]:
        """A file to write; one of this name from before is replaced."""
        with self.staged(name) as sink:
            yield sink
            sink.sync()
        sync_folder((self.root / name).parent)

    def delete(self, name: str) -> None:
        """Delete a file."""
        (self.root / name).unlink(missing_ok=True)

    def delete_folder(self, name: str) -> None:
        """Delete a folder with all that is in it."""
        shutil.rmtree(self.root / name, ignore_errors=True)

    def url(self, name: str) -> str:
        """The file's absolute path."""
        return str(self.root.resolve() / name)

    def register_duckdb(self, connection: "duckdb.DuckDBPyConnection") -> None:
        """Nothing to register: DuckDB reads paths."""

    # ---- what only a folder can do

    def set_aside(self, name: str, aside: str) -> None:
        """Move a file where no reader looks."""
        target = self.root / aside
        make_folder(target.parent)
        (self.root / name).rename(target)

    def put_back(self, aside: str, name: str) -> None:
        """Undo `set_aside`, unless somebody has written the file anew meanwhile."""
        if not (self.root / name).exists():
            (self.root / name).hardlink_to(self.root / aside)


def _unless_gone(error: OSError) -> None:
    """A folder that can't be read is not an empty one."""
    if not isinstance(error, FileNotFoundError):
        raise error


def link_if_absent(temp: Path, final: Path, sha256: str) -> None:
    """Give a written file its final name, which must be free, or hold the same bytes already.

    A name is never taken over: a writer that was declared dead and woke up cannot change a file that a manifest lists.
    It is durable once the caller has synced it and its folder, which is there.
    """
    try:
        final.hardlink_to(temp)
    except FileExistsError:
        with final.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != sha256:
            raise NameTaken(
                f"{final}: exists with other content; another writer is at work on this archive: stop it and start "
                "again"
            ) from None
    except FileNotFoundError:
        raise RefusedState(f"{temp}: gone; another writer has taken this partition over, this one stops") from None
    temp.unlink(missing_ok=True)
