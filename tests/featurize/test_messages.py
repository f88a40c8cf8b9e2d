"""One flows message that releases much becomes several features messages, none of which Kafka refuses."""

import numpy as np
import pyarrow as pa
import pytest

from pipeline.contracts.envelope import SensorWatermark
from pipeline.featurize.partition import PartitionState, advance_partition, split_message
from pipeline.ingest.scan.text import MAX_TEXT_BYTES
from pipeline.runtime.kafka.topics import MAX_MESSAGE_BYTES
from pipeline.runtime.wire.batches import matrix_column
from pipeline.runtime.wire.messages import write
from schemas.fields import arrow_schema
from tests.contracts.facts import features_facts, flows_facts
from tests.featurize.flows import SECOND, saved_again
from tests.featurize.flows import batch as flows_batch

FACTS = features_facts(
    seq=7,
    frontier=(900, 0),
    through=(999, 0),
    records=120,
    rejected=20,
    watermarks=(SensorWatermark("s", "n", 5),),
    ended=(("s", "n"),),
)


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
    assert split_message(batch, FACTS) == [(batch, FACTS)]


@pytest.mark.parametrize("rows", [41, 80, 100])
def test_what_does_not_fit_is_cut_and_states_everything_once(rows: int) -> None:
    batch = features(rows)
    parts = split_message(batch, FACTS, max_rows=40)
    assert pa.Table.from_batches([part.rows for part in parts]).combine_chunks().to_batches()[0].equals(batch)
    facts = [part.facts for part in parts]
    assert [each.seq for each in facts] == list(range(7, 7 + len(parts)))
    assert sum(each.records for each in facts) == 120
    assert [each.rejected for each in facts] == [0] * (len(parts) - 1) + [20]
    assert not any(each.ended or each.watermarks for each in facts[:-1])
    # Nothing below the frontier is still on its way.
    assert all(each.frontier == (100, 0) and each.through is None for each in facts[:-1])
    last = facts[-1]
    assert (last.ended, last.watermarks, last.through, last.frontier) == (
        *(FACTS.ended, FACTS.watermarks),
        *(FACTS.through, FACTS.frontier),
    )


def test_parts_are_of_one_size() -> None:
    assert [len(part.rows) for part in split_message(features(100), FACTS, max_rows=98)] == [50, 50]


def test_large_rows_make_more_messages() -> None:
    batch = features(100)
    assert len(split_message(batch, FACTS, max_bytes=batch.nbytes // 3)) >= 3


def test_rows_that_are_larger_than_most_make_messages_that_kafka_takes() -> None:
    """A sensor whose texts are as long as may be, and like no others, sends beside many whose are not."""
    batch = features(90_000)
    letters = np.random.default_rng(3).integers(33, 127, 3_000 * MAX_TEXT_BYTES, np.uint8).tobytes().decode("ascii")
    long_texts = [letters[start : start + MAX_TEXT_BYTES] for start in range(0, len(letters), MAX_TEXT_BYTES)]
    texts = pa.array([""] * 87_000 + long_texts)
    long = {name: texts for name in ("app_proto", "sensor_uid", "history")}
    batch = pa.RecordBatch.from_arrays(
        [long.get(name, batch.column(name)) for name in batch.schema.names], schema=batch.schema
    )
    parts = split_message(batch, FACTS)
    assert max(len(write(part.rows, part.facts)) for part in parts) < MAX_MESSAGE_BYTES * 0.8, "score adds columns"
    assert pa.Table.from_batches([part.rows for part in parts]).equals(pa.Table.from_batches([batch]))
    assert [part.facts.seq for part in parts] == list(range(7, 7 + len(parts)))
    assert [part.facts.records for part in parts] == [120] + [0] * (len(parts) - 1)
    assert [part.facts.through is None for part in parts] == [True] * (len(parts) - 1) + [False]
    # Where rows are of one size the cuts are where they were.
    assert {len(part.rows) for part in parts[:10]} == {len(parts[0].rows)}


def test_numbers_continue_after_a_message_that_was_cut() -> None:
    """The state knows how many messages it made: nobody corrects its number afterwards."""
    state, numbers = PartitionState.empty(), []
    for offset, ended in enumerate([(), (("plant", "left"),), ()]):
        flows = flows_batch([{"at": float(second)} for second in range(5)], first_offset=offset * 5)
        state, made = advance_partition(
            state, flows, flows_facts(ended=ended), offset, lambda _site: 60 * SECOND, max_rows=4
        )
        numbers += [features.facts.seq for features in made]
        state = saved_again(state)
    # Nothing is due; both messages' ten flows are; nothing is due again.
    assert numbers == list(range(5)) and state.seq == 5
