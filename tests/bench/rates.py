"""What each process of one box uses at a steady rate, from a trickle up: what `forebay size` reckons with.

`python -m tests.bench.rates [--rates 10,100,...] [--seconds N]`: a broker and the six stages of its own, eight sensors,
a record a message, every setting as it is; one rate after the other, after some seconds that warm all up. At a low
rate a record costs far more than in full batches, for every message and every transaction costs; and takes more of the
broker's disk, for a message of few rows packs badly. Writes docs/performance/rates.json, the tables of the docs and
what `forebay size` reads.
"""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from loadtest.sending import Load, send
from pipeline.archive.upkeep.verify import verify
from pipeline.runtime.kafka import clients
from pipeline.settings import Settings
from pipeline.tools.load.disk import KAFKA_TOPICS
from pipeline.tools.load.targets import learning_for, local_target
from pipeline.tools.system.identity import usage_of
from tests.bench import figures
from tests.bench.bench_flow import SCENARIO, SEED, archived
from tests.docs.tables import write_pages

RATES = (10.0, 100.0, 1_000.0, 5_000.0, 20_000.0)
WARM_UP = (5_000.0, 20.0)
"""Records a second, and for how long, before anything is measured: the JVM compiles, tables are laid out."""
SETTLES_S = 10.0
"""Of each rate, what is not measured: what came at the rate before is still worked off."""
CLOSED_S = 120.0
AS_FAST_AS_ASKED = 1e9
"""A load's own rate where `Pace` says when: never what holds a record back."""


class Step(NamedTuple):
    """A rate, and for how long."""

    rate: float
    seconds: float

    @property
    def records(self) -> int:
        """So many."""
        return max(2, round(self.rate * self.seconds))


def held_bytes(folder: Path, prefix: str, names: Sequence[str] = KAFKA_TOPICS) -> dict[str, int]:
    """What a broker's log folder holds of each topic, indices left aside."""
    return {topic: sum(path.stat().st_size for path in folder.glob(f"{prefix}{topic}-[0-9]*/*.log")) for topic in names}


def closed_bytes_a_row(settings: Settings, records: int) -> float:
    """What closed files of all columns have for each row, once all records of sources that have ended lie in them."""
    until_s = time.monotonic() + CLOSED_S
    while archived(settings) < records and time.monotonic() < until_s:
        time.sleep(1.0)
    found = verify(settings.archive_uri, None)
    assert found["rows"] == records, f"{found['rows']:,} of {records:,} rows in closed files after {CLOSED_S:g} s"
    return round(float(found["bytes"] / found["rows"]), 1)


class Pace:
    """Holds each record back until it is due by the steps, and takes the processes' figures as each step goes."""

    def __init__(self, pids: Mapping[str, int], steps: list[Step], held: Callable[[], dict[str, int]]) -> None:
        self._pids, self._steps, self._held = pids, steps, held
        self._step = self._queued = 0
        self._begun_s = time.monotonic()
        """When the step that goes on began: a step before it that took longer is no reason for this one to hurry."""
        self._settled: dict[str, float] | None = None
        self._settled_s = 0.0
        self._settled_bytes: dict[str, int] = {}
        self._settled_records = 0
        self.found: list[dict[str, Any]] = []

    def sent(self, _acknowledged: int) -> None:
        """Called after each record: returns when the next one is due."""
        if self._step == len(self._steps):  # the last call, after all were sent
            return
        self._queued += 1
        step = self._steps[self._step]
        time.sleep(max(0.0, self._begun_s + self._queued / step.rate - time.monotonic()))
        now_s = time.monotonic()
        if self._settled is None and now_s >= self._begun_s + min(SETTLES_S, step.seconds / 2):
            self._settled, self._settled_s = self._cpu_s(), now_s
            self._settled_bytes, self._settled_records = self._held(), self._queued
        if self._queued == step.records:
            self._take(step, now_s)
            self._step, self._queued, self._begun_s, self._settled = self._step + 1, 0, now_s, None

    def _take(self, step: Step, now_s: float) -> None:
        assert self._settled is not None, "a step has one record in its second half at least"
        measured_s, used = now_s - self._settled_s, self._cpu_s()
        records, held = step.records - self._settled_records, self._held()
        self.found.append(
            {
                "rate": step.rate,
                "measured_s": round(measured_s, 1),
                "late_s": round(now_s - self._begun_s - step.seconds, 3),
                "cores": {name: round((used[name] - self._settled[name]) / measured_s, 4) for name in used},
                "kafka_bytes_a_record": {
                    topic: round((held[topic] - before) / records, 1) for topic, before in self._settled_bytes.items()
                },
                "rss_mib": {name: round((usage_of(pid).rss_bytes or 0) / 2**20) for name, pid in self._pids.items()},
            }
        )

    def _cpu_s(self) -> dict[str, float]:
        return {name: usage_of(pid, with_pss=False).cpu_s or 0.0 for name, pid in self._pids.items()}


def measured(rates: list[float], seconds: float) -> dict[str, Any]:
    """Load a system of its own with one rate after the other: a row for each, and what its archive takes a row."""
    steps = [Step(*WARM_UP), *(Step(rate, seconds) for rate in rates)]
    records = sum(step.records for step in steps)
    load = Load(SCENARIO, records, SEED, rate=AS_FAST_AS_ASKED, seconds=2 * sum(step.seconds for step in steps))
    with local_target(learning_for(load.span_us / 1e6)) as target:
        settings = target.settings
        log = Path(settings.state_uri).parent / "broker" / "kafka"
        pace = Pace(target.pids, steps, lambda: held_bytes(log, settings.topic_prefix))
        connection: Mapping[str, Any] = clients.connection(settings, "bench")
        sent = send(load, settings.topics.raw, connection, progress=pace.sent)
        assert sent.finished and len(pace.found) == len(steps), sent.refused
        return {
            "sensors": len(SCENARIO.sensor_names),
            "steps": pace.found[1:],
            "archive_bytes_a_row": closed_bytes_a_row(settings, records),
        }


def main() -> None:
    """Print a line a rate, and all of it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rates", default=",".join(f"{rate:g}" for rate in RATES), help="records a second, rising")
    parser.add_argument("--seconds", type=float, default=40.0, help="at each rate")
    parser.add_argument("--quick", action="store_true", help="to var/performance")
    arguments = parser.parse_args()
    rates = [float(text) for text in arguments.rates.split(",")]
    if not all(0 < low < high for low, high in pairwise([1e-9, *rates])):
        parser.error(f"--rates {arguments.rates}: expected rising numbers above 0")
    started = figures.origin("python -m tests.bench.rates")
    document = measured(rates, arguments.seconds)
    for step in document["steps"]:
        shown = ", ".join(f"{name} {cores:.3f}" for name, cores in step["cores"].items())
        held = ", ".join(f"{topic} {each:,.0f}" for topic, each in step["kafka_bytes_a_record"].items())
        print(f"{step['rate']:>9,.0f} records/s: {sum(step['cores'].values()):.2f} cores ({shown})", flush=True)
        print(f"{'':>19} bytes a record: {sum(step['kafka_bytes_a_record'].values()):,.0f} ({held})", flush=True)
    print(f"{document['archive_bytes_a_row']:g} bytes a row in closed files", flush=True)
    figures.write(figures.QUICK_FOLDER if arguments.quick else figures.FOLDER, "rates", document, started)
    if not arguments.quick:
        write_pages()
    print(orjson.dumps(document).decode())


if __name__ == "__main__":
    main()
