"""Flows of a small plant for the tests, and what its baseline says of them, however they are cut and saved."""

import random
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from hypothesis import strategies as st

from pipeline.contracts.notices import Notice
from pipeline.featurize.baseline.judge import COLUMNS
from pipeline.featurize.sensor import SensorInput, SensorState, advance_sensors
from pipeline.featurize.snapshot import restore, snapshot
from schemas.learning import Learning
from tests.featurize.flows import SECOND, START_US, batch

QUICK = Learning(least_s=60, most_s=120, anchor_s=200, admit_s=60, shortest_block_s=5)
"""Learns within minutes: a hundred flows and some blocks later everything has begun that can."""
LATENESS_US = 2 * SECOND
MASTER, HISTORIAN = "10.0.0.1", "10.0.0.9"
CONTROLLERS = [f"10.0.0.{number}" for number in range(20, 24)]
MAC_OF = {
    address: f"00:07:7c:00:00:{number:02x}" for number, address in enumerate([MASTER, HISTORIAN, *CONTROLLERS], 16)
}
GAPS_S = [0.0, 0.2, 0.5, 1.0, 1.0, 1.0, 2.0, 7.0, 40.0, 400.0, 7_200.0]
MONTH_S = 2_678_400.0

Rows = Sequence[dict[str, Any]]
Told = tuple[dict[int, tuple[Any, ...]], list[Notice], bytes]


def poll(at: float, source: str = MASTER, target: str = CONTROLLERS[0], **more: Any) -> dict[str, Any]:
    """A Modbus poll that ends at `at` seconds."""
    return {
        "at": at,
        "src_addr": source,
        "dst_addr": target,
        "src_mac": MAC_OF.get(source),
        "dst_mac": MAC_OF.get(target),
        "src_port": 40_000,
        "dst_port": 502,
        **more,
    }


def polls(seconds: float, every_s: float = 1.0, start_s: float = 0.0) -> list[dict[str, Any]]:
    """The master polls one controller after the other."""
    count = int(seconds / every_s)
    return [poll(start_s + number * every_s, target=CONTROLLERS[number % len(CONTROLLERS)]) for number in range(count)]


def _odd(pick: random.Random, at: float) -> dict[str, Any]:
    """A flow as it seldom comes."""
    kind = pick.randrange(6)
    if kind == 0:
        return poll(at, source=f"10.0.1.{pick.randrange(250)}", src_mac=None, dst_port=pick.choice([22, 502, 4840]))
    if kind == 1:
        return poll(at, src_mac="00:07:7c:00:00:99", src_mac_count=pick.choice([None, 1, 2]))
    if kind == 2:
        codes = [pick.choice([5, 6, 16, 43]), pick.randrange(1, 5)]
        counts = {"ics_write_cnt": codes[1], "ics_control_cnt": pick.choice([None, 1])}
        return poll(at, ics_proto="modbus", ics_functions=codes) | counts
    if kind == 3:
        ends = {"src_addr": "2001:db8::1", "dst_addr": pick.choice(["fe80::2", "ff02::1", "2001:db8:9::7"])}
        return {"at": at, **ends, "src_port": None, "dst_port": None, "ip_proto": pick.choice([1, 17, 58])}
    if kind == 4:
        arp = {"src_addr": "10.0.0.77", "dst_addr": "ff:ff:ff:ff:ff:ff", "ether_type": 0x0806, "ip_proto": None}
        return {"at": at, **arp, "src_port": None, "dst_port": None, "src_mac": "00:07:7c:00:00:77"}
    sizes = {"fwd_bytes": pick.choice([0, 2**40]), "rev_bytes": pick.randrange(2**50), "fwd_pkts": 2**30}
    return poll(at, target=f"203.0.113.{pick.randrange(4)}", dst_port=443, duration_us=pick.choice([0, 10**9])) | sizes


def _life(count: int, seed: int, late_share: float, odd_share: float) -> list[dict[str, Any]]:
    """Polls every second or so while the sensor learns, then gaps up to a month, and perhaps another plant."""
    pick = random.Random(seed)
    rows: list[dict[str, Any]] = []
    at = 0.0
    learns_until, month = pick.choice([0, 120, 240, 240]), pick.choice([-1, -1, pick.randrange(count + 1)])
    replaced = pick.choice([count, pick.randrange(count + 1)])
    for number in range(count):
        slowest = 7 if number < learns_until or number > replaced else pick.choice([7, 7, 8, 9, 11])
        at += MONTH_S if number == month else pick.choice(GAPS_S[:slowest])
        when = max(at - pick.choice([3.0, 60.0, 9_000.0]), -50.0) if pick.random() < late_share else at
        if pick.random() < odd_share:
            row = _odd(pick, when)
        else:
            source = MASTER if pick.random() < 0.8 else HISTORIAN
            row = poll(when, source, pick.choice(CONTROLLERS), fwd_pkts=pick.choice([3, 3, 3, 40]))
        if number > replaced:
            row |= {end: row[end].replace("10.0.0.", "10.7.0.") for end in ("src_addr", "dst_addr")}
        rows.append(row)
    return rows


def lives(most: int = 400) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Flows of one sensor in raw order: polls, new hosts, groups, late flows, gaps of seconds, hours and a month.

    Drawn by a seed, not value by value: that would take a hundred times longer.
    """
    return st.builds(
        _life, st.integers(0, most), st.integers(0, 2**32), st.sampled_from([0.0, 0.02, 0.2]), st.floats(0.0, 0.3)
    )


def flood(rows: int, at_s: float, within_s: float) -> pa.RecordBatch:
    """As many flows, each of another source, size and port, that end within so many seconds from `at_s` on."""
    pick = np.random.default_rng(1)
    numbers = np.arange(rows)
    columns = _of_hosts(numbers) | {
        "dst_port": pa.array(pick.integers(1, 32_768, rows), pa.uint16()),
        "end_ts_us": pa.array(START_US + np.int64(at_s * SECOND) + numbers * int(within_s * SECOND) // rows),
        "raw_offset": pa.array(1_000_000 + numbers),
    }
    for name in ("fwd_bytes", "rev_bytes", "fwd_pkts", "rev_pkts", "duration_us"):
        columns[name] = pa.array(np.exp2(pick.uniform(0, 40, rows)).astype(np.int64))
    return _polls_with(columns, rows)


def busy(hosts: int, rounds: int, every_s: float) -> pa.RecordBatch:
    """Flows of a network of many hosts: each polls one controller once in every round."""
    numbers = np.arange(hosts * rounds)
    ends_us = START_US + numbers * int(every_s * SECOND) // hosts
    columns = _of_hosts(numbers % hosts) | {"end_ts_us": pa.array(ends_us), "raw_offset": pa.array(numbers)}
    return _polls_with(columns, len(numbers))


def _of_hosts(numbers: npt.NDArray[np.int64]) -> dict[str, pa.Array]:
    return {
        "src_addr": pa.array([f"10.{100 + (n >> 16)}.{n >> 8 & 255}.{n & 255}" for n in numbers.tolist()]),
        "src_mac": pa.array([f"02:00:{n >> 16:02x}:{n >> 8 & 255:02x}:{n & 255:02x}:01" for n in numbers.tolist()]),
    }


def _polls_with(columns: dict[str, pa.Array], rows: int) -> pa.RecordBatch:
    """So many polls with other columns."""
    flows = batch([poll(0.0)]).take(pa.array(np.zeros(rows, np.int64)))
    for name, column in columns.items():
        number = flows.schema.get_field_index(name)
        flows = flows.set_column(number, flows.schema.field(number), column.cast(flows.schema.field(number).type))
    return flows


def columns_of(rows: pa.RecordBatch) -> dict[int, tuple[Any, ...]]:
    """What the baseline says of every flow, by raw offset."""
    said = zip(*(rows.column(name).to_pylist() for name in COLUMNS), strict=True)
    return dict(zip(rows.column("raw_offset").to_pylist(), said, strict=True))


def lived(rows: Rows, cuts: Sequence[int] = (), saved: bool = False, learning: Learning = QUICK) -> Told:
    """Columns, notices, and the bytes of the state in the end, of a log cut at these offsets."""
    flows, state = batch(rows), SensorState.empty()
    columns: dict[int, tuple[Any, ...]] = {}
    notices: list[Notice] = []
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    for start, end in pairwise(edges):
        state, released, told = advanced(state, flows.slice(start, end - start), learning)
        if saved:
            state = restore(snapshot(state))
        columns |= columns_of(released)
        notices += told
    state, released, told = advanced(state, flows.slice(0, 0), learning, ended=True)
    return columns | columns_of(released), notices + told, snapshot(state)


def advanced(
    state: SensorState, flows: pa.RecordBatch, learning: Learning = QUICK, ended: bool = False
) -> tuple[SensorState, pa.RecordBatch, list[Notice]]:
    """One sensor's next flows through featurize."""
    sensor = SensorInput(state, np.arange(len(flows)), LATENESS_US, ended, site="plant", sensor="left")
    (after,), rows, notices, _ = advance_sensors([sensor._replace(learning=learning)], flows)
    return after, rows, list(notices)


def state_after(rows: Rows, learning: Learning = QUICK) -> SensorState:
    """The state once all flows have been released."""
    return advanced(SensorState.empty(), batch(rows), learning, ended=True)[0]
