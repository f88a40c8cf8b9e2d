"""The figures of record: the whole flow sustained, one record a message and packed, beside the loop by hand.

`python -m tests.bench.record [--quick]`: on one broker, one after the other: the flow over 5 million records, the loop
by hand, the same packed, and a flood in which every row is a suspect. Six minutes on two cores with nothing beside.
Writes docs/performance/flow.json and budget.svg, and the tables of the docs anew; `--quick` sends little, and writes to
var/performance alone.
"""

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from tests.bench import figures
from tests.bench.bench_flow import QUIET_RECORDS, Flow, Run, measure, place, show
from tests.bench.peers.running import HAND, PeerRun, run_peer
from tests.docs.tables import write_pages

PACK = 100
SMALL_JOB = "the small job of tests/bench/peers/job.py"


@dataclass(frozen=True, slots=True)
class Size:
    """How much is sent: to the flow, in the flood, to the loop by hand; and quiet records of a sensor to calibrate."""

    flow: int = 5_000_000
    flood: int = 1_600_000
    hand: int = 1_000_000
    quiet: int = QUIET_RECORDS


QUICK = Size(flow=40_000, flood=20_000, hand=40_000, quiet=3_000)


def ratios(calm: Run, packed: Run, flood: Run, hand: PeerRun, hand_packed: PeerRun) -> dict[str, float]:
    """What compares within this run; the loop by hand is 1."""
    return {
        "one_a_message_to_hand_loop": round(calm.records_per_s / max(1, hand.records_per_s), 2),
        "packed_to_hand_loop": round(packed.records_per_s / max(1, hand.records_per_s), 2),
        "packed_to_packed_hand_loop": round(packed.records_per_s / max(1, hand_packed.records_per_s), 2),
        "flood_to_calm": round(flood.records_per_s / calm.records_per_s, 2),
    }


def recorded(size: Size) -> dict[str, Any]:
    """Measure all of it, shown as it goes."""
    with place(quiet_records=size.quiet) as where:
        runs: dict[str, Run] = {}
        hand: dict[str, PeerRun] = {}
        for name, pack in (("one a message", 1), ("packed", PACK)):
            runs[name] = measure(where, Flow(size.flow, pack))
            hand[name] = run_peer(HAND, where.broker, size.hand, pack, where.folder)
            show([runs[name]])
            print(f"{name}: the loop by hand {hand[name].records_per_s:,} records/s", flush=True)
        runs["every row a suspect"] = measure(where, Flow(size.flood, calm=False))
        show([runs["every row a suspect"]])
    compared = ratios(
        runs["one a message"], runs["packed"], runs["every row a suspect"], hand["one a message"], hand["packed"]
    )
    print(orjson.dumps(compared).decode(), flush=True)
    return {
        "runs": {name: asdict(run) for name, run in runs.items()},
        "hand_loop": {name: asdict(run) for name, run in hand.items()},
        "hand_loop_job": SMALL_JOB,
        "ratios": compared,
    }


def picture(folder: Path, document: dict[str, Any]) -> None:
    """The budget before and after, as budget.svg."""
    before = orjson.loads((figures.FOLDER / "before.json").read_bytes())
    bars = {}
    for name in ("one a message", "packed"):
        bars[f"{before['date']}, {name}"] = before["runs"][name]["cpu_us_per_record"]
        bars[f"now, {name}"] = document["runs"][name]["cpu_us_per_record"]
    bars["now, every row a suspect"] = document["runs"]["every row a suspect"]["cpu_us_per_record"]
    figures.budget(folder / "budget.svg", bars)


def main() -> None:
    """Measure, write, and print all of it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few records, to var/performance")
    arguments = parser.parse_args()
    started = figures.origin("python -m tests.bench.record")
    document = recorded(QUICK if arguments.quick else Size())
    folder = figures.QUICK_FOLDER if arguments.quick else figures.FOLDER
    figures.write(folder, "flow", document, started)
    picture(folder, document)
    if not arguments.quick:
        write_pages()
    print(orjson.dumps(document).decode())


if __name__ == "__main__":
    main()
