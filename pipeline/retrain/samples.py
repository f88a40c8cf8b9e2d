"""The sample store: rows of the topic `retrain` as Parquet files, the newest ones, each row once by raw position.

A file is named by what is in it, `p<partition>-<first seq>-<last seq>-<feature set>.parquet`, and is written whole or
not at all. After a crash some rows may be read and written again under another name; reading takes each raw position
once. Many small files of a partition are merged into one.
"""

import os
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.contracts.uids import RAW_POSITION
from pipeline.errors import BadData, Failed
from pipeline.runtime.files import disk_full_as_failed, write_atomic

FILE = re.compile(r"p(\d+)-(\d+)-(\d+)-([0-9a-zA-Z]{0,12})\.parquet")
MERGE_AT_FILES = 32
MERGED_ROWS = 200_000
# A reader lists the files again when one is gone. The second list has a few new files at most, read in milliseconds,
# and a partition is merged every few minutes: ten are never needed.
READ_ATTEMPTS = 10


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


def write(folder: Path, batches: Sequence[pa.RecordBatch], samples: SampleRange) -> Path:
    """Write one file of samples; a file of that name is replaced by its like. Failed where the disk is full."""
    path = folder / samples.name
    plain = [batch.replace_schema_metadata({"feature_hash": samples.feature_hash}) for batch in batches]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_batches(plain), sink, compression="zstd")
    with disk_full_as_failed("samples", folder):
        write_atomic(path, bytes(sink.getvalue()))
    return path


def files(folder: Path) -> list[Path]:
    """The store's files, oldest first."""
    if not folder.is_dir():
        return []
    listed = ((_written_ns(path), path) for path in folder.iterdir() if FILE.fullmatch(path.name))
    return [path for _, path in sorted((at_ns, path) for at_ns, path in listed if at_ns is not None)]


def _written_ns(path: Path) -> int | None:
    """When a file was written; None where it has been merged or trimmed since it was listed."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def merge(folder: Path) -> int:
    """Make one file of a partition's small ones where there are many; how many files that saved.

    Where another worker merges or trims the same files at the same time, the work is left to it.
    """
    try:
        return sum(_merge(folder, int(partition), parts) for partition, parts in _small_files(folder))
    except FileNotFoundError:
        return 0


def _small_files(folder: Path) -> list[tuple[str, list[Path]]]:
    """Partitions, each feature set apart, with many small files: those files, oldest first."""
    small: dict[tuple[str, str], list[Path]] = defaultdict(list)
    for path in files(folder):
        if pq.read_metadata(path).num_rows < MERGED_ROWS // MERGE_AT_FILES:
            partition, _, _, feature_set = FILE.fullmatch(path.name).groups()  # type: ignore[union-attr]
            small[partition, feature_set].append(path)
    return [(partition, parts) for (partition, _), parts in small.items() if len(parts) >= MERGE_AT_FILES]


def _merge(folder: Path, partition: int, parts: list[Path]) -> int:
    ranges = [FILE.fullmatch(path.name).groups() for path in parts]  # type: ignore[union-attr]
    first, last = min(int(fields[1]) for fields in ranges), max(int(fields[2]) for fields in ranges)
    table = _deduplicated(pa.concat_tables([pq.read_table(path) for path in parts], promote_options="default"))
    newest = parts[-1].stat()
    merged = write(folder, table.to_batches(), SampleRange(partition, first, last, _hash_of(parts[0])))
    # As old as its newest part: trimming goes by age.
    os.utime(merged, ns=(newest.st_atime_ns, newest.st_mtime_ns))
    # A crash before the parts are gone leaves rows twice: reading takes them once, and the next merge drops them.
    replaced = [path for path in parts if path != merged]
    for path in replaced:
        path.unlink(missing_ok=True)
    return len(replaced)


def trim(folder: Path, max_rows: int) -> int:
    """Delete the oldest files until at most `max_rows` rows are left (the newest file always stays); rows deleted.

    Where another worker merges or trims at the same time, the work is left to it.
    """
    deleted = 0
    try:
        retained = files(folder)
        sizes = [pq.read_metadata(path).num_rows for path in retained]
        while len(retained) > 1 and sum(sizes) > max_rows:
            retained.pop(0).unlink()
            deleted += sizes.pop(0)
    except FileNotFoundError:
        return deleted
    return deleted


def count(folder: Path, feature_hash: str) -> int:
    """Rows of one feature set in the store, those that are in two files twice; Failed where it changes all the time."""
    for _attempt in range(READ_ATTEMPTS):
        try:
            return sum(pq.read_metadata(path).num_rows for path in files(folder) if _hash_of(path) == feature_hash)
        except FileNotFoundError:  # merged or trimmed since it was listed
            continue
    raise _changing(folder)


def read(
    folder: Path,
    feature_hash: str,
    select: Callable[[pa.Table], npt.NDArray[np.bool_]] | None = None,
    keys: Sequence[str] = (),
) -> pa.Table:
    """Samples of one feature set, each raw position once, in order of event time; without columns where there are none.

    Samples of another feature set are left out: their columns mean something else. The worker may merge and trim files
    meanwhile: what was in the store from the beginning to the end is read. Failed where that cannot be done.

    Parameters
    ----------
    select : which rows of a file to read, by its columns `keys`; all where None. Only these are held in memory.
    """
    parts: dict[str, pa.Table | None] = {}
    for _attempt in range(READ_ATTEMPTS):
        if not _read_new(folder, parts, feature_hash, select, keys):
            break
    else:
        raise _changing(folder)
    # Files of an earlier version lack columns that may be null.
    plain = [part.replace_schema_metadata() for part in parts.values() if part is not None]
    if not plain:
        return pa.table({})
    table = _deduplicated(pa.concat_tables(plain, promote_options="default"))
    return table.take(pc.sort_indices(table, [(name, "ascending") for name in ("end_ts_us", *RAW_POSITION)]))


def _read_new(
    folder: Path,
    parts: dict[str, pa.Table | None],
    feature_hash: str,
    select: Callable[[pa.Table], npt.NDArray[np.bool_]] | None,
    keys: Sequence[str],
) -> bool:
    """Read the files that are not among `parts`, by name, and add them; True where one was gone before it was read.

    Its rows are then in a merged file, which a new list has: files that were read are not read again.
    """
    missed = False
    for path in files(folder):
        if path.name in parts:
            continue
        try:
            part = None
            if _hash_of(path) == feature_hash:
                if select is None:
                    part = pq.read_table(path)
                elif (wanted := select(pq.read_table(path, columns=list(keys)))).any():
                    part = pq.read_table(path).filter(pa.array(wanted))
            parts[path.name] = part
        except FileNotFoundError:
            missed = True
    return missed


def _changing(folder: Path) -> Failed:
    return Failed(
        f"samples {folder}: files were merged or trimmed {READ_ATTEMPTS} times while they were read; try again, or "
        "stop the retrain worker meanwhile"
    )


def _deduplicated(table: pa.Table) -> pa.Table:
    """Each raw position once, the last of equal ones; by raw position."""
    keys = np.stack([table.column(name).to_numpy().astype(np.int64) for name in RAW_POSITION])
    order = np.lexsort(keys[::-1])
    ordered = keys[:, order]
    last = np.ones(order.size, np.bool_)
    last[:-1] = (ordered[:, 1:] != ordered[:, :-1]).any(axis=0)
    return table.take(pa.array(order[last]))


def _hash_of(path: Path) -> str:
    metadata = pq.read_schema(path).metadata or {}
    return str(metadata.get(b"feature_hash", b"").decode())


def require(rows: int, folder: Path) -> int:
    """The number of rows; BadData where there are none."""
    if rows == 0:
        raise BadData(
            f"{folder}: no samples of this feature set; let `forebay retrain run` collect some while flows are scored"
        )
    return rows
