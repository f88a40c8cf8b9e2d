"""The files of one sensor as one stream of records: what a flow's log says of a moment must not come hours after it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.errors import BadData
from pipeline.ingest.files.read_bytes import MAX_FILE_BYTES, TooLarge
from pipeline.ingest.files.shift import shifted
from pipeline.ingest.files.source_file import SourceFile, read_records
from pipeline.ingest.scan.cells import Ints


@dataclass(frozen=True, slots=True)
class SourceSet:
    """Records of several files, in an order.

    `which` and `place` say which file each record is of, and where it stands in that file's `records`. `unread` are
    the files of a folder that are of no format that is read.
    """

    files: tuple[SourceFile, ...]
    which: Ints
    place: Ints
    unread: tuple[str, ...] = ()

    @classmethod
    def of(cls, files: Sequence[SourceFile], unread: Sequence[str] = ()) -> "SourceSet":
        """The files one after another; records are numbered on from one to the next."""
        numbered, first = [], 0
        for one in files:
            numbered.append(SourceFile(one.content_type, one.columns, one.records, one.numbers + first, one.skipped))
            first += int(one.numbers.max()) + 1 if len(one.numbers) else 0
        counts = [len(one.records) for one in files]
        which = np.repeat(np.arange(len(counts)), counts)
        place = np.concatenate([np.arange(count) for count in counts]) if counts else np.zeros(0, np.int64)
        return cls(tuple(numbered), which.astype(np.int64), place.astype(np.int64), tuple(unread))

    @classmethod
    def joined(cls, sets: Sequence["SourceSet"]) -> "SourceSet":
        """The files of several sets."""
        return cls.of([one for held in sets for one in held.files], [name for held in sets for name in held.unread])

    def __len__(self) -> int:
        """Number of records."""
        return len(self.which)

    @property
    def content_types(self) -> tuple[str, ...]:
        """The formats of the files, each once; none of empty ones."""
        return tuple(dict.fromkeys(one.content_type for one in self.files if one.content_type))

    @property
    def skipped(self) -> int:
        """Lines that are no records."""
        return sum(one.skipped for one in self.files)

    @property
    def records(self) -> list[bytes]:
        """The records in order."""
        held = [one.records for one in self.files]
        return [held[file][place] for file, place in zip(self.which.tolist(), self.place.tolist(), strict=True)]

    @property
    def numbers(self) -> Ints:
        """Each record's place among the data rows of all files."""
        return self._gathered([one.numbers for one in self.files])

    @property
    def size_bytes(self) -> int:
        """Bytes of all records."""
        return sum(one.size_bytes for one in self.files)

    def end_times_us(self) -> Ints:
        """When each record's flow ended (SourceFile.end_times_us)."""
        return self._gathered([one.end_times_us() for one in self.files])

    def by_end_time(self) -> "SourceSet":
        """The records sorted by `end_times_us`; equal times keep their order."""
        order = np.argsort(self.end_times_us(), kind="stable")
        return replace(self, which=self.which[order], place=self.place[order])

    def shifted(self, by_us: int) -> "SourceSet":
        """The same records with every point in time moved."""
        return replace(self, files=tuple(shifted(one, by_us) for one in self.files))

    def cuts(self, most: int) -> Ints:
        """Where each message begins: of at most `most` records that follow one another and are of one file."""
        if not len(self):
            return np.zeros(0, np.int64)
        places = np.arange(len(self))
        begins = np.concatenate(([True], self.which[1:] != self.which[:-1]))
        within = places - np.maximum.accumulate(np.where(begins, places, 0))
        return np.flatnonzero(within % most == 0)

    def _gathered(self, columns: Sequence[Ints]) -> Ints:
        out = np.zeros(len(self), np.int64)
        for file, column in enumerate(columns):
            chosen = self.which == file
            out[chosen] = column[self.place[chosen]]
        return out


def read_source(path: Path | str, content_type: str | None = None, max_bytes: int = MAX_FILE_BYTES) -> SourceSet:
    """The records of a file; of a folder, those of all its files that are of a known format, by name.

    BadData where a file cannot be read, a folder holds none, or the records have more than `max_bytes`, unpacked.
    """
    if str(path) == "-" or not Path(path).is_dir():
        return SourceSet.of([read_records(path, content_type, max_bytes)])
    found: list[SourceFile] = []
    unread: list[str] = []
    left = max_bytes
    for one in sorted(entry for entry in Path(path).iterdir() if entry.is_file()):
        try:
            found.append(read_records(one, content_type, left))
            left -= found[-1].size_bytes
        except TooLarge:
            raise
        except BadData as error:
            unread.append(str(error).split(", expected")[0])
    if not found:
        raise BadData(
            f"{path}: got a folder of {len(unread)} files, none of a known format, expected logs of one sensor"
        )
    return SourceSet.of(found, unread)
