"""Batches of flows for the tests: a few columns given, the rest filled with something valid; or arbitrary ones."""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from pipeline.featurize import partition
from pipeline.featurize.partition import PartitionState
from pipeline.featurize.snapshot import snapshot
from schemas.fields import arrow_schema

START_US = 1_678_440_574_000_000
SECOND = 1_000_000
MACS = ["00:07:7c:88:6e:83", "00:24:9b:6d:b8:89", "b8:27:eb:6d:4f:4b", "b8:27:eb:15:88:9c"]
ADDRESSES = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.99", "fe80::1", *MACS[:2]]
GROUPS = ["255.255.255.255", "224.0.0.22", "ff:ff:ff:ff:ff:ff", "01:80:c2:00:00:0e", "ff02::1"]
NOBODY = ".".join("0000")
STATES = ["S0", "S1", "S3", "SF", "SH", "REJ", "RSTO", "RSTR", "RSTOS0", "RSTRH", "OTH"]

PLAIN: dict[str, Any] = {
    "site": "plant",
    "sensor": "left",
    "source_type": "zeek",
    "record_kind": "end",
    "is_biflow": True,
    "ether_type": 0x0800,
    "ip_proto": 6,
    "src_addr": "10.0.0.1",
    "dst_addr": "10.0.0.2",
    "byte_semantics": "ip",
    "fwd_pkts": 3,
    "rev_pkts": 2,
    "fwd_bytes": 300,
    "rev_bytes": 200,
    "conn_state": "SF",
    "quality": "",
}


def batch(rows: Sequence[dict[str, Any]], first_offset: int = 0) -> pa.RecordBatch:
    """A batch of schema `flow`. A row's `at`: its end in seconds after START_US; raw_offset counts up."""
    filled = []
    for number, row in enumerate(rows):
        full = {**PLAIN, "raw_offset": first_offset + number, "source_record": number, **row}
        at = full.pop("at", 0.0)
        full.setdefault("end_ts_us", START_US + round(at * SECOND))
        full.setdefault("duration_us", 1000)
        full.setdefault("start_ts_us", max(full["end_ts_us"] - full["duration_us"], 0))
        filled.append(full)
    schema = arrow_schema("flow")
    columns = [
        pa.array([row.get(field.name, None if field.nullable else 0) for row in filled], field.type) for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _row(pick: random.Random, span_s: float) -> dict[str, Any]:
    arp = pick.random() < 0.2
    row: dict[str, Any] = {
        "at": pick.randrange(round(span_s * 4) + 1) / 4,
        "record_id": pick.randrange(3),
        "duration_us": pick.choice([0, 1, 400_000, 31_536_000_000_000]),
        "ether_type": 0x0806 if arp else 0x0800,
        "ip_proto": None if arp else pick.choice([6, 6, 17, 2, 1, 58]),
        "src_addr": pick.choice([*ADDRESSES, NOBODY]),
        "dst_addr": pick.choice([*ADDRESSES, *GROUPS]),
        "src_port": pick.choice([None, 1024, 40_000, 65_535]),
        "dst_port": pick.choice([None, 22, 502, 65_535]),
        "conn_state": pick.choice(STATES),
    }
    for side in ("fwd", "rev"):
        for name in ("pkts", "bytes"):
            row[f"{side}_{name}"] = pick.choice([0, 1, 2, 5, pick.randrange(2**60), 2**60])
        row[f"{side}_tcp_flags"] = pick.choice([None, pick.randrange(256)])
        for flag in ("syn", "rst", "fin", "psh"):
            row[f"{side}_{flag}_pkts"] = pick.choice([None, 0, 1, 2**32 - 1])
        row[f"{side}_ttl_mean"] = pick.choice([None, 0.0, 63.5, 255.0])
        row[f"{side}_window_mean"] = pick.choice([None, 0.0, 509.25, 65_535.0])
        row[f"{side}_iat_mean_us"] = pick.choice([None, 0.0, 1234.5, 3e38])
    for end in ("src", "dst"):
        row[f"{end}_mac"] = pick.choice([None, *MACS])
        row[f"{end}_mac_count"] = pick.choice([None, 1, 2])
    return row


def _rows(count: int, seed: int, span_s: float) -> list[dict[str, Any]]:
    pick = random.Random(seed)
    return [_row(pick, span_s) for _ in range(count)]


def flow_rows(most: int = 40, span_s: float = 6.0) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Rows of one sensor in raw order: few endpoints, so that windows fill; ties, late ones, nulls and extreme values.

    Drawn by a seed, not value by value: that would take a hundred times longer.
    """
    return st.builds(_rows, st.integers(0, most), st.integers(0, 2**32), st.just(span_s))


def matrix_of(rows: pa.RecordBatch) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The feature matrix (n, F) of a features batch."""
    column = rows.column("features")
    values: np.ndarray[Any, np.dtype[np.float32]] = np.asarray(column.flatten().to_numpy(zero_copy_only=False))
    return values.reshape(len(rows), column.type.list_size)


def by_position(rows: Sequence[pa.RecordBatch]) -> dict[int, tuple[int, bytes]]:
    """late_by_us and the feature row's bytes of every flow, by raw offset."""
    by_offset = {}
    for part in rows:
        values = matrix_of(part)
        offsets, late = part.column("raw_offset").to_pylist(), part.column("late_by_us").to_pylist()
        for index, offset in enumerate(offsets):
            assert offset not in by_offset
            by_offset[offset] = (late[index], values[index].tobytes())
    return by_offset


def saved_again(state: PartitionState) -> PartitionState:
    """A partition's state, saved and restored."""
    parts = {name: snapshot(sensor) for name, sensor in partition.sensors_by_name(state).items()}
    return partition.restore(partition.snapshot(state), parts, state.feature_set)
