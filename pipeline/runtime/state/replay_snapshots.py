"""Kept states: of what a room saves, one state about every hour of event time, for replays to begin from.

A kept state is an entry, a small JSON file that names a saved state and every blob it needs; while the entry is there
no collection takes them. It is written after the state and its pointer: a worker killed before leaves none, and a later
save keeps another. What an entry says follows from the log alone, so a zombie writes the bytes that are there already.

Entries lie under the topic the room reads, and carry its id: those of a topic that was made anew are not of this log.
"""

import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from pipeline.errors import BadData
from pipeline.runtime.files import UNFINISHED, disk_full_as_failed, write_atomic

FOLDER = "kept"
SUFFIX = ".json"
# An unfinished entry older than this has no writer any more.
UNFINISHED_S = 120.0


@dataclass(frozen=True, slots=True)
class RetainedSnapshot:
    """A saved state that is kept.

    Parameters
    ----------
    room : str
        Whose it is: its blobs lie in `<state>/<room>/<partition>`.
    topic, topic_id : str
        What the room reads, by name and by the id Kafka gave it.
    partition, position, seq, digest
        As in its pointer.
    reached_us : int
        Event time that nothing lies beyond of what came out (featurize) or went in (alert) before `position`.
    blobs : tuple of str
        Digests of all it needs, `digest` among them, sorted.
    """

    room: str
    topic: str
    topic_id: str
    partition: int
    position: int
    seq: int
    reached_us: int
    digest: str
    blobs: tuple[str, ...]

    def encode(self) -> bytes:
        """As JSON; equal states give equal bytes, whoever writes them and when."""
        return orjson.dumps(asdict(self), option=orjson.OPT_SORT_KEYS)

    @classmethod
    def decode(cls, payload: bytes) -> "RetainedSnapshot":
        """From JSON; BadData where it is no entry."""
        try:
            facts: dict[str, Any] = orjson.loads(payload)
            return cls(
                str(facts["room"]),
                str(facts["topic"]),
                str(facts["topic_id"]),
                int(facts["partition"]),
                int(facts["position"]),
                int(facts["seq"]),
                int(facts["reached_us"]),
                str(facts["digest"]),
                tuple(map(str, facts["blobs"])),
            )
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise BadData(f"kept state {payload[:120]!r}: got {error!r}, expected an entry of a kept state") from error


class SnapshotCatalog:
    """The kept states of one partition of a topic; what was read once is not read again.

    Parameters
    ----------
    root : Path
        Where all state lies (`state_uri`).
    topic : str
        What the room reads.
    partition : int
    """

    def __init__(self, root: Path, topic: str, partition: int) -> None:
        self.folder = root / FOLDER / topic / str(partition)
        self._read: dict[str, RetainedSnapshot | None] = {}

    def _names(self) -> list[str]:
        """Newest first: names are positions, with leading zeros."""
        try:
            found = os.listdir(self.folder)  # noqa: PTH208  # glob() takes an error for an empty folder
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted((name for name in found if name.endswith(SUFFIX) and name[0] != "."), reverse=True)

    def all(self) -> list[RetainedSnapshot]:
        """Every entry, of whatever topic id, newest first; a file that is none, or that cannot be read now, is as if it
        were not there.
        """
        self._look()
        return [entry for entry in self._read.values() if entry is not None]

    def _look(self) -> OSError | None:
        """Read what is new; the first error of one that is there and cannot be read now: the next look tries again."""
        read: dict[str, RetainedSnapshot | None] = {}
        failed: OSError | None = None
        for name in self._names():
            try:
                read[name] = self._read[name] if name in self._read else self._entry(name)
            except FileNotFoundError:  # gone meanwhile
                continue
            except OSError as error:
                failed = failed or error
        self._read = read
        return failed

    def _entry(self, name: str) -> RetainedSnapshot | None:
        payload = (self.folder / name).read_bytes()
        try:
            return RetainedSnapshot.decode(payload)
        except BadData:
            return None

    def of(self, topic_id: str) -> list[RetainedSnapshot]:
        """Those of the topic as it is now, newest first."""
        return [entry for entry in self.all() if entry.topic_id == topic_id]

    @property
    def blobs(self) -> set[str]:
        """Digests of all that must not be collected; OSError where they cannot all be known now."""
        if (failed := self._look()) is not None:
            raise failed
        return {blob for entry in self._read.values() if entry is not None for blob in entry.blobs}

    def written_s(self, entry: RetainedSnapshot) -> float:
        """When it was written, by the clock of the file system; nan where it is gone."""
        try:
            return self._path(entry).stat().st_mtime
        except OSError:
            return float("nan")

    def _path(self, entry: RetainedSnapshot) -> Path:
        return self.folder / f"{entry.position:020d}{SUFFIX}"

    def keep(self, entry: RetainedSnapshot, most: int) -> int:
        """Write an entry, then delete those too many, oldest first, and those of another topic id; returns how many.

        1. The entry under another name, on the disk. 2. Its name. 3. The old ones. Killed between any two: what is
        left over is deleted by a later call.
        """
        with disk_full_as_failed("kept state", self.folder):
            write_atomic(self._path(entry), entry.encode())  # 1, 2
        self._read[self._path(entry).name] = entry
        removed = 0
        for old in self._too_many(entry.topic_id, most):  # 3
            old.unlink(missing_ok=True)
            removed += 1
        return removed

    def _too_many(self, topic_id: str, most: int) -> Iterator[Path]:
        others = {self._path(entry).name for entry in self.all() if entry.topic_id != topic_id}
        own = [name for name in self._names() if name not in others]
        yield from (self.folder / name for name in [*own[most:], *sorted(others)])
        before = time.time() - UNFINISHED_S
        for path in self.folder.glob(f"{UNFINISHED}*"):
            try:
                old = path.stat().st_mtime < before
            except FileNotFoundError:  # another worker's, in place or gone by now
                continue
            if old:
                yield path
