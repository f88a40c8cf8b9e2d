"""Raw to flows, to scored, to alert: how long it takes at a trickle, at a quarter, half and 90 % of the load.

`python -m tests.bench.latencies [--capacity N] [--seconds N]`: `forebay load run` with a system of its own for each
rate, lateness 0 and nothing gathered on purpose, against the times at which records were due. The capacity is the rate
of docs/performance/flow.json unless it is given. Four minutes. Writes docs/performance/latencies.json and
latencies.svg, and the tables of the docs.
"""

import argparse
import os
import subprocess
import sys
from typing import Any

import orjson

from loadtest.workload.pictures import Chart, picture
from pipeline.tools.processes import CLI
from tests.bench import figures
from tests.contract.tree import ROOT
from tests.docs.performance import read
from tests.docs.tables import write_pages

TRICKLE = 100.0
SHARES = (0.25, 0.5, 0.9)
FEW, MANY = "scan", "busy-network"
"""Scenarios of the trickle and of the shares. The faster event time runs, the more often a system does what it does by
event time: many records come from many devices. With as many at a trickle it would stand still, and nothing be learnt.
"""
KINDS = {"raw_to_flows": "flows", "raw_to_scored": "scored", "raw_to_alert": "alert"}


def step(scenario: str, rate: float, seconds: float) -> dict[str, Any]:
    """One run; exit 1 of `load run` is a record lost or doubled, and stands in the figures."""
    options = ["--rate", f"{rate:.0f}", "--duration", f"{seconds:g}", "--warm-up", f"{seconds / 4:g}", "--drain", "120"]
    done = subprocess.run(
        [sys.executable, *CLI, "load", "run", scenario, *options, "--local", "--json"],
        cwd=ROOT,
        env={**os.environ, "FOREBAY_LATENESS_US": "0", "FOREBAY_GATHER_MS": "0"},
        capture_output=True,
        text=True,
    )
    if not done.stdout.strip():
        raise SystemExit(f"load run at {rate:.0f}/s: got exit {done.returncode} and no report; it said:\n{done.stderr}")
    report = orjson.loads(done.stdout.strip().splitlines()[-1])
    return {
        name: report[name]
        for name in (
            *("scenario", "rate", "event_time_speed", "latency_ms", "lag_records"),
            *("generator_fell_behind", "out", "resources"),
        )
    }


def drawn(steps: list[dict[str, Any]]) -> str:
    """Latency by rate."""
    lines = {
        f"{title} {percentile}": [
            (each["rate"], value) for each in steps if (value := each["latency_ms"][kind][percentile])
        ]
        for kind, title in KINDS.items()
        if kind != "raw_to_flows"
        for percentile in ("p50", "p99")
    }
    return picture([Chart("due until ...", "records a second", "ms", lines, log_y=True)])


def main() -> None:
    """Print a line a rate, and all of it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--capacity", type=float, help="records a second that the flow sustains")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--scenario", help=f"of every rate; by default {FEW} for the trickle, else {MANY}")
    parser.add_argument("--quick", action="store_true", help="a trickle alone, to var/performance")
    arguments = parser.parse_args()
    flow = read("flow")
    if arguments.capacity is None and flow is None:
        parser.error("no docs/performance/flow.json; run tests.bench.record first, or give --capacity")
    capacity = arguments.capacity or (flow or {})["runs"]["one a message"]["records_per_s"]
    started = figures.origin("python -m tests.bench.latencies")
    steps = []
    for rate in [TRICKLE] if arguments.quick else [TRICKLE, *(share * capacity for share in SHARES)]:
        scenario = arguments.scenario or (FEW if rate == TRICKLE else MANY)
        steps.append(step(scenario, rate, arguments.seconds))
        shown = {
            title: f"p50 {found['p50']}, p99 {found['p99']} ms"
            for kind, title in KINDS.items()
            if (found := steps[-1]["latency_ms"][kind])["count"]
        }
        print(f"{rate:>9,.0f} records/s: {shown}", flush=True)
    folder = figures.QUICK_FOLDER if arguments.quick else figures.FOLDER
    document = {"capacity": capacity, "lateness_us": 0, "steps": steps}
    figures.write(folder, "latencies", document, started)
    (folder / "latencies.svg").write_text(drawn(steps), encoding="utf-8")
    if not arguments.quick:
        write_pages()
    print(orjson.dumps(document).decode())


if __name__ == "__main__":
    main()
