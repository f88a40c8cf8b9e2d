"""What the load generator costs: encoded messages of `raw` alone, and handed to Kafka's client as a real sender does.

`python -m tests.bench.bench_load [SCENARIO...] [--records N] [--pack 1,100] [--quick]`: processor time of this process,
all threads of Kafka's client included, on a broker of its own. Handed over all at once, and when due at 10,000 records
a second, where a batch of the client has fewer messages. Two minutes. Writes docs/performance/generator.json and the
table of docs/load.md.
"""

import argparse
import time
import uuid
from pathlib import Path
from typing import Any

import orjson

from loadtest.workload.scenario import LoadScenario, read_scenario
from loadtest.workload.schedule import Schedule, schedule_of
from loadtest.workload.sender import ready, run_load
from loadtest.workload.slices import slices
from loadtest.workload.streams import Stream, Tapes, speed_for, streams_of, tapes_of
from pipeline.runtime.kafka import clients
from tests.bench import figures
from tests.bench.path import settings_for, workplace
from tests.docs.tables import write_pages

START_US = 1_760_000_000_000_000
RATE = 400_000
"""Records of a second of the schedule where they are handed over all at once, or only encoded."""
DUE_RATE = 10_000
DUE_S = 10
SCENARIOS = ("steady-plant", "flood", "many-sites")


def planned(scenario: LoadScenario, tapes: list[Tapes], records: int, rate: int) -> tuple[list[Stream], Schedule]:
    """The streams and the schedule of so many records; it starts when it is sent."""
    duration_us = round(records / rate * 1e6)
    schedule = schedule_of(START_US, duration_us, speed_for(scenario, tapes, records, duration_us, 1))
    return streams_of(scenario, tapes, schedule.event_span_us, 1), schedule


def encoded(streams: list[Stream], schedule: Schedule, pack: int) -> dict[str, Any]:
    """From recordings in memory to messages, no Kafka."""
    started, made, size = time.process_time(), 0, 0
    for part in slices(streams, schedule, pack):
        made += int(part.records.sum())
        size += sum(map(len, part.value))
    return {"cpu_us_a_record": _us(time.process_time() - started, made), "bytes_a_record": round(size / made)}


def sent(
    scenario: LoadScenario, streams: list[Stream], schedule: Schedule, pack: int, kafka: str, at_once: bool
) -> dict[str, Any]:
    """The same messages into a fresh topic, until Kafka has all; `at_once`: all of them are due before it begins."""
    settings = settings_for(kafka, f"b{uuid.uuid4().hex[:10]}.", Path(), 12)
    start_us = time.time_ns() // 1000 - (schedule.duration_us if at_once else 0)
    moved = schedule_of(start_us, schedule.duration_us, schedule.speed)
    started, begun = time.process_time(), time.monotonic()
    found = run_load(scenario, streams, moved, settings.topics.raw, clients.connection(settings, "bench"), pack)
    took = time.monotonic() - begun
    assert found.finished, found.refused
    return {
        "cpu_us_a_record": _us(time.process_time() - started, found.records),
        "records": found.records,
        "records_per_s": round(found.records / took),
        "behind_p99_ms": None if at_once else round((found.behind.percentile_us(99) or 0) / 1000, 1),
    }


def _us(seconds: float, records: int) -> float:
    return round(seconds * 1e6 / records, 2)


def measured(name: str, records: int, pack: int, kafka: str) -> dict[str, Any]:
    """A scenario in all three ways."""
    scenario = read_scenario(name)
    tapes = tapes_of(scenario, 1)
    streams, schedule = planned(scenario, tapes, records, RATE)
    ready(streams, pack)
    due = planned(scenario, tapes, min(records, DUE_RATE * DUE_S), DUE_RATE)
    return {
        "scenario": name,
        "sensors": len(streams),
        "pack": pack,
        "encoded": encoded(streams, schedule, pack),
        "at_once": sent(scenario, streams, schedule, pack, kafka, at_once=True),
        "due": sent(scenario, *due, pack, kafka, at_once=False),
    }


def main() -> None:
    """Print a line a scenario and size of messages, and all of it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenarios", nargs="*", default=SCENARIOS)
    parser.add_argument("--records", type=int, default=400_000)
    parser.add_argument("--pack", default="1,100", help="records a message")
    parser.add_argument("--quick", action="store_true", help="few records, to var/performance")
    arguments = parser.parse_args()
    started = figures.origin("python -m tests.bench.bench_load")
    runs = []
    with workplace("bench-load-") as (_, running):
        for name in arguments.scenarios:
            for pack in map(int, arguments.pack.split(",")):
                run = measured(name, 20_000 if arguments.quick else arguments.records, pack, running.bootstrap)
                runs.append(run)
                costs = ", ".join(f"{way} {run[way]['cpu_us_a_record']}" for way in ("encoded", "at_once", "due"))
                print(f"{name:15} {pack:4} a message: CPU µs a record: {costs}", flush=True)
    document = {"due_rate": DUE_RATE, "runs": runs}
    figures.write(figures.QUICK_FOLDER if arguments.quick else figures.FOLDER, "generator", document, started)
    if not arguments.quick:
        write_pages()
    print(orjson.dumps(document).decode())


if __name__ == "__main__":
    main()
