"""How fast the shipped model scores: `python -m tests.bench.bench_model [ROWS]`; the last line is one JSON document."""

import sys
import time

import numpy as np
import orjson
import torch

from models.serving import registry
from models.serving.model import Model
from models.serving.score import Scorer
from models.training.fit import cpu_type


def rows_like_training(model: Model, count: int) -> np.ndarray:
    """Rows between the usual range's ends, (count, F) float32."""
    low, high = (np.array(model.document["baseline"][name], dtype=np.float32) for name in ("q01", "q99"))
    share = np.random.default_rng(0).random((count, len(low)), dtype=np.float32)
    return low + share * (high - low)


def rows_per_second(scorer: Scorer, matrix: np.ndarray) -> float:
    """Best of three runs."""
    end_ts_us = np.zeros(len(matrix), dtype=np.int64)
    origin = np.where(np.arange(len(matrix)) % 2, "westermo/left", "westermo/bottom")
    best = float("inf")
    for _ in range(3):
        started = time.perf_counter()
        scorer.score(matrix, end_ts_us, origin)
        best = min(best, time.perf_counter() - started)
    return len(matrix) / best


def main() -> None:
    """Print a table for people and one JSON line."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 65_536
    model = registry.load()
    matrix = rows_like_training(model, count)
    figures: dict[str, object] = {"model": model.id, "rows": count, "cpu": cpu_type()}
    for threads in (1, 2):
        torch.set_num_threads(threads)
        figures[f"cpu_{threads}_threads_rows_per_s"] = round(rows_per_second(Scorer(model, "cpu"), matrix))
    if torch.cuda.is_available():
        figures["cuda"] = torch.cuda.get_device_name(0)
        figures["cuda_rows_per_s"] = round(rows_per_second(Scorer(model, "cuda"), matrix))
    for name, value in figures.items():
        sys.stdout.write(f"{name:<28} {value}\n")
    sys.stdout.write(orjson.dumps(figures).decode() + "\n")


if __name__ == "__main__":
    main()
