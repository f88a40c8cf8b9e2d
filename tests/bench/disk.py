"""What a record, a sensor and a model hold on disk, calm and where every row is a suspect.

`python -m tests.bench.disk [--quick]`: two runs of tests/bench/bench_flow.py, a record a message in full batches, of
eight sensors. Two minutes. Writes docs/performance/disk.json, the tables of the docs and what `forebay size` reckons
with: what states, samples and a flood take.
"""

import argparse
from pathlib import Path
from typing import Any

import orjson

from pipeline.archive.upkeep.verify import verify
from pipeline.retrain import samples
from pipeline.settings import Settings
from pipeline.tools.load.disk import KAFKA_TOPICS
from pipeline.tools.replay.states import listed
from tests.bench import figures
from tests.bench.bench_flow import QUIET_RECORDS, Flow, Place, measure, place
from tests.bench.rates import held_bytes
from tests.docs.tables import write_pages

RECORDS = 1_600_000
RUNS = {"calm": True, "every row a suspect": False}


def held(where: Place, settings: Settings, flow: Flow) -> dict[str, Any]:
    """What lies on disk once all is archived, divided by what it is of."""
    sensors = len(flow.scenario.sensor_names)
    found = verify(settings.archive_uri, None)
    stored = samples.files(settings.samples_uri)
    model = where.models / settings.model
    kafka = held_bytes(where.folder / "broker" / "kafka", settings.topic_prefix, (*KAFKA_TOPICS, "alerts"))
    return {
        "records": flow.records,
        "sensors": sensors,
        "kafka_bytes_a_record": {topic: round(size / flow.records, 1) for topic, size in kafka.items()},
        "archive_bytes_a_row": round(float(found["bytes"] / found["rows"]), 1),
        "state_bytes_a_sensor": round(newest_states(settings) / sensors),
        "samples": sum(each.rows for each in stored),
        "sample_bytes_a_row": round(
            sum((Path(str(settings.samples_uri)) / each.name).stat().st_size for each in stored)
            / max(1, sum(each.rows for each in stored)),
            1,
        ),
        "model_bytes": sum(path.stat().st_size for path in model.iterdir()),
    }


def newest_states(settings: Settings) -> int:
    """The bytes of the newest retained state of each stage and partition."""
    newest: dict[tuple[str, int], dict[str, Any]] = {}
    for state in listed(settings):
        key = state["room"], state["partition"]
        if key not in newest or state["position"] > newest[key]["position"]:
            newest[key] = state
    return sum(state["bytes"] for state in newest.values())


def measured(records: int, quiet: int) -> dict[str, Any]:
    """Both runs, shown as they go."""
    runs: dict[str, Any] = {}
    with place(quiet_records=quiet) as where:
        for name, calm in RUNS.items():
            flow = Flow(records, calm=calm)

            def look(settings: Settings, name: str = name, flow: Flow = flow) -> None:
                runs[name] = held(where, settings, flow)

            measure(where, flow, ended=look)
            print(name, orjson.dumps(runs[name]).decode(), flush=True)
    return runs


def main() -> None:
    """Measure, write, and print all of it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few records, to var/performance")
    arguments = parser.parse_args()
    started = figures.origin("python -m tests.bench.disk")
    runs = measured(20_000 if arguments.quick else RECORDS, 3_000 if arguments.quick else QUIET_RECORDS)
    figures.write(figures.QUICK_FOLDER if arguments.quick else figures.FOLDER, "disk", {"runs": runs}, started)
    if not arguments.quick:
        write_pages()
    print(orjson.dumps(runs).decode())


if __name__ == "__main__":
    main()
