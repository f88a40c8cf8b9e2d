"""How fast engines score: rows a second, and how long calls of several sizes take."""

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.runtime.wire.batches import matrix, matrix_column

if TYPE_CHECKING:
    from models.serving.model import Model
    from models.serving.score import Scorer

ROWS_A_CALL = (1, 64, 1_024, 16_384)
LEAST_CALLS = 5
MAX_CALLS = 100_000
BATCHES = 4
"""Batches of one size that take turns: none stays in the processor's nearest cache."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Calls of one size on one engine.

    Attributes
    ----------
    rows_per_s : by the clock: another process's load counts
    rows_per_cpu_s : by processor time of this process, all its threads
    p50_ms, p99_ms : of a call, from rows in Arrow's memory to results; of 100 calls or fewer, p99 is the longest
    """

    engine: str
    rows_a_call: int
    calls: int
    rows_per_s: int
    rows_per_cpu_s: int
    p50_ms: float
    p99_ms: float

    def document(self) -> dict[str, object]:
        """As plain JSON values."""
        return asdict(self)


def usual_rows(model: "Model", count: int) -> npt.NDArray[np.float32]:
    """Rows between the ends of the training's usual range: (count, F)."""
    from models.serving.parity import usual_range

    low, high = usual_range(model)
    share = np.random.default_rng(0).random((count, len(low)), dtype=np.float32)
    return low + share * (high - low)


def in_arrow(rows: npt.NDArray[np.float32], pinned: bool) -> pa.RecordBatch:
    """Rows as a features column; `pinned`: in memory that a GPU reads without a copy on the way."""
    if pinned:
        from models.serving.torch_engine import in_pinned_memory

        rows = in_pinned_memory(rows)
    return pa.RecordBatch.from_arrays([matrix_column(rows)], names=["features"])


def timed(
    name: str, scorer: "Scorer", origin: str, sizes: Iterable[int] = ROWS_A_CALL, seconds: float = 1.0
) -> list[Timing]:
    """An engine's calls of each size, for so long or five calls at least, after one that warms it up."""
    return [_timed(name, scorer, origin, size, seconds) for size in sizes]


def _timed(name: str, scorer: "Scorer", origin: str, size: int, seconds: float) -> Timing:
    rows, names = usual_rows(scorer.model, size * BATCHES), np.array([origin])
    batches = [in_arrow(rows[at : at + size], scorer.device == "cuda") for at in range(0, len(rows), size)]
    number = np.zeros(size, np.int64)
    for batch in batches:
        scorer.score_of(matrix(batch), names, number)
    took: list[int] = []
    started_cpu, started = time.process_time_ns(), time.perf_counter_ns()
    until = started + int(seconds * 1e9)
    while len(took) < LEAST_CALLS or (time.perf_counter_ns() < until and len(took) < MAX_CALLS):
        before = time.perf_counter_ns()
        scorer.score_of(matrix(batches[len(took) % BATCHES]), names, number)
        took.append(time.perf_counter_ns() - before)
    whole_s = (time.perf_counter_ns() - started) / 1e9
    cpu_s = max((time.process_time_ns() - started_cpu) / 1e9, 1e-9)
    took_ms = np.array(took) / 1e6
    p50, p99 = np.quantile(took_ms, 0.5), np.quantile(took_ms, 0.99, method="higher")
    done = size * len(took)
    return Timing(
        name, size, len(took), round(done / whole_s), round(done / cpu_s), round(float(p50), 4), round(float(p99), 4)
    )
