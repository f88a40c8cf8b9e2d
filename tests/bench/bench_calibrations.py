"""What calibrations cost scoring, by how many sensors have one: `python -m tests.bench.bench_calibrations [COUNT]`.

Processor time of 1,000 rows through `Scorer.score_of`, each from another sensor in turn, and the memory that the model
and its scorer take; the median of a few, with the shipped model's calibrations under many names, each a bit different.
The last line is one JSON document.
"""

import sys
import time
import tracemalloc
from statistics import median

import numpy as np
import orjson

from models.serving import registry
from models.serving.model import Model, finish
from models.serving.parity import golden_rows
from models.serving.score import Scorer

ROWS = 1_000
CALLS = 12


def calibrated(shipped: Model, count: int) -> Model:
    """The shipped model, calibrated for so many more sensors."""
    document = {name: value for name, value in shipped.document.items() if name not in ("id", "weights_sha256")}
    calibration, weights = dict(document["calibration"]), dict(shipped.weights)
    for number in range(count):
        key, source = f"plant/tap-{number}", list(shipped.origins)[number % len(shipped.origins)]
        odds = calibration[source]["odds"]
        calibration[key] = {**calibration[source], "odds": {**odds, "shift": odds["shift"] + number / count}}
        for name in ("centre", "whitening"):
            weights[f"{name}.{key}"] = shipped.weights[f"{name}.{source}"] * np.float32(1 + number / count)
    return finish({**document, "calibration": calibration}, weights)


def measured(count: int) -> dict[str, float]:
    """Milliseconds a call, and MiB."""
    made = calibrated(registry.load(), count)
    tracemalloc.start()
    scorer = Scorer(Model(made.document, made.weights), "cpu")
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    rows = np.resize(golden_rows(made), (ROWS, len(made.features)))
    names, number = np.array([f"plant/tap-{each}" for each in range(count)]), np.arange(ROWS) % count
    took = []
    for _ in range(CALLS):
        started = time.thread_time_ns()
        scorer.score_of(rows, names, number)
        took.append((time.thread_time_ns() - started) / 1e6)
    return {"ms": round(median(took), 2), "mib": round(held / 2**20, 1)}


def main() -> None:
    """A line for one calibration, and one for many."""
    many = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    document = {str(count): measured(count) for count in (1, many)}
    for count, found in document.items():
        print(f"{count:>6} calibrations: {found['ms']:7.2f} ms of CPU, {found['mib']:6.1f} MiB")
    print(orjson.dumps(document).decode())


if __name__ == "__main__":
    main()
