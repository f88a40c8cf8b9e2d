"""The sample store: rows of the topic `retrain` as Parquet files, newest kept, each row once by its raw position.

A file is named by what is in it, `p<partition>-<first seq>-<last seq>.parquet`, and is written whole or not at all.
After a crash some rows may be read and written again under another name; reading takes each raw position once.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import BadData

POSITION = ("raw_partition", "raw_offset", "raw_index")
FILE = re.compile(r"p(\d+)-(\d+)-(\d+)\.parquet")


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive messages of one partition and one feature set."""

    partition: int
    first_seq: int
    last_seq: int
    feature_hash: str


def write(folder: Path, batches: Sequence[pa.RecordBatch], stretch: Stretch) -> Path:
    """Write one file of samples; a file of that name is replaced by its like."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"p{stretch.partition}-{stretch.first_seq:012d}-{stretch.last_seq:012d}.parquet"
    plain = [batch.replace_schema_metadata({"feature_hash": stretch.feature_hash}) for batch in batches]
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        pq.write_table(pa.Table.from_batches(plain), file, compression="zstd")
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    return path


def files(folder: Path) -> list[Path]:
    """The store's files, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(
        (path for path in folder.iterdir() if FILE.fullmatch(path.name)),
        key=lambda path: (path.stat().st_mtime_ns, path),
    )


def trim(folder: Path, max_rows: int) -> int:
    """Delete the oldest files until at most `max_rows` rows are left (the newest file always stays); rows deleted."""
    kept = files(folder)
    sizes = [pq.read_metadata(path).num_rows for path in kept]
    deleted = 0
    while len(kept) > 1 and sum(sizes) > max_rows:
        deleted += sizes.pop(0)
        kept.pop(0).unlink()
    return deleted


def read(folder: Path, feature_hash: str) -> pa.Table:
    """All samples of one feature set, each raw position once, in order of event time; empty where there are none.

    Samples of another feature set are left out: their columns mean something else.
    """
    wanted = [path for path in files(folder) if _hash_of(path) == feature_hash]
    if not wanted:
        return pa.table({})
    table = pa.concat_tables([pq.read_table(path).replace_schema_metadata() for path in wanted])
    ordered = table.take(pc.sort_indices(table, [(name, "ascending") for name in ("end_ts_us", *POSITION)]))
    keys = np.stack([ordered.column(name).to_numpy() for name in POSITION])
    # Equal positions have equal rows, and so stand beside each other.
    first = np.ones(ordered.num_rows, np.bool_)
    first[1:] = (keys[:, 1:] != keys[:, :-1]).any(axis=0)
    return ordered.filter(pa.array(first))


def _hash_of(path: Path) -> str:
    metadata = pq.read_schema(path).metadata or {}
    return str(metadata.get(b"feature_hash", b"").decode())


def require(table: pa.Table, folder: Path) -> pa.Table:
    """The table; BadData where it has no rows."""
    if table.num_rows == 0:
        raise BadData(
            f"{folder}: no samples of this feature set; let `forebay retrain run` collect some while flows are scored"
        )
    return table
