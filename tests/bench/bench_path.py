"""`raw` to `features` on a real broker: ingest and featurize as processes, on the cores the broker has too.

`python -m tests.bench.bench_path [--records N] [--pack 1,100] [--broker FOLDER]`; the last line is one JSON
document. Beside it, in the same run, a loop that only counts the same messages.
"""

import argparse
import uuid
from pathlib import Path

import orjson

from tests.bench.path import Run, count_only, fill, run_path, settings_for, workplace


def measure(kafka: str, broker: int, records: int, pack: int, folder: Path) -> tuple[Run, float]:
    """One run over fresh topics, and the messages a second of the loop that only counts."""
    settings = settings_for(kafka, f"b{uuid.uuid4().hex[:10]}.", folder)
    fill(settings, records, pack)
    counted = count_only(settings, settings.topics.raw)
    return run_path(settings, records, folder / "stages", broker), counted


def main() -> None:
    """Print a line a run, and all of it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--pack", default="1,100")
    parser.add_argument(
        "--broker", type=Path, help="a local broker's folder, where it runs already or is to keep running"
    )
    arguments = parser.parse_args()
    runs = []
    with workplace("bench-path-", arguments.broker) as (folder, running):
        for pack in map(int, arguments.pack.split(",")):
            run, counted = measure(running.bootstrap, running.pid, arguments.records, pack, folder / f"pack-{pack}")
            cpu = ", ".join(f"{name} {us:.1f}" for name, us in run.cpu_us_per_record.items())
            print(
                f"raw to features, {pack} a message: {run.records_per_s:,.0f} records/s; "
                f"CPU µs a record: {cpu}; a loop that only counts: {counted * pack:,.0f} records/s "
                f"(ratio {run.records_per_s / (counted * pack):.2f})"
            )
            runs.append(
                {
                    "pack": pack,
                    "records": run.records,
                    "records_per_s": round(run.records_per_s),
                    "features_messages": run.messages,
                    "cpu_us_per_record": {name: round(us, 2) for name, us in run.cpu_us_per_record.items()},
                    "count_only_records_per_s": round(counted * pack),
                }
            )
    print(orjson.dumps({"runs": runs}).decode())


if __name__ == "__main__":
    main()
