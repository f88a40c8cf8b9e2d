"""Sums and unions of what records say are those of a plain loop."""

import random
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.featurize.ordering.merge_ics import COUNTS, MAX_LISTED, merge_ics
from pipeline.featurize.sensor import featurize_file_rows
from tests.examples import examples
from tests.featurize.flows import SECOND, batch

MOST = 2**32 - 1


def said(pick: random.Random) -> dict[str, Any]:
    """What one record says, perhaps nothing."""
    if pick.random() < 0.2:
        return {}
    row: dict[str, Any] = {name: pick.choice([None, 0, 1, 7, MOST]) for name in COUNTS}
    row["ics_addr_min"], row["ics_addr_max"] = pick.choice([(None, None), (0, 5), (40_000, 40_001)])
    row["ics_proto"] = pick.choice([None, "modbus", "dnp3"])
    row["ics_units"] = pick.choice([None, [], [1], [1, 2, 255], sorted(pick.sample(range(300), 60))])
    codes = sorted(pick.sample(range(100), pick.choice([0, 1, 3, 50])))
    row["ics_functions"] = pick.choice([None, [number for code in codes for number in (code, pick.randrange(1, 9))]])
    return row


@settings(max_examples=examples(100), deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(0, 30))
def test_all_that_is_said_is_added_up(seed: int, flows: int, records: int) -> None:
    pick = random.Random(seed)
    rows = [said(pick) for _ in range(records)]
    of = np.array([pick.randrange(flows) for _ in rows], np.int64)
    got = merge_ics(batch(rows), of, flows)
    for flow in range(flows):
        members = [row for row, whose in zip(rows, of.tolist(), strict=True) if whose == flow]
        for name in COUNTS:
            values = [row[name] for row in members if row.get(name) is not None]
            assert got[name][flow].as_py() == (min(sum(values), MOST) if values else None)
        for name, extreme in (("ics_addr_min", min), ("ics_addr_max", max)):
            values = [row[name] for row in members if row.get(name) is not None]
            assert got[name][flow].as_py() == (extreme(values) if values else None)
        protos = [row["ics_proto"] for row in members if row.get("ics_proto")]
        assert got["ics_proto"][flow].as_py() == (protos[0] if protos else None)
        units = sorted({unit for row in members for unit in row.get("ics_units") or []})
        assert (got["ics_units"][flow].as_py() or []) == units[:MAX_LISTED]
        codes: Counter[int] = Counter()
        for row in members:
            listed = row.get("ics_functions") or []
            codes.update(dict(zip(listed[::2], listed[1::2], strict=True)))
        flat = [number for pair in sorted(codes.items())[:MAX_LISTED] for number in pair]
        assert (got["ics_functions"][flow].as_py() or []) == flat


def test_a_flow_takes_in_what_was_said_of_it() -> None:
    way = {"src_addr": "10.0.0.1", "dst_addr": "10.0.0.2", "src_port": 40_000, "dst_port": 502}
    log = {**way, "record_kind": "ics", "fwd_bytes": 0, "fwd_pkts": 0, "rev_bytes": 0, "rev_pkts": 0}
    log |= {"ics_proto": "modbus", "ics_units": [1], "quality": "no_bytes,no_flags"}
    rows = [
        {**log, "at": 1.0, "ics_functions": [3, 1], "ics_read_cnt": 1, "ics_write_cnt": 0},
        {**log, "at": 1.5, "ics_functions": [16, 1], "ics_read_cnt": 0, "ics_write_cnt": 1},
        {**way, "at": 2.0, "fwd_pkts": 9, "duration_us": 1_500_000, "quality": ""},
        {**log, "at": 9.0, "ics_functions": [3, 2], "ics_read_cnt": 2, "ics_write_cnt": 0},
    ]
    flow, alone = featurize_file_rows(batch(rows), 0, window_us=2 * SECOND).to_pylist()
    assert (flow["record_kind"], flow["fwd_pkts"], flow["quality"]) == ("end", 9, "")
    assert (flow["ics_proto"], flow["ics_functions"], flow["ics_units"]) == ("modbus", [3, 1, 16, 1], [1])
    assert (flow["ics_read_cnt"], flow["ics_write_cnt"], flow["ics_exception_cnt"]) == (1, 1, None)
    assert (flow["raw_offset"], flow["raw_also"]) == (0, [1, 0, 2, 0])
    assert (alone["record_kind"], alone["ics_read_cnt"], alone["raw_also"]) == ("ics", 2, None)


def test_nothing_said_is_nothing() -> None:
    got = merge_ics(batch([{}]), np.zeros(1, np.int64), 2)
    assert all(column.null_count == 2 and isinstance(column, pa.Array) for column in got.values())
