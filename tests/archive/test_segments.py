"""Segments hold the columns that have values, and give back the rows that were written."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.archive import segments
from pipeline.archive.pieces import Piece
from pipeline.archive.streams import OpenFile, StreamKey
from pipeline.runtime.storage.location import open_storage
from pipeline.runtime.storage.storage import no_step
from pipeline.runtime.wire.batches import BLANK_ROWS, blank_row, matrix_column


def rows(table: str, count: int, values: dict[str, object]) -> pa.RecordBatch:
    batch = blank_row(table, {"site": "s", "sensor": "a", **values}).take(pa.array(np.zeros(count, np.int64)))
    if table == "scored":
        features = matrix_column(np.zeros((count, 2), np.float32))
        batch = batch.append_column(pa.field("features", features.type, nullable=False), features)
    return batch.replace_schema_metadata({b"feature_set": b"f"})


@pytest.mark.parametrize(
    ("table", "stream", "column", "value"),
    [
        ("scored", "flows", "vlan_id", 7),
        ("scored", "flows", "ics_units", [1, 2]),
        ("reject", "rejects", "source_record", 3),
    ],
)
def test_a_column_without_values_is_left_out_and_comes_back(
    table: str, stream: str, column: str, value: object, tmp_path: Path
) -> None:
    archive = open_storage(tmp_path)
    none: dict[str, object] = {}
    for number, second in enumerate([none, {column: value}]):
        batches = [rows(table, 5, none), rows(table, BLANK_ROWS + 1, second)]
        pieces = [Piece.of(batch, None) for batch in batches]
        file = OpenFile(StreamKey(stream, "s", "a"), 0, batches[0].schema, pieces=pieces)
        [entry] = segments.write(archive, 0, number, [file], {None}, no_step)
        with pa.ipc.open_file(archive.mapped(entry.path)) as stored:
            assert set(stored.schema.names) == {
                field.name for field in batches[0].schema if not field.nullable or field.name in second
            }
        parts = [part for _key, part in segments.read(archive, entry, True)]
        read, wrote = pa.Table.from_batches(parts), pa.Table.from_batches(batches)
        assert read.schema.equals(wrote.schema, check_metadata=True)
        for name in wrote.schema.names:
            assert read.column(name).null_count == wrote.column(name).null_count, name
        assert read.column(column).drop_null().to_pylist() == wrote.column(column).drop_null().to_pylist()
