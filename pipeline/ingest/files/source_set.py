"""The files of one sensor as one stream of records, so that records of the same time are sent together."""

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

    `which` is the index of each record's file, and `index` the record's index in that file's `records`. `unread` are
    the files of a folder that have no known format.
    """

    files: tuple[SourceFile, ...]
    which: Ints
    index: Ints
    unread: tuple[str, ...] = ()

    @classmethod
    def of(cls, files: Sequence[SourceFile], unread: Sequence[str] = ()) -> "SourceSet":
        """The files one after another; records are numbered on from one to the next."""
        numbered, first = [], 0
        for file in files:
            numbered.append(
                SourceFile(file.content_type, file.columns, file.records, file.numbers + first, file.skipped)
            )
            first += int(file.numbers.max()) + 1 if len(file.numbers) else 0
        counts = [len(file.records) for file in files]
        which = np.repeat(np.arange(len(counts)), counts)
        index = np.concatenate([np.arange(count) for count in counts]) if counts else np.zeros(0, np.int64)
        return cls(tuple(numbered), which.astype(np.int64), index.astype(np.int64), tuple(unread))

    @classmethod
    def joined(cls, sets: Sequence["SourceSet"]) -> "SourceSet":
        """The files of several sets."""
        return cls.of(
            [file for source_set in sets for file in source_set.files],
            [name for source_set in sets for name in source_set.unread],
        )

    def __len__(self) -> int:
        """Number of records."""
        return len(self.which)

    @property
    def content_types(self) -> tuple[str, ...]:
        """The formats of the files, each once; none of empty ones."""
        return tuple(dict.fromkeys(file.content_type for file in self.files if file.content_type))

    @property
    def skipped(self) -> int:
        """Lines that are no records."""
        return sum(file.skipped for file in self.files)

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
        """When each record's flow ended (SourceFile.end_times_us)."""
        return self._gathered([file.end_times_us() for file in self.files])

    def by_end_time(self) -> "SourceSet":
        """The records sorted by `end_times_us`; equal times keep their order."""
        order = np.argsort(self.end_times_us(), kind="stable")
        return replace(self, which=self.which[order], index=self.index[order])

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


def read_source(path: Path | str, content_type: str | None = None, max_bytes: int = MAX_FILE_BYTES) -> SourceSet:
    """The records of a file; of a folder, those of all its files that are of a known format, by name.

    BadData where a file cannot be read, a folder holds none, or the records have more than `max_bytes`, unpacked.
    """
    if str(path) == "-" or not Path(path).is_dir():
        return SourceSet.of([read_records(path, content_type, max_bytes)])
    files: list[SourceFile] = []
    unread: list[str] = []
    left = max_bytes
    for entry in sorted(entry for entry in Path(path).iterdir() if entry.is_file()):
        try:
            files.append(read_records(entry, content_type, left))
            left -= files[-1].size_bytes
        except TooLarge:
            raise
        except BadData as error:
            unread.append(str(error).split(", expected")[0])
    if not files:
        raise BadData(
            f"{path}: got a folder of {len(unread)} files, none of a known format, expected logs of one sensor"
        )
    return SourceSet.of(files, unread)
