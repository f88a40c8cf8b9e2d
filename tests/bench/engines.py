"""How fast each engine scores, by rows a call: rows/s, p50 and p99 of a call.

`python -m tests.bench.engines [--seconds N] [--quick]`: `forebay score bench` of all engines that run here, with one
thread for torch too; and the ONNX file in eight bits, which is no engine, timed in the same way. Two minutes. Writes
docs/performance/engines.json and the table of docs/inference.md.
"""

import argparse
import os
import subprocess
import sys
from typing import Any

import orjson

from models.serving import registry
from models.serving.onnx_engine import OnnxEngine
from models.serving.score import Scorer
from models.training.fit import cpu_type
from pipeline.tools.inference.engine_timing import timed
from pipeline.tools.processes import CLI
from tests.bench import figures
from tests.bench.bench_onnx import eight_bit
from tests.contract.tree import ROOT
from tests.docs.tables import write_pages

ROWS_A_CALL = (64, 1_024, 4_096, 16_384)
ORIGIN = "westermo/left"
EIGHT_BITS = "onnx, eight bits"


def of_engines(seconds: float) -> dict[str, Any]:
    """What `forebay score bench` says of every engine that runs here."""
    options = ["--seconds", f"{seconds:g}", "--origin", ORIGIN, "--json"]
    options += [word for rows in ROWS_A_CALL for word in ("--rows", str(rows))]
    done = subprocess.run(
        [sys.executable, *CLI, "score", "bench", *options],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"score bench: got exit {done.returncode}, expected 0; it said:\n{done.stderr}")
    document: dict[str, Any] = orjson.loads(done.stdout.strip().splitlines()[-1])
    return document


def of_eight_bits(seconds: float) -> list[dict[str, Any]]:
    """The same of the ONNX file in eight bits."""
    model = registry.load("")
    scorer = Scorer(model, engine=OnnxEngine(model, file_of=eight_bit))
    return [each.document() for each in timed(EIGHT_BITS, scorer, ORIGIN, ROWS_A_CALL, seconds)]


def main() -> None:
    """Print a line an engine and size, and all of it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=6.0, help="for each engine and number of rows")
    parser.add_argument("--quick", action="store_true", help="a tenth of a second each, to var/performance")
    arguments = parser.parse_args()
    seconds = 0.1 if arguments.quick else arguments.seconds
    started = figures.origin("python -m tests.bench.engines")
    document = of_engines(seconds)
    document = {
        "kafka": False,
        "cpu": cpu_type(),
        "threads": 1,
        "model": document["model"],
        "origin": document["origin"],
        "engines": [*document["engines"], *of_eight_bits(seconds)],
        "not_run": sorted(document["left_out"]),
    }
    for each in document["engines"]:
        print(
            f"{each['engine']:17} {each['rows_a_call']:6,} rows a call: {each['rows_per_s']:9,} rows/s, "
            f"p50 {each['p50_ms']:.2f}, p99 {each['p99_ms']:.2f} ms of {each['calls']:,} calls",
            flush=True,
        )
    figures.write(figures.QUICK_FOLDER if arguments.quick else figures.FOLDER, "engines", document, started)
    if not arguments.quick:
        write_pages()
    print(orjson.dumps(document).decode())


if __name__ == "__main__":
    main()
