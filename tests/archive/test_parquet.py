"""How columns are written: each as the tables of encodings say, lists too, and what is read is what was written."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.archive.parquet import ENCODED, MANY_VALUES, writer_options
from pipeline.runtime.wire.batches import blank_row, matrix_column

FEATURES = pa.field("features", pa.list_(pa.field("item", pa.float32(), nullable=False), 3), nullable=False)


def scored() -> pa.Table:
    values = {"raw_also": [7, 0, 8, 1], "ics_units": [1, 2], "ics_functions": [3, 16]}
    rows = pa.Table.from_batches([blank_row("scored", values)] * 20)
    return rows.append_column(FEATURES, matrix_column(np.arange(60, dtype=np.float32).reshape(20, 3)))


@pytest.mark.parametrize(
    "rows", [scored(), pa.Table.from_batches([blank_row("reject")] * 20)], ids=["scored", "reject"]
)
def test_every_column_is_written_as_the_tables_say(rows: pa.Table) -> None:
    file = pa.BufferOutputStream()
    with pq.ParquetWriter(file, rows.schema, **writer_options(rows.schema)) as writer:
        writer.write_table(rows)
    with pq.ParquetFile(pa.BufferReader(file.getvalue())) as written:
        assert written.read().equals(rows)
        group = written.metadata.row_group(0)
        columns = [group.column(index) for index in range(group.num_columns)]
    assert len(columns) == len(rows.schema)
    for name, column in zip(rows.schema.names, columns, strict=True):
        assert column.compression == ("ZSTD" if name in ENCODED or name in MANY_VALUES else "SNAPPY"), name
        if name in ENCODED:
            assert ENCODED[name] in column.encodings and not column.has_dictionary_page, name
        else:
            assert column.has_dictionary_page or column.physical_type == "BOOLEAN", name
