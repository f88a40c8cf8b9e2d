"""What a record costs as sensors and hosts grow, and what a second worker of each stage costs.

`python -m tests.bench.bench_scale [--records N] [--quick]`: the whole flow with 1 to 1,000 sensors, with senders of
10^3 and 10^6 addresses, with 1 and 2 workers of each stage, each pinned to a core; and in this process alone featurize
with 10^3 to 10^6 hosts. Four minutes. Writes docs/performance/scale.json and the tables of the docs.
"""

import argparse
from dataclasses import asdict, replace
from typing import Any

import orjson

from loadtest.scenarios import SCENARIOS, Scenario
from pipeline.featurize.feature_set import FEATURE_SET
from tests.bench import figures
from tests.bench.ahead import compile_ahead
from tests.bench.bench_flow import Flow, measure, place, show
from tests.bench.bench_keys import by_hosts
from tests.docs.tables import write_pages

SENSORS = (1, 10, 100, 1_000)
SENDERS = (1_000, 1_000_000)
CALIBRATED = replace(SCENARIOS["sites"], sites=1, sensors=8)
"""One site, so that its calibration holds for any number of its sensors."""


def flooded(addresses: int) -> Scenario:
    """A sensor most of whose records come from so many senders."""
    return replace(CALIBRATED, sensors=1, attack="flood", attack_records=20_000, addresses=addresses)


def main() -> None:
    """Print a table a part, and all of it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=400_000)
    parser.add_argument("--quick", action="store_true", help="few records, to var/performance")
    arguments = parser.parse_args()
    records, quiet = (20_000, 3_000) if arguments.quick else (arguments.records, 20_000)
    started = figures.origin("python -m tests.bench.bench_scale")
    compile_ahead(FEATURE_SET)
    hosts = by_hosts(FEATURE_SET)
    for each in hosts:
        print(f"{each['hosts']:>9,} hosts: featurize alone {each['ns'] / 1000:.2f} µs a record", flush=True)
    folder = figures.QUICK_FOLDER if arguments.quick else figures.FOLDER
    document: dict[str, Any] = {"hosts": hosts, "sensors": [], "senders": [], "workers": []}
    with place(quiet_records=quiet, scenario=CALIBRATED) as where:

        def measured(part: str, flow: Flow, **facts: int) -> None:
            """Measure, show, and write what there is: a run that ends early has not been for nothing."""
            run = measure(where, flow)
            show([run])
            document[part].append({**facts, **asdict(run)})
            figures.write(folder, "scale", document, started)

        for workers in (1, 2):
            measured("workers", Flow(records, workers=workers, pinned=True, scenario=CALIBRATED))
        for addresses in SENDERS:
            measured("senders", Flow(records, scenario=flooded(addresses)), addresses=addresses)
        for sensors in SENSORS:
            measured("sensors", Flow(records, scenario=replace(CALIBRATED, sensors=sensors)))
    if not arguments.quick:
        write_pages()
    print(orjson.dumps(document).decode())


if __name__ == "__main__":
    main()
