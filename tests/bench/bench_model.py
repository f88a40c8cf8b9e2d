"""How fast models score, on one thread, 1,024 rows a call: `python -m tests.bench.bench_model [ROWS]`.

The shipped model on its plant's rows; a table's model with 1,024 prototypes, of NSL-KDD's shape (122 columns, 30 of
them numbers); and the shipped shape in small (`small`: 32 wide, int8). The last two have random weights: what they say
means nothing, how long they take does. Everything is in it: preprocessing, network, distance, odds, p-value, names.
The last line is one JSON document.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson

from models.igan.arrays import NetworkArrays
from models.igan.calibrate import calibrate
from models.igan.config import IganConfig
from models.igan.forward import Forward
from models.igan.quantise import quantised
from models.igan.scoring import score_rows
from models.rows import Floats
from models.serving import registry
from models.serving.device import cuda_available
from models.serving.model import Model
from models.serving.score import Scorer
from models.training.fit import cpu_type
from tests.models.igan.random_network import tensors

ROWS_A_CALL = 1024
NUMBERS, KINDS = 30, (3, 70, 11, 8)  # NSL-KDD's numeric columns; its categories' values, and flags
AT_ONCE = (16_384, 65_536)  # rows a call on a GPU


def rows_like_training(model: Model, count: int) -> Floats:
    """Rows between the usual range's ends, (count, F) float32."""
    low, high = (np.array(model.document["baseline"][name], dtype=np.float32) for name in ("q01", "q99"))
    share = np.random.default_rng(0).random((count, len(low)), dtype=np.float32)
    return low + share * (high - low)


def rows_of_a_table(count: int, random: np.random.Generator) -> Floats:
    """Prepared records: numbers, then one column a category's value of which one is 1, then flags."""
    parts = [random.normal(size=(count, NUMBERS))]
    parts += [np.eye(size)[random.integers(0, size, count)] for size in KINDS[:-1]]
    flags = random.random((count, KINDS[-1])) < 0.3
    return np.concatenate([*parts, flags], axis=1).astype(np.float32)


def rows_per_second(
    score: Callable[[Floats], Any],
    matrix: Floats,
    a_call: int = ROWS_A_CALL,
    clock: Callable[[], float] = time.thread_time,
) -> dict[str, int]:
    """By the median of all calls, and by the fastest of twenty. Another process takes no time of this thread's clock,
    but its share of the caches.
    """
    score(matrix[:a_call])
    seconds = []
    for _ in range(3):
        for start in range(0, len(matrix) - a_call + 1, a_call):
            part = matrix[start : start + a_call]
            started = clock()
            score(part)
            seconds.append(clock() - started)
    return {name: round(a_call / np.quantile(seconds, q)) for name, q in (("median", 0.5), ("fast", 0.05))}


def of_shipped(model: Model, device: str) -> Callable[[Floats], Any]:
    """The live way: a model's scorer, rows of one sensor."""
    scorer, name = Scorer(model, device), np.array(["westermo/bottom"])
    return lambda matrix: scorer.score_of(matrix, name, np.zeros(len(matrix), dtype=np.int64))


def of_table(random: np.random.Generator) -> Callable[[Floats], Any]:
    """The laboratory's way: a network on prepared columns, closeness to 1,024 prototypes."""
    made = tensors(NUMBERS + sum(KINDS), NUMBERS, classes=23)
    made |= {"preprocess.log": made["preprocess.log"] * 0, "preprocess.mean": made["preprocess.mean"] * 0}
    made |= {"preprocess.deviation": np.ones_like(made["preprocess.deviation"])}
    made |= {"knots.column": np.arange(NUMBERS, dtype=np.float32)}
    made |= {"knots.plain": np.arange(NUMBERS, NUMBERS + sum(KINDS), dtype=np.float32)}
    forward = Forward(NetworkArrays.from_tensors(made, 1, 6.0))
    config = IganConfig(classes=("normal", *map(str, range(22))), benign=1, coarse=(), view="closeness")
    origin = calibrate(
        forward, rows_of_a_table(8_192, random), rows_of_a_table(5_000, random), np.arange(5_000), config
    )
    return lambda matrix: score_rows(forward, origin, matrix)


def of_small(model: Model) -> tuple[Callable[[Floats], Any], int, int]:
    """The shipped shape 32 wide with 12 bins a number and an int8 table: what scores, its parameters and bytes."""
    knots = model.weights["knots.column"], model.weights["knots.plain"]
    made = tensors(len(model.features), len(knots[0]), 13, len(model.classes), (32, 32, 32))
    scaling = ("preprocess.log", "preprocess.mean", "preprocess.deviation")
    made |= {name: np.asarray(model.weights[name], dtype=np.float32) for name in scaling}
    made |= {"knots.column": knots[0].astype(np.float32), "knots.plain": knots[1].astype(np.float32)}
    small = quantised(made)
    learnt = [value for name, value in small.items() if name.split(".")[0] in ("lookup", "middle", "top", "last")]
    forward = Forward(NetworkArrays.from_tensors(small, model.config.benign, model.config.clip))
    origin = model.origins["westermo/bottom"]
    parameters, size = sum(value.size for value in learnt), sum(value.nbytes for value in small.values())
    return lambda matrix: score_rows(forward, origin, matrix), parameters, size


def main() -> None:
    """Print a table for people and one JSON line."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 128 * ROWS_A_CALL
    model, random = registry.load(), np.random.default_rng(1)
    matrix = rows_like_training(model, count)
    figures: dict[str, object] = {"model": model.id, "rows": count, "cpu": cpu_type()}
    figures["shipped_rows_per_s"] = rows_per_second(of_shipped(model, "cpu"), matrix)
    figures["table_rows_per_s"] = rows_per_second(of_table(random), rows_of_a_table(count, random))
    small, figures["small_parameters"], figures["small_bytes"] = of_small(model)
    figures["small_rows_per_s"] = rows_per_second(small, matrix)
    if cuda_available():
        import torch

        figures["cuda"] = torch.cuda.get_device_name(0)
        on_cuda = of_shipped(model, "cuda")
        for a_call in AT_ONCE:
            figures[f"cuda_{a_call}_rows_per_s"] = rows_per_second(
                on_cuda, matrix, min(a_call, count), time.perf_counter
            )
    for name, value in figures.items():
        sys.stdout.write(f"{name:<28} {value}\n")
    sys.stdout.write(orjson.dumps(figures).decode() + "\n")


if __name__ == "__main__":
    main()
