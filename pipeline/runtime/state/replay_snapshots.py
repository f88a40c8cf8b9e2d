"""Snapshots for replays: of what a stage saves, one state about every hour of event time is retained.

A retained snapshot is an entry, a small JSON file that names a saved state and every blob it needs; while the entry is
there no collection takes them. It is written after the state and its pointer: a worker killed before leaves none, and a
later save retains another. What an entry says follows from the log alone, so a zombie writes the same bytes.

Entries lie under the topic the stage reads, and carry its id: those of a topic that was made anew are not of this log.
"""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from pipeline.errors import BadData, ForebayError
from pipeline.runtime.files import UNFINISHED
from pipeline.runtime.storage.location import StorageLike, open_storage

FOLDER = "kept"
SUFFIX = ".json"
# An unfinished entry older than this has no writer any more.
UNFINISHED_S = 120.0


@dataclass(frozen=True, slots=True)
class RetainedSnapshot:
    """A saved state that is retained.

    Parameters
    ----------
    stage : str
        Name of the stage that saved it (in entries on disk its key is `room`): its blobs lie in
        `<state>/<stage>/<partition>`.
    topic, topic_id : str
        The topic the stage reads, by name and by the id Kafka gave it.
    partition, position, seq, digest
        The same as in its pointer (pointers.py).
    reached_us : int
        Upper bound of the event times of what came out (featurize) or went in (alert) before `position`.
    blobs : tuple of str
        Digests of every blob it needs, `digest` among them, sorted.
    """

    stage: str
    topic: str
    topic_id: str
    partition: int
    position: int
    seq: int
    reached_us: int
    digest: str
    blobs: tuple[str, ...]

    def encode(self) -> bytes:
        """The entry as JSON; equal states give equal bytes, whoever writes them and when."""
        facts = asdict(self)
        return orjson.dumps({"room": facts.pop("stage"), **facts}, option=orjson.OPT_SORT_KEYS)

    @classmethod
    def decode(cls, payload: bytes) -> "RetainedSnapshot":
        """The entry in JSON; BadData where it is no entry."""
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
            raise BadData(f"retained snapshot {payload[:120]!r}: got {error!r}, expected an entry of one") from error


class SnapshotCatalog:
    """The retained snapshots of one partition of a topic; what was read once is not read again.

    Parameters
    ----------
    location : StorageLike
        Where all state lies (`state_uri`).
    topic : str
        What the stage reads.
    partition : int
    """

    def __init__(self, location: StorageLike, topic: str, partition: int) -> None:
        self._storage = open_storage(location, "state")
        self._folder = f"{FOLDER}/{topic}/{partition}"
        self._read: dict[str, RetainedSnapshot | None] = {}

    def _names(self) -> list[str]:
        """File names, newest first: they are positions with leading zeros."""
        files = self._storage.names(self._folder)
        return sorted((name for name in files if name.endswith(SUFFIX) and not _is_unfinished(name)), reverse=True)

    def all(self) -> list[RetainedSnapshot]:
        """Every entry, of any topic id, newest first; files that are no entry, or cannot be read now, are left out."""
        self._refresh()
        return [entry for entry in self._read.values() if entry is not None]

    def _refresh(self) -> Exception | None:
        """Read what is new; the first error of one that is there and cannot be read now: the next call tries again."""
        read: dict[str, RetainedSnapshot | None] = {}
        failed: Exception | None = None
        try:
            names = self._names()
        except (OSError, ForebayError) as error:
            names, failed = [], error
        for name in names:
            try:
                read[name] = self._read[name] if name in self._read else self._entry(name)
            except FileNotFoundError:  # gone meanwhile
                continue
            except (OSError, ForebayError) as error:
                failed = failed or error
        self._read = read
        return failed

    def _entry(self, name: str) -> RetainedSnapshot | None:
        payload = self._storage.read(name)
        try:
            return RetainedSnapshot.decode(payload)
        except BadData:
            return None

    def of(self, topic_id: str) -> list[RetainedSnapshot]:
        """Snapshots of the topic with this id, newest first."""
        return [entry for entry in self.all() if entry.topic_id == topic_id]

    @property
    def blobs(self) -> set[str]:
        """Digests of all blobs not to be collected; OSError or ForebayError where they cannot all be known now."""
        if (failed := self._refresh()) is not None:
            raise failed
        return {blob for entry in self._read.values() if entry is not None for blob in entry.blobs}

    def written_s(self, entry: RetainedSnapshot) -> float:
        """When it was written, by the clock of the storage; nan where it is gone."""
        try:
            return self._storage.written_s(self._file(entry))
        except OSError:
            return float("nan")

    def _file(self, entry: RetainedSnapshot) -> str:
        return f"{self._folder}/{entry.position:020d}{SUFFIX}"

    def retain(self, entry: RetainedSnapshot, max_entries: int) -> int:
        """Write an entry, then delete those past `max_entries`, oldest first, and those of another topic id.

        Returns how many were deleted.

        1. The entry, whole and durable under its name. 2. The old ones are deleted. Killed between the two, or in one:
        what is left over is deleted by a later call.
        """
        self._storage.replace(self._file(entry), entry.encode())  # 1
        self._read[self._file(entry)] = entry
        too_many = list(self._too_many(entry.topic_id, max_entries))
        for name in too_many:  # 2
            self._storage.delete(name)
        return len(too_many)

    def _too_many(self, topic_id: str, max_entries: int) -> Iterator[str]:
        others = {self._file(entry) for entry in self.all() if entry.topic_id != topic_id}
        current = [name for name in self._names() if name not in others]
        yield from [*current[max_entries:], *sorted(others)]
        before_s = time.time() - UNFINISHED_S
        for entry in self._storage.entries(self._folder):
            if _is_unfinished(entry.name) and entry.written_s < before_s:
                yield entry.name


def _is_unfinished(name: str) -> bool:
    return name.rpartition("/")[2].startswith(UNFINISHED)
