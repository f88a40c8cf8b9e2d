"""The page's store with 50,000 incidents: how long it takes to fill, and what an answer of the list takes.

`pytest -s tests/bench/bench_triage.py`; of each query the 95th percentile of 60, by the clock and in time of a core.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from pipeline.tools.triage.database import open_database
from pipeline.tools.triage.store import ALERTS, Store, TopicMessage
from tests.tools.triage.pages import alert, client_of

INCIDENTS, SITES, BATCH, ASKED = 50_000, 8, 1_000, 60
QUERIES = (
    "",
    "settled=no&suppressed=no&page=yes",
    "site=plant-3&sort=-severity",
    "asset=10.3.0.7",
    "technique=T0846&state=ended",
    "q=registers",
    "severity=high,critical&limit=500",
    "sort=flows",
)


def _alert(number: int) -> Any:
    site = number % SITES
    ends = (f"10.{site}.0.{number % 251}", f"10.{site}.1.{number % 239}")
    return alert(
        number + 1,
        "left",
        ends,
        site=f"plant-{site}",
        first_us=number * 90_000_000,
        severity_id=1 + number % 5,
        count=1 + number % 97,
        disposition="page" if number % 9 == 0 else "review",
        message=f"{ends[0]} wrote {number % 14} registers of {ends[1]} over Modbus (port 502)",
        attacks=[{"technique": {"uid": f"T08{40 + number % 20}", "name": "A technique"}}],
    )


@pytest.mark.bench
def test_list_of_50_000_incidents() -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(open_database(Path(folder), None))
        payloads = [orjson.dumps(_alert(number)) for number in range(INCIDENTS)]
        started = time.perf_counter()
        for start in range(0, INCIDENTS, BATCH):
            part = payloads[start : start + BATCH]
            store.take([TopicMessage(ALERTS, 0, start + at, each, 1) for at, each in enumerate(part)])
        filled_s = time.perf_counter() - started
        print(f"filled: {INCIDENTS / filled_s:,.0f} alerts/s, {filled_s:.1f} s")
        started = time.perf_counter()
        store.take([TopicMessage(ALERTS, 0, INCIDENTS, orjson.dumps(_alert(INCIDENTS + 7)), 1)])
        print(f"one more alert: {(time.perf_counter() - started) * 1000:.1f} ms")
        client = client_of(store)
        slowest = 0.0
        for query in QUERIES:
            times, cores = [], []
            for _ in range(ASKED):
                started, core = time.perf_counter(), time.process_time()
                answer = client.get(f"/api/v1/incidents?{query}")
                times.append(time.perf_counter() - started)
                cores.append(time.process_time() - core)
                assert answer.status_code == 200 and answer.json()["incidents"]
            p95, core = (sorted(each)[int(ASKED * 0.95)] * 1000 for each in (times, cores))
            slowest = max(slowest, p95)
            print(
                f"GET incidents?{query}: p95 {p95:.1f} ms, {core:.1f} ms of a core, {answer.json()['total']:,} in all"
            )
        print(f"slowest p95: {slowest:.1f} ms")
        store.database.close()
