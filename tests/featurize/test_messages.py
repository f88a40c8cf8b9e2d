"""One flows message that releases much becomes several features messages, none of which Kafka refuses."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pytest

from pipeline.contracts.envelope import SensorWatermark
from pipeline.featurize.messages import Cutting, split_message
from pipeline.featurize.partition import PartitionState, advance_partition
from pipeline.featurize.worker import Featurize
from pipeline.ingest.scan.text import MAX_TEXT_BYTES
from pipeline.runtime.faust.stage import Incoming
from pipeline.runtime.kafka.clients import MAX_MESSAGE_BYTES
from pipeline.runtime.telemetry import Telemetry
from pipeline.runtime.wire.batches import decode, matrix_column
from pipeline.runtime.wire.messages import write
from pipeline.settings import load_settings
from schemas.fields import arrow_schema
from tests.contracts.facts import features_facts, flows_facts
from tests.featurize.flows import SECOND, saved_again
from tests.featurize.flows import batch as flows_batch
from tests.runtime.wire.earlier import written_plain, written_with_facts_in_its_schema

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
    parts = split_message(batch, FACTS, Cutting(max_rows=40))
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
    assert [len(part.rows) for part in split_message(features(100), FACTS, Cutting(max_rows=98))] == [50, 50]


@pytest.mark.parametrize("written", [written_plain, written_with_facts_in_its_schema])
def test_what_a_message_of_an_earlier_version_releases_is_cut_as_that_one_cut_it(
    written: Callable[[pa.RecordBatch, bytes], bytes], tmp_path: Path
) -> None:
    """It was killed behind its saved state: score knows by its seq, alone, what it has of what is sent again."""
    flows = flows_batch([{"at": float(second)} for second in range(7_000)])
    facts = flows_facts(ended=(("plant", "left"),))
    settings = load_settings(bootstrap="127.0.0.1:1", state_uri=tmp_path, registry_uri=tmp_path, metrics_port=-1)
    stage = Featurize(settings, Telemetry("featurize", settings))

    def sent(value: bytes) -> list[pa.RecordBatch]:
        _, outgoing = stage.advance(PartitionState.empty(), Incoming(0, 0, 0, None, value, {}))
        return [decode(each.value or b"", "features")[0] for each in outgoing if each.topic == settings.topics.features]

    now, before = sent(write(flows, facts)), sent(written(flows, orjson.dumps(facts.document())))
    assert pa.Table.from_batches(before).equals(pa.Table.from_batches(now))
    assert [len(rows) for rows in before] == [3_024, 3_024, 952]  # as the last version without frames does
    assert [len(rows) for rows in now] == [3_500, 3_500]


def test_large_rows_make_more_messages() -> None:
    batch = features(100)
    assert len(split_message(batch, FACTS, Cutting(max_bytes=batch.nbytes // 3))) >= 3


@pytest.mark.parametrize("alike", [True, False])
def test_equal_rows_are_cut_alike_however_they_lie_in_memory(alike: bool) -> None:
    """What is sent again carries the seq it had: other messages were beside it, or its rows waited in a saved state."""
    batch, told = features(1_000), {"src_port": 7, "conn_state": "SF", "fwd_ttl_mean": 1.0}
    columns = [
        pa.array([None] * 500 + [told[field.name]] * 500, field.type) if field.name in told else batch.column(at)
        for at, field in enumerate(batch.schema)
    ]
    beside_nulls = pa.RecordBatch.from_arrays(columns, schema=batch.schema)
    rows = beside_nulls.slice(500)
    picked = rows.take(pa.array(range(500)))
    laid_out = [picked, pa.concat_batches([picked]), pa.concat_batches([picked]).take(pa.array(range(500)))]
    for max_bytes in range(9_001, picked.nbytes, 2_503):
        cutting = Cutting(max_bytes=max_bytes, alike=alike)
        cuts = [[len(part.rows) for part in split_message(each, FACTS, cutting)] for each in laid_out]
        assert cuts == [cuts[0]] * len(laid_out), max_bytes


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
            state, flows, flows_facts(ended=ended), offset, lambda _site: 60 * SECOND, cutting=Cutting(max_rows=4)
        )
        numbers += [features.facts.seq for features in made]
        state = saved_again(state)
    # Nothing is due; both messages' ten flows are; nothing is due again.
    assert numbers == list(range(5)) and state.seq == 5
