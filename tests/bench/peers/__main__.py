"""The same small job by Faust, Quix Streams, Bytewax, Pathway, Flink, a loop by hand and Forebay, and the whole flow.

`python -m tests.bench.peers [--records N] [--only faust,quix,...] [--quick]`: JSON is decoded, flows to the destination
in the last 2 s are counted, a small network scores, Kafka takes the answer. One after the other on one broker and the
same cores, one record a message and 100. Six minutes, the first time five more, to install 2.5 GB of others. Writes
docs/performance/peers.json and the tables of the docs; the last line is one JSON document.
"""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from tests.bench import figures
from tests.bench.bench_flow import QUIET_RECORDS, Flow, Place, measure, place
from tests.bench.peers.running import PEERS, run_peer, version
from tests.bench.peers.small_job import network, run_small_job
from tests.docs.tables import write_pages

PACKS = (1, 100)
FOREBAY = {
    "forebay-small": {
        "title": "Forebay, this job: three stages, 19 features",
        "guarantee": "exactly once, the window included",
        "leaves_out": "nothing of the job",
    },
    "forebay": {
        "title": "Forebay, the whole flow: six stages, 75 features",
        "guarantee": "exactly once, the window included, to closed and verified files",
        "leaves_out": "nothing of the job",
    },
}


def forebay(where: Place, name: str, records: int, models: Path, model: str) -> list[dict[str, Any]]:
    """The small job or the whole flow, one record a message and packed."""
    runs: list[dict[str, Any]] = []
    for pack in PACKS:
        if name == "forebay":
            whole = measure(where, Flow(records, pack))
            rate, cpu = float(whole.records_per_s), whole.cpu_us_per_record
        else:
            small = run_small_job(where.broker, records, pack, where.folder, models, model)
            rate, cpu = small.records_per_s, {stage: round(us, 2) for stage, us in small.cpu_us_per_record.items()}
        runs.append({"pack": pack, "records": records, "records_per_s": round(rate), "cpu_us_per_record": cpu})
    return runs


def table(results: dict[str, dict[str, Any]]) -> None:
    """The results, each beside the loop by hand at one record a message."""
    hand = results.get("hand", {"runs": [{"records_per_s": 0}]})["runs"][0]["records_per_s"]
    for name, result in results.items():
        for run in result["runs"]:
            ratio = f"{run['records_per_s'] / hand:6.2f}" if hand else "     –"
            print(
                f"{name:18} {result['version']:10} {run['pack']:>4} a message {run['records']:>9,} records "
                f"{run['records_per_s']:>9,} records/s {ratio}  "
                f"{sum(run['cpu_us_per_record'].values()):7.1f} µs of CPU a record",
                flush=True,
            )


def main() -> None:
    """Print a line a run, and all of it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=400_000)
    everyone = [*(peer.name for peer in PEERS), *FOREBAY]
    parser.add_argument("--only", default=",".join(everyone), help="some of them, to var/performance")
    parser.add_argument("--quick", action="store_true", help="few records, to var/performance")
    arguments = parser.parse_args()
    wanted = arguments.only.split(",")
    records = 20_000 if arguments.quick else arguments.records
    started = figures.origin("python -m tests.bench.peers")
    results: dict[str, dict[str, Any]] = {}
    with place(quiet_records=3_000 if arguments.quick else QUIET_RECORDS) as where:
        for peer in (each for each in PEERS if each.name in wanted):
            facts = {"title": peer.title, "guarantee": peer.guarantee, "leaves_out": peer.leaves_out}
            runs = [
                asdict(run_peer(peer, where.broker, round(records * peer.share), pack, where.folder)) for pack in PACKS
            ]
            results[peer.name] = {**facts, "version": version(peer), "runs": runs}
            table({peer.name: results[peer.name]})
        models = where.folder / "small-models"
        model = network(models) if "forebay-small" in wanted else ""
        for name in (each for each in FOREBAY if each in wanted):
            # Twice as many: it reads as fast as the loop by hand, and its stages start meanwhile.
            results[name] = {
                **FOREBAY[name],
                "version": "here",
                "runs": forebay(where, name, 2 * records, models, model),
            }
    table(results)
    of_record = not arguments.quick and set(wanted) == set(everyone)
    figures.write(figures.FOLDER if of_record else figures.QUICK_FOLDER, "peers", {"peers": results}, started)
    if of_record:
        write_pages()
    print(orjson.dumps(results).decode())


if __name__ == "__main__":
    main()
