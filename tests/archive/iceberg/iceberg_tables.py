"""Archives and their Iceberg copies for tests, and what the copy should hold, computed row by row."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
from pyiceberg.catalog import Catalog

from pipeline.archive import snapshot
from pipeline.archive.closed_rows import ClosedRows
from pipeline.archive.iceberg.copy import copy
from pipeline.archive.iceberg.proof import prove
from pipeline.archive.iceberg.warehouse import opened
from pipeline.archive.partition import PartitionArchive
from pipeline.archive.streams import TABLES, Limits
from pipeline.contracts.envelope import ScoredFacts
from pipeline.runtime.storage.location import open_storage
from pipeline.runtime.wire.messages import read, write
from tests.archive.plant import MEMORY, Wire, feed, random_log, wire
from tests.contracts.facts import at

SENSORS = (("plant", "left"), ("plant", "right"), ("other", "left"))
LIMITS = Limits(rows=8)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def topics(seed: int, messages: int = 12) -> Wire:
    """The messages of a random log in the topics; every id uses its 64 bits."""
    sent = wire(random_log(Random(seed), messages, SENSORS), range(0, messages, 4))
    ids = np.random.default_rng(seed)
    return Wire([_with_ids(payload, ids) for payload in sent.archive], sent.rejects)


def _with_ids(payload: bytes, ids: np.random.Generator) -> bytes:
    batch, facts = read(payload, ScoredFacts, at("archive"))
    column = pa.array(ids.integers(0, 2**64, len(batch), np.uint64, endpoint=False))
    index = batch.schema.get_field_index("record_id")
    return write(batch.set_column(index, batch.schema.field(index), column), facts)


@cache
def _written(seed: int) -> dict[str, bytes]:
    with TemporaryDirectory(dir=MEMORY) as folder:
        feed(PartitionArchive(folder, 0, LIMITS, "w"), topics(seed), Random(1))
        storage = open_storage(folder)
        return {name: storage.read(name) for name in storage.names("")}


def archive(folder: Path, seed: int = 5) -> Path:
    """A whole archive, made once."""
    for name, data in _written(seed).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


@contextmanager
def warehouse(folder: Path) -> Iterator[Catalog]:
    with opened(str(folder), {}) as catalog:
        yield catalog


def copied(source: Path, folder: Path, **options: Any) -> dict[str, dict[str, int]]:
    with warehouse(folder) as catalog:
        return copy(source, catalog, **options)


def expected(source: Path | str) -> dict[str, list[dict[str, Any]]]:
    """Every row that the archive still has, as its table should hold it."""
    by_table: dict[str, list[dict[str, Any]]] = {table: [] for table in TABLES}
    reader = ClosedRows(source)
    for state in snapshot.read(source):
        for entry in state.readable:
            for row in reader.read(state.locations[entry.path]).to_pylist():
                at_us = row["ingest_ts_us" if entry.table == "rejects" else "end_ts_us"]
                if "record_id" in row:
                    row["record_id"] = Decimal(row["record_id"])
                day = entry.path.split("date=")[1].split("/")[0]
                row |= {
                    "archive_file": entry.path,
                    "archive_date": None if day == "mixed" else date.fromisoformat(day),
                    "ts": EPOCH + timedelta(microseconds=at_us),
                }
                by_table[entry.table].append(row)
    return {table: in_order(some) for table, some in by_table.items()}


def in_order(some: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(some, key=lambda row: (row["raw_partition"], row["raw_offset"], row["raw_index"]))


def contents(catalog: Catalog) -> dict[str, list[dict[str, Any]]]:
    """Every row of the tables."""
    return {table: in_order(catalog.load_table(f"forebay.{table}").scan().to_arrow().to_pylist()) for table in TABLES}


def check(source: Path | str, catalog: Catalog) -> None:
    """The tables hold the archive's rows, each once, and the proof agrees."""
    assert contents(catalog) == expected(source)
    proof = prove(source, catalog)
    assert proof["problems"] == []
    assert [row["behind"] for row in proof["tables"]] == [0, 0, 0]
