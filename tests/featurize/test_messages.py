"""One flows message that releases much becomes several features messages, none of which Kafka refuses."""

import numpy as np
import pyarrow as pa
import pytest

from pipeline.featurize.partition import PartitionState, messages, numbered
from pipeline.runtime.wire.batches import matrix_column
from schemas.fields import arrow_schema

FACTS = {
    "seq": 7,
    "frontier": [900, 0],
    "through": [999, 0],
    "first": [0, 0],
    "records": 120,
    "rejected": 20,
    "watermarks": [["s", "n", 5]],
    "ended": [["s", "n"]],
}


def features(rows: int) -> pa.RecordBatch:
    schema = arrow_schema("features", 3)
    columns = []
    for field in schema:
        if field.name == "features":
            columns.append(matrix_column(np.zeros((rows, 3), np.float32)))
        elif field.name == "raw_offset":
            columns.append(pa.array(range(100, 100 + rows), field.type))
        elif field.nullable:
            columns.append(pa.nulls(rows, field.type))
        else:
            columns.append(pa.array(["" if pa.types.is_string(field.type) else 0] * rows).cast(field.type))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def test_what_fits_is_one_message_as_it_was() -> None:
    batch = features(40)
    [(rows, facts)] = messages(batch, FACTS)
    assert rows.equals(batch)
    assert facts == FACTS


@pytest.mark.parametrize("rows", [41, 80, 100])
def test_what_does_not_fit_is_cut_and_states_everything_once(rows: int) -> None:
    batch = features(rows)
    parts = messages(batch, FACTS, rows=40)
    assert pa.Table.from_batches([part for part, _ in parts]).combine_chunks().to_batches()[0].equals(batch)
    assert [facts["seq"] for _, facts in parts] == list(range(7, 7 + len(parts)))
    assert sum(facts["records"] for _, facts in parts) == 120
    assert [facts["rejected"] for _, facts in parts] == [0] * (len(parts) - 1) + [20]
    assert all(facts["ended"] == facts["watermarks"] == [] for _, facts in parts[:-1])
    # Nothing below the frontier is still on its way.
    assert all(facts["frontier"] == [100, 0] and facts["through"] is None for _, facts in parts[:-1])
    assert {name: parts[-1][1][name] for name in ("ended", "watermarks", "through", "frontier")} == {
        name: FACTS[name] for name in ("ended", "watermarks", "through", "frontier")
    }
    assert numbered(PartitionState({}, 8), len(parts)).seq == 7 + len(parts)


def test_large_rows_make_more_messages() -> None:
    batch = features(100)
    assert len(messages(batch, FACTS, size=batch.nbytes // 3)) >= 3
