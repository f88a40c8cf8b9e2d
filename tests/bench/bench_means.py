"""The same step by different means, side by side: what the choice in docs/adr/0012 rests on.

`python -m tests.bench.bench_means [--records N]`; rows a CPU second, best of three rounds that take turns; the last
line is one JSON document.
"""

import argparse
import io
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.json as paj

from loadtest.conn_json import conn_json
from loadtest.scenarios import SCENARIOS, records
from pipeline.contracts.raw import ZEEK_JSON, SourceInfo
from pipeline.featurize.sensor import BOUNDS
from pipeline.featurize.windows.kdd_modes import new_online, online_features
from pipeline.featurize.windows.kdd_rows import KddRows, online_rows
from pipeline.ingest.decode import decode_messages
from pipeline.ingest.formats.registry import FORMATS
from pipeline.ingest.messages import Messages, RawMessage
from pipeline.ingest.scan.lines import cut_lines

ROUNDS = 3
WINDOW_US = 2_000_000
FUTURE_US = 10**15


def json_rows(payload: bytes) -> dict[str, Callable[[], object]]:
    """Decoding NDJSON: a loop, pyarrow's reader (neither checks anything), and ours with all checks."""
    lines = payload.splitlines()
    message = Messages.of([RawMessage(0, 0, 0, SourceInfo(ZEEK_JSON, (), "plant", "tap"), payload)])

    known = FORMATS[ZEEK_JSON]

    def loop() -> object:
        rows = [orjson.loads(line) for line in lines]
        return pa.Table.from_pylist(rows)

    return {
        "orjson, a record at a time": loop,
        "pyarrow.json": lambda: paj.read_json(io.BytesIO(payload)),
        "compiled scan: cells and positions": lambda: known.scan(cut_lines([payload]), ()),
        "compiled scan, checks, flow table": lambda: decode_messages(message, FUTURE_US),
    }


def window_rows(flows: pa.RecordBatch) -> dict[str, Callable[[], object]]:
    """Flows to the same destination in the last 2 s: a loop, numpy, and compiled (with the 18 other KDD features)."""
    rows = online_rows(flows)
    order = np.argsort(rows.end_us, kind="stable")

    def loop() -> list[int]:
        recent: dict[int, deque[int]] = defaultdict(deque)
        counts = []
        for dst, end in zip(rows.dst[order].tolist(), rows.end_us[order].tolist(), strict=True):
            ends = recent[dst]
            ends.append(end)
            while ends[0] <= end - WINDOW_US:
                ends.popleft()
            counts.append(len(ends))
        return counts

    def vectors() -> np.ndarray:
        by_dst = np.lexsort((rows.end_us, rows.dst))
        dst, end = rows.dst[by_dst], rows.end_us[by_dst]
        start = np.flatnonzero(np.concatenate(([True], dst[1:] != dst[:-1])))
        group = np.cumsum(np.concatenate(([0], (dst[1:] != dst[:-1]).astype(np.int64))))
        span = np.int64(end.max() - end.min() + 2 * WINDOW_US)
        since = group * span + end - end.min()
        first = np.maximum(np.searchsorted(since, since - WINDOW_US, "right"), start[group])
        counts: np.ndarray = np.arange(len(end)) - first + 1
        return counts

    return {
        "a dictionary of deques": loop,
        "numpy, one feature": vectors,
        "compiled, 19 features": _compiled(rows, order),
    }


def _compiled(rows: KddRows, order: np.ndarray) -> Callable[[], object]:
    late, matrix = np.zeros(len(order), np.bool_), np.empty((len(order), 19), np.float32)
    return lambda: online_features(new_online(), rows, order, late, BOUNDS, matrix)


def measure(steps: dict[str, Callable[[], object]], count: int) -> dict[str, int]:
    """Rows a CPU second of each, compiled and warm."""
    best = dict.fromkeys(steps, 0.0)
    for step in steps.values():
        step()
    for _ in range(ROUNDS):
        for name, step in steps.items():
            started = time.process_time()
            step()
            best[name] = max(best[name], count / (time.process_time() - started))
    return {name: round(rate) for name, rate in best.items()}


def main() -> None:
    """Print rows a second by step and means, and all of it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=100_000)
    count = parser.parse_args().records
    lines = conn_json(records(replace(SCENARIOS["steady"], controllers=200), 1, 0, 0, count, 1_700_000_000_000_000))
    payload = lines.message(0, count)
    message = Messages.of([RawMessage(0, 0, 1_800_000_000_000_000, SourceInfo(ZEEK_JSON, (), "plant", "tap"), payload)])
    flows = decode_messages(message, FUTURE_US).flows
    results = {"json": measure(json_rows(payload), count), "window": measure(window_rows(flows), count)}
    for step, rates in results.items():
        slowest = min(rates.values())
        for name, rate in rates.items():
            print(f"{step:7} {name:36} {rate:>12,} rows/s  {rate / slowest:5.1f} x")
    print(orjson.dumps(results).decode())


if __name__ == "__main__":
    main()
