"""The sample store: rows of the topic `retrain` as Parquet files, the newest ones, each row once by raw position.

A file is named by what is in it, `p<partition>-<first seq>-<last seq>-<feature set>.parquet`, and is written whole or
not at all. After a crash some rows may be read and written again under another name; reading takes each raw position
once. Many small files of a partition are merged into one.
"""

import re
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.contracts.uids import RAW_POSITION
from pipeline.errors import BadData, Failed
from pipeline.runtime.storage.location import StorageLike, open_storage
from pipeline.runtime.storage.storage import Entry, Storage

FILE = re.compile(r"p(\d+)-(\d+)-(\d+)-([0-9a-zA-Z]{0,12})\.parquet")
WRITTEN = "written_s"
"""In the footer of a merged file: when its newest part was written. An object's own time cannot be set."""
DISTINCT = ("record_id", "community_id", "sensor_uid", "raw_offset", "start_ts_us", "end_ts_us")
"""Columns whose values seldom occur twice: a dictionary of them would be built and abandoned, as one of features."""
MERGE_AT_FILES = 32
MERGED_ROWS = 200_000
# A reader lists the files again when one is gone. The second list has a few new files at most, read in milliseconds,
# and a partition is merged every few minutes: ten are never needed.
READ_ATTEMPTS = 10
MAX_FOOTERS = 4_096
"""Some hundred files are in a store of two million rows: more entries than that belong to files that are gone."""
_FOOTERS: "OrderedDict[tuple[str, Entry], SampleFile]" = OrderedDict()


@dataclass(frozen=True, slots=True)
class SampleRange:
    """Consecutive messages of one partition and one feature set."""

    partition: int
    first_seq: int
    last_seq: int
    feature_hash: str

    @property
    def name(self) -> str:
        """The file's name."""
        return f"p{self.partition}-{self.first_seq:012d}-{self.last_seq:012d}-{self.feature_hash[:12]}.parquet"


class SampleFile(NamedTuple):
    """A file of the store: its name, when its newest part was written (seconds since the epoch), and what is in it."""

    written_s: float
    name: str
    rows: int
    feature_hash: str


def write(
    location: StorageLike, batches: Sequence[pa.RecordBatch], sample_range: SampleRange, written_s: float | None = None
) -> str:
    """Write one file of samples and return its name; a file of that name is replaced: it holds the same rows.

    `written_s`: its age is counted from here, where that is not now. Failed where the disk is full.
    """
    facts = {"feature_hash": sample_range.feature_hash} | ({WRITTEN: repr(written_s)} if written_s is not None else {})
    plain = [batch.replace_schema_metadata(facts) for batch in batches]
    sink = pa.BufferOutputStream()
    table = pa.Table.from_batches(plain)
    pq.write_table(table, sink, compression="zstd", compression_level=1, **_encoded(table.schema))
    open_storage(location, "samples").replace(sample_range.name, memoryview(sink.getvalue()))
    return sample_range.name


def _encoded(schema: pa.Schema) -> dict[str, list[str]]:
    """Which columns get a dictionary, and which statistics: half the time of a file goes into those that none needs."""
    plain = [field.name for field in schema if not pa.types.is_nested(field.type)]
    return {"use_dictionary": [name for name in plain if name not in DISTINCT], "write_statistics": plain}


def files(location: StorageLike) -> list[SampleFile]:
    """The store's files, oldest first; FileNotFoundError where one was merged or trimmed while they were listed."""
    storage = open_storage(location, "samples")
    listed = [entry for entry in storage.entries("") if FILE.fullmatch(entry.name)]
    return sorted(footer(storage, entry) for entry in listed)


def footer(storage: Storage, entry: Entry) -> SampleFile:
    """What a file's footer says; it is read once, for it never changes and is asked for every few seconds."""
    key = storage.uri, entry
    if key not in _FOOTERS:
        while len(_FOOTERS) >= MAX_FOOTERS:
            _FOOTERS.popitem(last=False)
        _FOOTERS[key] = _read_footer(storage, entry)
    return _FOOTERS[key]


def _read_footer(storage: Storage, entry: Entry) -> SampleFile:
    with _reading(storage, entry.name) as source:
        metadata = pq.read_metadata(source)
    facts = metadata.schema.to_arrow_schema().metadata or {}
    try:
        written_s = float(facts.get(WRITTEN.encode(), b"") or entry.written_s)
    except ValueError:
        written_s = entry.written_s
    return SampleFile(written_s, entry.name, metadata.num_rows, facts.get(b"feature_hash", b"").decode())


@contextmanager
def _reading(storage: Storage, name: str) -> Iterator[pa.NativeFile]:
    """A file to read; FileNotFoundError where it is gone, also where that shows only while it is read."""
    try:
        with storage.open(name) as source:
            yield source
    except (*storage.errors, pa.ArrowException) as error:
        if isinstance(error, FileNotFoundError) or storage.has(name):
            raise
        raise FileNotFoundError(name) from error


def _table(storage: Storage, name: str, columns: Sequence[str] | None = None) -> pa.Table:
    with _reading(storage, name) as source:
        file = pq.ParquetFile(source)
        there = file.schema_arrow.names  # a file of an earlier version lacks columns that may be null
        return file.read(None if columns is None else [name for name in columns if name in there])


def merge(location: StorageLike) -> int:
    """Make one file of a partition's small ones where there are many; how many files that saved.

    Where another worker merges or trims the same files at the same time, the work is left to it.
    """
    storage = open_storage(location, "samples")
    try:
        return sum(_merge(storage, int(partition), parts) for partition, parts in _small_files(storage))
    except FileNotFoundError:
        return 0


def _small_files(storage: Storage) -> list[tuple[str, list[SampleFile]]]:
    """Partitions, each feature set apart, with many small files: those files, oldest first."""
    small: dict[tuple[str, str], list[SampleFile]] = defaultdict(list)
    for file in files(storage):
        if file.rows < MERGED_ROWS // MERGE_AT_FILES:
            partition, _, _, feature_set = FILE.fullmatch(file.name).groups()  # type: ignore[union-attr]
            small[partition, feature_set].append(file)
    return [(partition, parts) for (partition, _), parts in small.items() if len(parts) >= MERGE_AT_FILES]


def _merge(storage: Storage, partition: int, parts: list[SampleFile]) -> int:
    ranges = [FILE.fullmatch(file.name).groups() for file in parts]  # type: ignore[union-attr]
    first, last = (
        min(int(match_groups[1]) for match_groups in ranges),
        max(int(match_groups[2]) for match_groups in ranges),
    )
    tables = [_table(storage, file.name) for file in parts]
    table = _deduplicated(pa.concat_tables(tables, promote_options="default"))
    # As old as its newest part: trimming goes by age.
    sample_range = SampleRange(partition, first, last, parts[0].feature_hash)
    merged = write(storage, table.to_batches(), sample_range, parts[-1].written_s)
    # A crash before the parts are gone leaves rows twice: reading takes them once, and the next merge drops them.
    replaced = [file.name for file in parts if file.name != merged]
    for name in replaced:
        storage.delete(name)
    return len(replaced)


def trim(location: StorageLike, max_rows: int) -> int:
    """Delete the oldest files until at most `max_rows` rows are left (the newest file always stays); rows deleted.

    Where another worker merges or trims at the same time, the work is left to it.
    """
    storage, deleted = open_storage(location, "samples"), 0
    try:
        retained = files(storage)
    except FileNotFoundError:
        return 0
    rows = sum(file.rows for file in retained)
    while len(retained) > 1 and rows - deleted > max_rows:
        oldest = retained.pop(0)
        storage.delete(oldest.name)
        deleted += oldest.rows
    return deleted


def count(location: StorageLike, feature_hash: str) -> int:
    """Rows of one feature set in the store, those that are in two files twice; Failed where it changes all the time."""
    for _attempt in range(READ_ATTEMPTS):
        try:
            return sum(file.rows for file in files(location) if file.feature_hash == feature_hash)
        except FileNotFoundError:  # merged or trimmed since it was listed
            continue
    raise _changing(location)


def read(
    location: StorageLike,
    feature_hash: str,
    select: Callable[[pa.Table], npt.NDArray[np.bool_]] | None = None,
    keys: Sequence[str] = (),
) -> pa.Table:
    """Samples of one feature set, each raw position once, in order of event time; without columns where there are none.

    Samples of another feature set are left out: their columns mean something else. The worker may merge and trim files
    meanwhile: what was in the store from the start to the end is read. Failed where that cannot be done.

    Parameters
    ----------
    select : which rows of a file to read, by its columns `keys`; all where None. Only these are held in memory.
    """
    storage = open_storage(location, "samples")
    parts: dict[str, pa.Table | None] = {}
    for _attempt in range(READ_ATTEMPTS):
        if not _read_new(storage, parts, feature_hash, select, keys):
            break
    else:
        raise _changing(location)
    # Files of an earlier version lack columns that may be null.
    plain = [part.replace_schema_metadata() for part in parts.values() if part is not None]
    if not plain:
        return pa.table({})
    table = _deduplicated(pa.concat_tables(plain, promote_options="default"))
    return table.take(pc.sort_indices(table, [(name, "ascending") for name in ("end_ts_us", *RAW_POSITION)]))


def _read_new(
    storage: Storage,
    parts: dict[str, pa.Table | None],
    feature_hash: str,
    select: Callable[[pa.Table], npt.NDArray[np.bool_]] | None,
    keys: Sequence[str],
) -> bool:
    """Read the files that are not among `parts`, by name, and add them; True where one was gone before it was read.

    Its rows are then in a merged file, which a new list has: files that were read are not read again.
    """
    missed = False
    for entry in sorted(entry for entry in storage.entries("") if FILE.fullmatch(entry.name)):
        if entry.name in parts:
            continue
        try:
            part = None
            if footer(storage, entry).feature_hash == feature_hash:
                if select is None:
                    part = _table(storage, entry.name)
                elif (wanted := select(_table(storage, entry.name, keys))).any():
                    part = _table(storage, entry.name).filter(pa.array(wanted))
            parts[entry.name] = part
        except FileNotFoundError:
            missed = True
    return missed


def _changing(location: StorageLike) -> Failed:
    return Failed(
        f"samples {open_storage(location).uri}: files were merged or trimmed {READ_ATTEMPTS} times while they were "
        "read; try again, or stop the retrain worker meanwhile"
    )


def _deduplicated(table: pa.Table) -> pa.Table:
    """Each raw position once, the last of equal ones; by raw position."""
    keys = np.stack([table.column(name).to_numpy().astype(np.int64) for name in RAW_POSITION])
    order = np.lexsort(keys[::-1])
    ordered = keys[:, order]
    last = np.ones(order.size, np.bool_)
    last[:-1] = (ordered[:, 1:] != ordered[:, :-1]).any(axis=0)
    return table.take(pa.array(order[last]))


def require(rows: int, location: StorageLike) -> int:
    """The number of rows; BadData where there are none."""
    if rows == 0:
        raise BadData(
            f"{open_storage(location).uri}: no samples of this feature set; let `forebay retrain run` collect some "
            "while flows are scored"
        )
    return rows
