"""Whoever sends flows cannot make one be called what its own fields contradict, nor stop the stage that names them."""

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.contracts.class_names import UNKNOWN
from pipeline.contracts.preconditions import shipped
from pipeline.runtime.wire.batches import matrix_column
from pipeline.score.naming import Likeliest, names_of
from schemas.fields import arrow_schema

FEATURES = ("diff_srv_rate", "count", "srv_diff_host_rate", "srv_count", "host_syn", "host_new_peers", "to_ics_port")
NAMES = sorted(shipped().classes)
NO_SSH = (
    *("", ",", ",,,,", " ssh", "ssh ", "ssh\n", "\nssh", "ssh\x00", "ssh\x1b[2J", "xssh", "sshx", "s.h", "(ssh)"),
    *(
        "ssh;",
        "http/ssh",
        "ſſh",
        "ssh\u200d",
        "с\u0455h",
        "$(ssh)",
        ".*",
        "(?i)",
        "\\bssh\\b",
        "[",
        "ss\u0301h",
        "\ufeffssh",
    ),
    *("a" * 1_000_000, "," * 1_000_000, "ss" * 100_000, "h;ss" * 100_000, "\u202essh"),
)


def named(rows: list[dict[str, Any]], name: str, value: float) -> list[str]:
    """What rows are called that the model is sure to know as `name`, all features being `value`."""
    schema = arrow_schema("flow")
    columns = []
    for field in schema:
        kind = str if pa.types.is_string(field.type) else bool if pa.types.is_boolean(field.type) else int
        absent = None if field.nullable else kind()
        columns.append(pa.array([row.get(field.name, absent) for row in rows], field.type))
    batch = pa.RecordBatch.from_arrays(columns, schema=schema)
    values = np.full((len(rows), len(FEATURES)), value, np.float32)
    batch = batch.append_column("features", matrix_column(values))
    everywhere = np.ones(len(rows), np.bool_)
    likeliest = Likeliest([name], np.zeros(len(rows), np.int32), ~everywhere, everywhere, everywhere)
    classes, nearest = names_of([batch], values, likeliest, FEATURES, shipped()).columns(slice(None))
    assert nearest.null_count == sum(each != UNKNOWN for each in classes.to_pylist())
    names: list[str] = classes.to_pylist()
    return names


def test_a_service_is_no_part_of_another_word() -> None:
    rows = [{"ip_proto": 6, "app_proto": text} for text in NO_SSH]
    assert set(named(rows, "ssh_bruteforce", 0.0)) == {UNKNOWN}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [0.0, math.nan, math.inf, -math.inf, 1e38])
def test_nothing_known_of_a_flow_is_no_evidence(name: str, value: float) -> None:
    """Without a protocol, a port, a hardware address or a service there is nothing to call it by."""
    names = named([{}], name, value)
    if not value > 0:
        assert names == [UNKNOWN]


@pytest.mark.parametrize("name", NAMES)
def test_ends_of_every_range_stop_nothing(name: str) -> None:
    ends = {"src_port": 65_535, "dst_port": 0, "ip_proto": 255, "ether_type": 65_535, "ics_proto": "\x00"}
    texts = {"src_addr": "\x00" * 999, "dst_addr": ":" * 99_999, "src_mac": "", "dst_mac": "\ud7ff", "app_proto": "\n"}
    assert len(named([ends, texts, {**ends, **texts}], name, math.nan)) == 3
