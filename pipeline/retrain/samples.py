"""The sample store: rows of the topic `retrain` as Parquet files, newest kept, each row once by its raw position.

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

from pipeline.errors import BadData
from pipeline.runtime.files import disk_full_as_failed, write_atomic

POSITION = ("raw_partition", "raw_offset", "raw_index")
FILE = re.compile(r"p(\d+)-(\d+)-(\d+)-([0-9a-zA-Z]{0,12})\.parquet")
MERGE_AT_FILES = 32
MERGED_ROWS = 200_000


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive messages of one partition and one feature set."""

    partition: int
    first_seq: int
    last_seq: int
    feature_hash: str

    @property
    def name(self) -> str:
        """The file's name."""
        return f"p{self.partition}-{self.first_seq:012d}-{self.last_seq:012d}-{self.feature_hash[:12]}.parquet"


def write(folder: Path, batches: Sequence[pa.RecordBatch], stretch: Stretch) -> Path:
    """Write one file of samples; a file of that name is replaced by its like. Failed where the disk is full."""
    path = folder / stretch.name
    plain = [batch.replace_schema_metadata({"feature_hash": stretch.feature_hash}) for batch in batches]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_batches(plain), sink, compression="zstd")
    with disk_full_as_failed("samples", folder):
        write_atomic(path, bytes(sink.getvalue()))
    return path


def files(folder: Path) -> list[Path]:
    """The store's files, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(
        (path for path in folder.iterdir() if FILE.fullmatch(path.name)),
        key=lambda path: (path.stat().st_mtime_ns, path),
    )


def merge(folder: Path) -> int:
    """Make one file of a partition's small ones where there are many; how many files that saved."""
    small: dict[tuple[str, str], list[Path]] = defaultdict(list)
    for path in files(folder):
        if pq.read_metadata(path).num_rows < MERGED_ROWS // MERGE_AT_FILES:
            partition, _, _, feature_set = FILE.fullmatch(path.name).groups()  # type: ignore[union-attr]
            small[partition, feature_set].append(path)
    saved = 0
    for (partition, _), parts in small.items():
        if len(parts) < MERGE_AT_FILES:
            continue
        ranges = [FILE.fullmatch(path.name).groups() for path in parts]  # type: ignore[union-attr]
        first, last = min(int(one[1]) for one in ranges), max(int(one[2]) for one in ranges)
        table = _once(pa.concat_tables([pq.read_table(path) for path in parts], promote_options="default"))
        newest = parts[-1].stat()
        merged = write(folder, table.to_batches(), Stretch(int(partition), first, last, _hash_of(parts[0])))
        # As old as its newest part: trimming goes by age.
        os.utime(merged, ns=(newest.st_atime_ns, newest.st_mtime_ns))
        # A crash before the parts are gone leaves rows twice: reading takes them once, and the next merge drops them.
        for path in parts:
            if path != merged:
                path.unlink()
                saved += 1
    return saved


def trim(folder: Path, max_rows: int) -> int:
    """Delete the oldest files until at most `max_rows` rows are left (the newest file always stays); rows deleted."""
    kept = files(folder)
    sizes = [pq.read_metadata(path).num_rows for path in kept]
    deleted = 0
    while len(kept) > 1 and sum(sizes) > max_rows:
        deleted += sizes.pop(0)
        kept.pop(0).unlink()
    return deleted


def count(folder: Path, feature_hash: str) -> int:
    """Rows of one feature set in the store, those that are in two files twice."""
    return sum(pq.read_metadata(path).num_rows for path in files(folder) if _hash_of(path) == feature_hash)


def read(
    folder: Path,
    feature_hash: str,
    keep: Callable[[pa.Table], npt.NDArray[np.bool_]] | None = None,
    keys: Sequence[str] = (),
) -> pa.Table:
    """Samples of one feature set, each raw position once, in order of event time; without columns where there are none.

    Samples of another feature set are left out: their columns mean something else.

    Parameters
    ----------
    keep : which rows of a file to read, by its columns `keys`; all where None. Only what is kept is held in memory.
    """
    parts = []
    for path in files(folder):
        if _hash_of(path) != feature_hash:
            continue
        if keep is None:
            parts.append(pq.read_table(path))
        elif (wanted := keep(pq.read_table(path, columns=list(keys)))).any():
            parts.append(pq.read_table(path).filter(pa.array(wanted)))
    if not parts:
        return pa.table({})
    # Files of an earlier version lack columns that may be null.
    plain = [part.replace_schema_metadata() for part in parts]
    table = _once(pa.concat_tables(plain, promote_options="default"))
    return table.take(pc.sort_indices(table, [(name, "ascending") for name in ("end_ts_us", *POSITION)]))


def _once(table: pa.Table) -> pa.Table:
    """Each raw position once, the one that stands last; by raw position."""
    keys = np.stack([table.column(name).to_numpy().astype(np.int64) for name in POSITION])
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
