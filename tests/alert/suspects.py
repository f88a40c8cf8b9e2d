"""Scored batches for the tests: a few columns are set, the rest filled with something valid."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.alert.members import Members, members_of
from pipeline.runtime.wire.batches import matrix_column
from schemas.fields import arrow_schema

START_US = 1_678_443_600_000_000
SECOND = 1_000_000
WIDTH = 4

PLAIN: dict[str, Any] = {
    "raw_partition": 0,
    "raw_index": 0,
    "site": "plant",
    "sensor": "left",
    "source_type": "zeek",
    "record_kind": "end",
    "is_biflow": True,
    "ingest_ts_us": START_US + 3600 * SECOND,
    "ether_type": 0x0800,
    "ip_proto": 6,
    "src_addr": "198.18.134.11",
    "dst_addr": "198.18.134.15",
    "dst_port": 502,
    "byte_semantics": "ip",
    "conn_state": "SF",
    "quality": "",
    "late_by_us": 0,
    "score": 0.9,
    "class": "portscan",
    "novelty": 3.5,
    "p_value": 0.001,
    "suspect": True,
    "model": "igan-0123456789ab",
}


def scored(rows: Sequence[dict[str, Any]], features: npt.NDArray[np.float64] | None = None) -> pa.RecordBatch:
    """A batch of schema `scored`. A row's `at`: its end in seconds after START_US; raw_offset counts up."""
    values = np.zeros((len(rows), WIDTH), np.float32) if features is None else features.astype(np.float32)
    filled = []
    for number, row in enumerate(rows):
        offset = row.get("raw_offset", number)
        full = {**PLAIN, "raw_offset": offset, "source_record": offset, "record_id": offset, **row}
        at = full.pop("at", 0.0)
        full.setdefault("end_ts_us", START_US + round(at * SECOND))
        full.setdefault("start_ts_us", full["end_ts_us"] - 1000)
        full.setdefault("duration_us", full["end_ts_us"] - full["start_ts_us"])
        filled.append(full)
    schema = arrow_schema("scored")
    columns = []
    for field in schema:
        default = None if field.nullable else 0
        columns.append(pa.array([row.get(field.name, default) for row in filled], field.type))
    schema = arrow_schema("scored", values.shape[1])
    return pa.RecordBatch.from_arrays([*columns, matrix_column(values)], schema=schema)


def members(rows: Sequence[dict[str, Any]], features: npt.NDArray[np.float64] | None = None) -> Members:
    """The same as flows of one incident."""
    return members_of(scored(rows, features))


def manifest() -> dict[str, Any]:
    """A manifest with what alert reads of one, for the model and the four features of these batches."""
    names = ("host_syn", "duration_us", "unanswered", "serror_rate")
    labels = (
        "recent SYN packets of the busier end",
        "duration",
        "one end never spoke",
        "share of unfinished connections",
    )
    units, groups = ("packets", "us", "flag", "share"), ("host", "flow", "flow", "kdd-2s")
    features = [
        {"name": name, "label": label, "unit": unit, "group": group}
        for name, label, unit, group in zip(names, labels, units, groups, strict=True)
    ]
    return {
        "id": PLAIN["model"],
        "feature_set": "four-1",
        "feature_hash": "ab" * 32,
        "features": features,
        "baseline": {"q01": [0, 1000, 0, 0], "q50": [2, 20_000, 0, 0], "q99": [9, 500_000, 0, 0.1]},
        "calibration": {"*": {}, "plant": {}},
    }
