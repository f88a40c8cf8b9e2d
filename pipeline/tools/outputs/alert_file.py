"""A file that grows by a line an alert, each exactly once.

What is to be written is first put, with the position it moves to, into a small journal beside the file
(`FILE.position`, replaced in one step). Then it is written at the offset that the journal names. After a kill the
journal is carried out again: bytes that are there already are the same bytes. Nothing is ever cut off, so readers may
follow the file; who rotates it renames it.
"""

import os
import stat
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import orjson

from pipeline.errors import Misconfigured
from pipeline.runtime import failpoints
from pipeline.runtime.files import sync_folder, write_atomic
from pipeline.runtime.locks import HOLDER, exclusive

VERSION = 1


class AlertFile:
    """The file and its journal, held by one process at a time: Failed where another one has it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.journal = path.with_name(f"{path.name}.position")
        if not path.parent.is_dir():
            raise Misconfigured(f"{path}: got no folder {path.parent}, expected one that can be written; create it")
        message = f"{path}: {HOLDER} writes it, expected one worker; stop that one, or name another file"
        self._lock: AbstractContextManager[int] = exclusive(path.with_name(f".{path.name}.lock"), 0.0, message)
        self._lock.__enter__()
        try:
            self._entry = self._read()
            self.redo()
        except BaseException:
            self.close()
            raise

    @property
    def positions(self) -> dict[int, int] | None:
        """The next offset of each partition, where something was ever written."""
        if self._entry is None:
            return None
        return {int(partition): int(offset) for partition, offset in self._entry["positions"].items()}

    @property
    def is_pending(self) -> bool:
        """Whether something is in the journal that is not known to be written."""
        return self._entry is not None and bool(self._entry["text"])

    def append(self, lines: Sequence[str], positions: Mapping[int, int]) -> None:
        """Write the lines, durably, and with them the positions; OSError leaves both for `redo`."""
        handle = self._open()
        try:
            facts = os.fstat(handle)
        finally:
            os.close(handle)
        merged = {**(self.positions or {}), **positions}
        entry = {
            "version": VERSION,
            "inode": facts.st_ino,
            "start": facts.st_size,
            "text": "".join(f"{line}\n" for line in lines),
            "positions": {str(partition): offset for partition, offset in sorted(merged.items())},
        }
        write_atomic(self.journal, orjson.dumps(entry))
        self._entry = entry
        failpoints.reached("output.journal written")
        self.redo()

    def redo(self) -> None:
        """Write what the journal says, where it is not written yet."""
        if self._entry is None or not self.is_pending:
            return
        text = str(self._entry["text"]).encode()
        start, wanted = int(self._entry["start"]), self._path_of(int(self._entry["inode"]))
        handle = self._open(wanted or self.path)
        try:
            if wanted is None:
                start = os.fstat(handle).st_size  # renamed out of the folder: a repeat rather than a loss
            if os.fstat(handle).st_size < start + len(text):
                written = 0
                while written < len(text):
                    written += os.pwrite(handle, text[written:], start + written)
                os.fsync(handle)
        finally:
            os.close(handle)
        # Written: a file that is renamed or removed later is no reason to write it again.
        self._entry = {**self._entry, "text": ""}
        write_atomic(self.journal, orjson.dumps(self._entry), durable=False)

    def close(self) -> None:
        """Let others write it."""
        self._lock.__exit__(None, None, None)

    def _open(self, path: Path | None = None) -> int:
        path = path or self.path
        is_new = not path.exists()
        # Not blocking: a pipe that nobody reads would be waited for without end.
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o640)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise Misconfigured(f"{path}: got no regular file, expected one; name another")
        if is_new:
            sync_folder(path.parent)
        return handle

    def _path_of(self, inode: int) -> Path | None:
        """The file that the journal is about: under its own name, or that to which it was rotated in its folder."""
        beside = [self.path, *sorted(self.path.parent.glob(f"{self.path.name}*"))]
        return next((each for each in beside if each.is_file() and each.stat().st_ino == inode), None)

    def _read(self) -> dict[str, Any] | None:
        try:
            entry = orjson.loads(self.journal.read_bytes())
            whole = (
                isinstance(entry["text"], str) and entry["version"] == VERSION and isinstance(entry["positions"], dict)
            )
            whole = whole and all(isinstance(entry[name], int) and entry[name] >= 0 for name in ("inode", "start"))
        except FileNotFoundError:
            return None
        except (orjson.JSONDecodeError, KeyError, TypeError):
            whole = False
        if not whole:
            raise Misconfigured(
                f"{self.journal}: got no journal of ours, expected one of version {VERSION}; move it away: "
                "the worker goes on from the position committed in Kafka"
            )
        return dict(entry)
