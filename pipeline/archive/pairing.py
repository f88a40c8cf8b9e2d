"""Messages of `archive`, each together with the rejects of the same raw range: one input made of two topics.

Ingest counts the rejects of each `flows` message, and the count travels along. So which rejects belong to a message
does not depend on how the two topics are read: a message waits until its rejects are there, a reject until its
message is.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import pyarrow as pa

from pipeline.archive.manifest import Progress
from pipeline.archive.paths import Position
from pipeline.contracts.envelope import MessagePosition, RejectsFacts, ScoredFacts
from pipeline.errors import SequenceGap
from pipeline.runtime.wire import messages
from schemas.fields import arrow_schema


@dataclass(frozen=True, slots=True)
class Scored:
    """A message of `archive`: its rows, which are views of so many bytes, its facts, and where it stood."""

    offset: int
    rows: pa.RecordBatch
    size_bytes: int
    facts: ScoredFacts
    traceparent: bytes | None = None


@dataclass(frozen=True, slots=True)
class Paired:
    """A message of `archive`, its rejects, and the progress once both are archived."""

    scored: Scored
    rejects: tuple[pa.RecordBatch, ...]
    progress: Progress


def read_scored(payload: bytes, position: MessagePosition, traceparent: bytes | None = None) -> Scored:
    """A message of `archive`; BadData, BadEnvelope or SchemaMismatch where it is none."""
    rows, facts = messages.read(payload, ScoredFacts, position)
    size_bytes = rows.get_total_buffer_size()
    return Scored(position.offset, _under_own_schema(rows, facts), size_bytes, facts, traceparent)


def _under_own_schema(rows: pa.RecordBatch, facts: ScoredFacts) -> pa.RecordBatch:
    """The rows under a schema that says which feature set they have and nothing of the message they came in."""
    return rows.replace_schema_metadata(_metadata(facts.feature_set, facts.feature_hash))


@lru_cache(maxsize=64)
def _metadata(feature_set: str, feature_hash: str) -> Mapping[bytes | str, bytes | str]:
    return {**arrow_schema("scored").metadata, b"feature_set": feature_set, b"feature_hash": feature_hash}


def read_rejects(payload: bytes, position: MessagePosition) -> pa.RecordBatch:
    """The rows of a message of `rejects`; BadData, BadEnvelope or SchemaMismatch where it is none."""
    rows, _facts = messages.read(payload, RejectsFacts, position)
    return pa.RecordBatch.from_arrays(rows.columns, schema=arrow_schema("reject"))


class Pairing:
    """The messages of a partition's two topics that are read and not paired yet."""

    def __init__(self, partition: int, progress: Progress) -> None:
        self.partition = partition
        self.progress = progress
        self._scored: deque[Scored] = deque()
        self._rejects: deque[tuple[int, pa.RecordBatch]] = deque()
        self.waiting_reject_rows = 0
        self.waiting_bytes = 0

    def offer_scored(self, message: Scored) -> None:
        """Take a message of `archive`, in offset order."""
        self._scored.append(message)
        self.waiting_bytes += message.size_bytes

    def offer_rejects(self, offset: int, rows: pa.RecordBatch) -> None:
        """Take a message of `rejects`, in offset order; rows that were archived before a restart are skipped."""
        if offset == self.progress.rejects_next:
            rows = rows.slice(self.progress.rejects_skip)
        self._rejects.append((offset, rows))
        self.waiting_reject_rows += len(rows)
        self.waiting_bytes += rows.nbytes

    @property
    def waits_for_rejects(self) -> bool:
        """Whether the next message of `archive` is here and its rejects are not."""
        return bool(self._scored) and self._scored[0].facts.rejected > self.waiting_reject_rows

    @property
    def waits_for_scored(self) -> bool:
        """Whether no message of `archive` is here."""
        return not self._scored

    def next(self) -> Paired | None:
        """The next message with its rejects, or None until both are there; SequenceGap where messages are missing."""
        if not self._scored or self.waits_for_rejects:
            return None
        scored = self._scored.popleft()
        self.waiting_bytes -= scored.size_bytes
        progress = self.progress
        where = f"archive message {self.partition}@{scored.offset}"
        if progress.seq_next is not None and scored.facts.seq != progress.seq_next:
            raise SequenceGap(
                f"{where}: got seq {scored.facts.seq}, expected {progress.seq_next}; messages were lost or "
                "written twice: nothing more is archived, compare the topics with `forebay archive verify`"
            )
        rejects, after, skip = self._take(scored.facts.rejected)
        self._check(where, scored, rejects)
        self.progress = replace(
            progress,
            archive_next=scored.offset + 1,
            rejects_next=after,
            rejects_skip=skip,
            seq_next=scored.facts.seq + 1,
            through=scored.facts.through or progress.through,
            frontier=scored.facts.frontier,
            records=progress.records + scored.facts.records,
            rejected=progress.rejected + scored.facts.rejected,
        )
        return Paired(scored, tuple(rejects), self.progress)

    def _take(self, rows: int) -> tuple[list[pa.RecordBatch], int | None, int]:
        """That many rejects, and the position after them: offset, and rows taken of the message there."""
        taken: list[pa.RecordBatch] = []
        after, skip = self.progress.rejects_next, self.progress.rejects_skip
        self.waiting_reject_rows -= rows
        while rows:
            offset, batch = self._rejects.popleft()
            if not len(batch):
                continue
            part = batch.slice(0, rows)
            already = skip if offset == after else 0
            if len(part) < len(batch):
                self._rejects.appendleft((offset, batch.slice(rows)))
                after, skip = offset, already + len(part)
            else:
                after, skip = offset + 1, 0
            rows -= len(part)
            self.waiting_bytes -= part.nbytes
            taken.append(part)
        return taken, after, skip

    def _check(self, where: str, scored: Scored, taken: list[pa.RecordBatch]) -> None:
        """SequenceGap unless the rejects taken lie within the message's raw range and the next one does not."""
        facts = scored.facts
        last = _last(taken[-1], -1) if taken else None
        following = next((_last(rows, 0) for _offset, rows in self._rejects if len(rows)), None)
        beyond = last is not None and (facts.through is None or last > facts.through)
        short = following is not None and facts.through is not None and following <= facts.through
        if beyond or short:
            raise SequenceGap(
                f"{where}: says it goes through {facts.through} with {facts.rejected} rejects, but the rejects read "
                f"{f'go to {last}' if beyond else f'continue at {following}'}; the topics do not belong together"
            )


def _last(rows: pa.RecordBatch, row: int) -> Position:
    row %= len(rows)
    return rows.column("raw_offset")[row].as_py(), rows.column("raw_index")[row].as_py()
