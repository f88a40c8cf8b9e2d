import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.errors import BadData
from pipeline.retrain import samples
from pipeline.retrain.samples import Stretch
from pipeline.wire.batches import matrix_column
from schemas.fields import arrow_schema

SCHEMA = arrow_schema("scored", 3)


def scored(offsets: range) -> pa.RecordBatch:
    rows = len(offsets)
    columns = []
    for field in SCHEMA:
        if field.name == "features":
            columns.append(matrix_column(np.ones((rows, 3), np.float32)))
        elif field.name in ("raw_offset", "end_ts_us"):
            columns.append(pa.array(list(offsets), field.type))
        else:
            columns.append(pa.array([{pa.string(): "x", pa.bool_(): True}.get(field.type, 1)] * rows, field.type))
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def test_each_raw_position_is_read_once_and_in_order_of_event_time(tmp_path: Path) -> None:
    samples.write(tmp_path, [scored(range(5, 10)), scored(range(5))], Stretch(0, 1, 2, "h"))
    samples.write(tmp_path, [scored(range(8, 12))], Stretch(0, 2, 3, "h"))
    table = samples.read(tmp_path, "h")
    assert table.column("raw_offset").to_pylist() == list(range(12))
    assert table.column("features").type.list_size == 3


def test_samples_of_another_feature_set_are_left_out(tmp_path: Path) -> None:
    samples.write(tmp_path, [scored(range(3))], Stretch(0, 1, 2, "old"))
    assert samples.read(tmp_path, "new").num_rows == 0
    with pytest.raises(BadData, match="no samples of this feature set"):
        samples.require(samples.read(tmp_path, "new"), tmp_path)


def test_the_oldest_files_go_first_and_one_stays(tmp_path: Path) -> None:
    for number in range(3):
        path = samples.write(tmp_path, [scored(range(number * 10, number * 10 + 10))], Stretch(0, number, number, "h"))
        os.utime(path, ns=(number, number))
    assert samples.trim(tmp_path, 25) == 10
    assert min(samples.read(tmp_path, "h").column("raw_offset").to_pylist()) == 10
    assert samples.trim(tmp_path, 1) == 10
    assert samples.read(tmp_path, "h").num_rows == 10


def test_a_half_written_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "p0-000000000001-000000000002.partial").write_bytes(b"PAR1")
    assert samples.read(tmp_path, "h").num_rows == 0
    assert samples.files(tmp_path / "nowhere") == []
