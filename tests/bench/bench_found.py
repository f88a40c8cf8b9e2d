"""How long after it was sent a record is found by a query, under a running `forebay up`; run it in that folder.

python -m tests.bench.bench_found [RECORDS]
"""

import json
import sys
import threading
import time

import numpy as np

from pipeline.archive.upkeep.query import run as query
from pipeline.contracts.raw import ZEEK_JSON
from pipeline.runtime.kafka import clients
from pipeline.settings import Settings, load_settings
from tests.ingest.records import ZEEK

PATIENCE_S = 120.0
PAUSE_S = 3.7
"""Between two records that are looked for; not a multiple of any period of the stages."""
EVERY_S = 0.5
"""A sensor at work sends another record this often: its watermark moves on with them."""


def record(uid: str, ts: float | str) -> bytes:
    return json.dumps({**ZEEK, "ts": ts, "uid": uid}).encode()


class Sensor(threading.Thread):
    """Sends records; at work also some between those that are looked for."""

    def __init__(self, settings: Settings, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.topic, self.ends = settings.topics.raw, threading.Event()
        self.producer = clients.producer(settings, "bench")

    def run(self) -> None:
        while not self.ends.wait(EVERY_S):
            self.send(record(f"N{time.time_ns()}", now()))

    def send(self, value: bytes) -> None:
        headers: dict[str, str | bytes | None] = {"site": "bench", "sensor": self.name, "content-type": ZEEK_JSON}
        self.producer.produce(self.topic, value=value, key=f"bench/{self.name}", headers=headers)
        assert self.producer.flush(30) == 0


def now() -> float:
    """The `ts` of a record that ends now."""
    return time.time() - float(ZEEK["duration"])


def seconds_until_found(settings: Settings, sensor: Sensor, table: str) -> float:
    """Send a record; how long until a query of the table has it."""
    uid = f"C{time.time_ns()}"
    started = time.monotonic()
    sensor.send(record(uid, "never" if table == "rejects" else now()))
    where = f"decode(record) LIKE '%{uid}%'" if table == "rejects" else f"sensor_uid = '{uid}'"
    while time.monotonic() - started < PATIENCE_S:
        found = query(settings.archive_uri, f"SELECT count(*) FROM {table} WHERE {where}", 1, settings)  # noqa: S608
        if found["rows"][0][0]:
            assert found["rows"] == [[1]]
            return time.monotonic() - started
        time.sleep(0.05)
    raise AssertionError(f"{table}: {uid} was not found within {PATIENCE_S} s")


def main() -> None:
    settings = load_settings()
    records = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    for name, table in (("at-work", "flows"), ("idle", "flows"), ("idle", "rejects")):
        sensor = Sensor(settings, name)
        if name == "at-work":
            sensor.start()
        took = []
        for _ in range(records):
            took.append(seconds_until_found(settings, sensor, table))
            time.sleep(PAUSE_S)
        sensor.ends.set()
        print(f"{table} of a sensor {name}: median {np.median(took):.2f} s, most {max(took):.2f} s, of {records}")


if __name__ == "__main__":
    main()
