"""How fast the load generator is: a scenario's records as encoded messages of `raw`, processor time, no Kafka.

python -m tests.bench.bench_load [SCENARIO...] [--records N] [--pack 1,100]
"""

import argparse
import json
import time

from loadtest.workload.scenario import read_scenario
from loadtest.workload.schedule import schedule_of
from loadtest.workload.sender import slices
from loadtest.workload.streams import speed_for, streams_of, tapes_of

START_US = 1_760_000_000_000_000
RATE = 400_000
SCENARIOS = ("steady-plant", "flood", "many-sites")


def measure(name: str, records: int, pack: int) -> dict[str, object]:
    """Records a second of processor time, from recordings in memory to messages."""
    scenario = read_scenario(name)
    tapes = tapes_of(scenario, 1)
    duration_us = round(records / RATE * 1e6)
    schedule = schedule_of(START_US, duration_us, speed_for(scenario, tapes, records, duration_us, 1))
    streams = streams_of(scenario, tapes, schedule.event_span_us, 1)
    for _ in slices(streams, schedule_of(START_US, 100_000, 1.0), pack):
        pass  # compiles
    started, made, size = time.process_time(), 0, 0
    for part in slices(streams, schedule, pack):
        made += int(part.records.sum())
        size += sum(map(len, part.value))
    took = time.process_time() - started
    return {
        "scenario": name,
        "sensors": len(streams),
        "pack": pack,
        "records": made,
        "bytes_a_record": round(size / made),
        "records_per_s": round(made / took),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenarios", nargs="*", default=SCENARIOS)
    parser.add_argument("--records", type=int, default=400_000)
    parser.add_argument("--pack", default="1,100")
    arguments = parser.parse_args()
    runs = [
        measure(name, arguments.records, pack)
        for name in arguments.scenarios
        for pack in map(int, arguments.pack.split(","))
    ]
    for run in runs:
        print(
            f"{run['scenario']:15} {run['sensors']:4} sensors, {run['pack']:4} a message: {run['records_per_s']:10,}/s"
        )
    print(json.dumps({"runs": runs}))


if __name__ == "__main__":
    main()
