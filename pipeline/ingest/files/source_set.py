"""The files of one sensor as one stream of records, so that records of the same time are sent together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.contracts.raw import CONTENT_TYPES, WITH_LOCAL_TIMES
from pipeline.ingest.draft import Mask
from pipeline.ingest.files.shift import shifted
from pipeline.ingest.files.source_file import SourceFile, carried
from pipeline.ingest.scan.cells import Ints


@dataclass(frozen=True, slots=True)
class SourceSet:
    """Records of several files, in an order. A file of several formats is several here.

    `which` is the index of each record's file, and `index` the record's index in that file's `records`. `unread` are
    the files of a folder that have no known format, `notes` what there is to know about the files as a whole, and
    `skipped` counts what is left out: records of other logs, repeated headers, interim records.
    """

    files: tuple[SourceFile, ...]
    which: Ints
    index: Ints
    unread: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    skipped: int = 0

    @classmethod
    def of(cls, parts: Sequence[SourceFile], notes: Sequence[str] = (), skipped: int = 0) -> "SourceSet":
        """The records of one file, in its order; a part each format, `numbers` says where each record stood."""
        counts = [len(part.records) for part in parts]
        which = np.repeat(np.arange(len(counts)), counts).astype(np.int64)
        index = np.concatenate([np.zeros(0, np.int64), *(np.arange(count) for count in counts)])
        order = np.argsort(np.concatenate([np.zeros(0, np.int64), *(part.numbers for part in parts)]), kind="stable")
        return cls(tuple(parts), which[order], index[order], notes=tuple(notes), skipped=skipped)

    @classmethod
    def joined(cls, sets: Sequence["SourceSet"], unread: Sequence[str] = ()) -> "SourceSet":
        """The files of several sets, one after another; records are numbered on from one to the next."""
        files: list[SourceFile] = []
        which, index = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        first = 0
        for source in sets:
            which.append(source.which + len(files))
            index.append(source.index)
            files += [replace(file, numbers=file.numbers + first) for file in source.files]
            first += max((int(file.numbers.max()) + 1 for file in source.files if len(file.numbers)), default=0)
        return cls(
            tuple(files),
            np.concatenate(which),
            np.concatenate(index),
            (*(name for source in sets for name in source.unread), *unread),
            tuple(dict.fromkeys(note for source in sets for note in source.notes)),
            sum(source.skipped for source in sets),
        )

    def __len__(self) -> int:
        """Number of records."""
        return len(self.which)

    @property
    def content_types(self) -> tuple[str, ...]:
        """The formats of the files, each once; none of empty ones."""
        kinds = dict.fromkeys(file.content_type for file in self.files)
        return tuple(kind for kind in kinds if kind in CONTENT_TYPES)

    @property
    def records(self) -> list[bytes]:
        """The records in order."""
        records = [file.records for file in self.files]
        return [records[file][index] for file, index in zip(self.which.tolist(), self.index.tolist(), strict=True)]

    @property
    def numbers(self) -> Ints:
        """Each record's index among the data rows of all files."""
        return self._gathered([file.numbers for file in self.files])

    @property
    def size_bytes(self) -> int:
        """Bytes of all records."""
        return sum(file.size_bytes for file in self.files)

    def end_times_us(self) -> Ints:
        """When each record's flow ended; a record without a time takes that of the one before it in this order."""
        ends = [file.known_end_times_us() for file in self.files]
        times = self._gathered([times for times, _ in ends])
        known: Mask = self._gathered([known.astype(np.int64) for _, known in ends]).astype(np.bool_)
        return carried(times, known)

    def by_end_time(self) -> "SourceSet":
        """The records sorted by `end_times_us`; equal times keep their order."""
        order = np.argsort(self.end_times_us(), kind="stable")
        return replace(self, which=self.which[order], index=self.index[order])

    def without(self, rows: Mask, note: str) -> "SourceSet":
        """The set without some of its records, and a note that says why."""
        chosen = ~rows
        return replace(
            self,
            which=self.which[chosen],
            index=self.index[chosen],
            notes=(*self.notes, note),
            skipped=self.skipped + int(rows.sum()),
        )

    def in_zone(self, time_zone: str) -> "SourceSet":
        """The same records, of which times without an offset are local ones; a note says where none are written so."""
        if not time_zone:
            return self
        files, kinds = tuple(replace(file, time_zone=time_zone) for file in self.files), self.content_types
        note = f"the time zone {time_zone} changes nothing: {', '.join(kinds)} has no times without an offset"
        epochs = bool(kinds) and not set(kinds) & set(WITH_LOCAL_TIMES)
        return replace(self, files=files, notes=(*self.notes, note) if epochs else self.notes)

    def shifted(self, by_us: int) -> "SourceSet":
        """The same records with every point in time moved."""
        return replace(self, files=tuple(shifted(file, by_us) for file in self.files))

    def cuts(self, most: int) -> Ints:
        """Where each message starts; a message has at most `most` records in a row, all of one file."""
        if not len(self):
            return np.zeros(0, np.int64)
        indices = np.arange(len(self))
        begins = np.concatenate(([True], self.which[1:] != self.which[:-1]))
        within = indices - np.maximum.accumulate(np.where(begins, indices, 0))
        return np.flatnonzero(within % most == 0)

    def _gathered(self, columns: Sequence[Ints]) -> Ints:
        out = np.zeros(len(self), np.int64)
        for file, column in enumerate(columns):
            chosen = self.which == file
            out[chosen] = column[self.index[chosen]]
        return out
