"""The page's store with 50,000 incidents: how long it takes to fill, and what a list, a verdict and its preview take.

`pytest -s -m bench tests/bench/bench_triage.py`; the 95th percentile of 60 lists, and of 20 verdicts on a site that has
all of them, by the clock and in time of a core.
"""

import tempfile
import time
from collections.abc import Callable
from functools import partial
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


JUDGED_TIMES = 20
SCOPES: dict[str, Any] = {"the same again": {"kind": "incident"}, "a device": {"kind": "asset", "address": "10.0.0.7"}}


def _alert(number: int, sites: int = SITES) -> Any:
    site = number % sites
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


def _filled(folder: str, sites: int) -> Store:
    store = Store(open_database(Path(folder), None))
    payloads = [orjson.dumps(_alert(number, sites)) for number in range(INCIDENTS)]
    started, core = time.perf_counter(), time.process_time()
    for start in range(0, INCIDENTS, BATCH):
        part = payloads[start : start + BATCH]
        store.take([TopicMessage(ALERTS, 0, start + at, each, 1) for at, each in enumerate(part)])
    filled_s, core_s = time.perf_counter() - started, time.process_time() - core
    size = sum(each.stat().st_size for each in Path(folder).iterdir())
    rate = INCIDENTS / filled_s
    print(f"filled: {rate:,.0f} alerts/s, {filled_s:.1f} s, {core_s:.1f} s of a core, {size / 1e6:,.0f} MB")
    return store


class _Times:
    """How long answers took, by the clock and in time of a core."""

    def __init__(self) -> None:
        self.clock: list[float] = []
        self.core: list[float] = []

    def of(self, ask: Callable[[], Any]) -> Any:
        started, core = time.perf_counter(), time.process_time()
        answer = ask()
        self.clock.append(time.perf_counter() - started)
        self.core.append(time.process_time() - core)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def p95_ms(self) -> tuple[float, float]:
        clock, core = (sorted(each)[int(len(each) * 0.95)] * 1000 for each in (self.clock, self.core))
        return clock, core


@pytest.mark.bench
def test_list_of_50_000_incidents() -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = _filled(folder, SITES)
        started = time.perf_counter()
        store.take([TopicMessage(ALERTS, 0, INCIDENTS, orjson.dumps(_alert(INCIDENTS + 7)), 1)])
        print(f"one more alert: {(time.perf_counter() - started) * 1000:.1f} ms")
        client = client_of(store)
        slowest = slowest_core = 0.0
        for query in QUERIES:
            times = _Times()
            for _ in range(ASKED):
                answer = times.of(partial(client.get, f"/api/v1/incidents?{query}"))
                assert answer["incidents"]
            p95, core = times.p95_ms()
            slowest, slowest_core = max(slowest, p95), max(slowest_core, core)
            print(f"GET incidents?{query}: p95 {p95:.1f} ms, {core:.1f} ms of a core, {answer['total']:,} in all")
        print(f"slowest p95: {slowest:.1f} ms, {slowest_core:.1f} ms of a core")
        store.database.close()


@pytest.mark.bench
def test_verdicts_on_one_site_of_50_000_incidents() -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = _filled(folder, 1)
        client = client_of(store)
        client.headers["x-csrf-token"] = client.get("/api/v1/session").json()["csrf"]
        for name, scope in SCOPES.items():
            body = {"verdict": "benign", "scope": scope, "expires_s": 30 * 86_400, "note": ""}
            preview, verdict, undo = _Times(), _Times(), _Times()
            for at in range(JUDGED_TIMES):
                path = f"/api/v1/incidents/{8 + 251 * at:032x}/verdicts"
                does = preview.of(partial(client.post, f"{path}/preview", json=body))
                given = verdict.of(partial(client.post, path, json=body))["verdict"]
                undo.of(partial(client.post, f"/api/v1/verdicts/{given['id']}/undo", json={}))
            for what, times in (("preview", preview), ("verdict", verdict), ("undo", undo)):
                p95, core = times.p95_ms()
                print(f"{what}, {name} ({does['matches']:,} incidents): p95 {p95:.1f} ms, {core:.1f} ms of a core")
        store.database.close()
