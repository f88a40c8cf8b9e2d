"""Flows messages as ingest writes them: two sensors a partition, rows out of order and late, a source that ends."""

from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.contracts.lateness import StatedLateness
from pipeline.runtime.wire.messages import write
from schemas.fields import arrow_schema
from tests.contracts.facts import flows_facts

START_US = 1_700_000_000_000_000


def messages(count: int, partition: int, rows: int = 40, seed: int = 7, stated: bool = False) -> list[bytes]:
    """`count` flows messages of one partition; their raw ranges follow each other.

    stated: `west` has two sources, of which one has a lateness that grows; `east` one that states 0 now and then.
    """
    return [
        _message(number, partition, rows, np.random.default_rng([seed, partition, number]), stated)
        for number in range(count)
    ]


def _stated(number: int) -> tuple[StatedLateness, ...]:
    first, west_us = number * 100, 3_000_000 if number < 40 else 8_000_000
    west = StatedLateness("plant", "west", first + 10, west_us), StatedLateness("plant", "west", first + 25, None)
    return (*west, StatedLateness("plant", "east", first + 30, 0)) if number % 3 else west


def _message(number: int, partition: int, rows: int, source: np.random.Generator, stated: bool) -> bytes:
    if number % 10 == 9:
        rows = 0  # a tick
    offsets = number * 100 + np.arange(rows)
    # 20 ms a row; one in ten overtaken by up to a second, one in fifty late by more than the lateness of 2 s.
    behind_us = np.where(source.random(rows) < 0.1, source.integers(0, 1_000_000, rows), 0)
    behind_us = np.where(source.random(rows) < 0.02, source.integers(3_000_000, 9_000_000, rows), behind_us)
    end_us = START_US + offsets * 20_000 - behind_us
    duration_us = source.integers(0, 500_000, rows)
    values: dict[str, Any] = {
        "raw_partition": np.full(rows, partition, np.int32),
        "raw_offset": offsets,
        "raw_index": np.zeros(rows, np.int32),
        "record_id": source.integers(0, 2**63, rows).astype(np.uint64),
        "site": ["plant"] * rows,
        "sensor": np.where(source.random(rows) < 0.5, "east", "west"),
        "source_type": ["zeek"] * rows,
        "record_kind": ["end"] * rows,
        "is_biflow": [True] * rows,
        "start_ts_us": end_us - duration_us,
        "end_ts_us": end_us,
        "duration_us": duration_us,
        "ether_type": np.full(rows, 0x0800),
        "ip_proto": np.full(rows, 6),
        "src_addr": [f"10.0.0.{n}" for n in source.integers(1, 20, rows)],
        "dst_addr": [f"10.0.1.{n}" for n in source.integers(1, 5, rows)],
        "src_port": source.integers(1024, 65536, rows),
        "dst_port": source.choice([102, 502, 4840], rows),
        "byte_semantics": ["payload"] * rows,
        "conn_state": source.choice(["SF", "S0", "REJ"], rows, p=[0.9, 0.05, 0.05]),
        "fwd_bytes": source.integers(0, 5000, rows),
        "rev_bytes": source.integers(0, 5000, rows),
        "fwd_pkts": source.integers(1, 50, rows),
        "rev_pkts": source.integers(0, 50, rows),
    }
    schema = arrow_schema("flow")
    batch = pa.RecordBatch.from_arrays(
        [_column(field, values.get(field.name), rows) for field in schema], schema=schema
    )
    facts = flows_facts(
        raw_partition=partition,
        first=(number * 100, 0),
        last=(number * 100 + 99, 0),
        records=rows,
        ended=(("plant", "east"),) if number % 25 == 24 else (),
        lateness=_stated(number) if stated else (),
    )
    return write(batch, facts)


def _column(field: pa.Field, values: Any, rows: int) -> pa.Array:
    if values is not None:
        return pa.array(values, field.type)
    if field.nullable:
        return pa.nulls(rows, field.type)
    return pa.array([""] * rows if pa.types.is_string(field.type) else [0] * rows, field.type)
