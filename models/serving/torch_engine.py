"""Scoring by torch, on the CPU or on a CUDA device.

On CUDA rows wait in pinned memory: a ring of two slots, each with a stream of its own, so that one slot's rows are
copied while the other's are scored. A slot has one CUDA graph a bucket and calibration. A bucket is a number of tiles
of 1,024 rows, each of them scored by operations of that one size, whatever the bucket.
Complete, and tested on the CPU but for streams and graphs; on a GPU it has not been run or measured.
"""

import ctypes
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor

from models.igan.distances import expected_rows
from models.rows import Floats, Ints
from models.serving.engine import TILE
from models.serving.model import Model
from models.serving.scored import Scored, scored_by_key
from models.serving.torch_scoring import COLUMNS, TorchScoring, scored

BUCKETS = (1, 2, 4, 8)  # tiles; 16,384 rows fill both slots
RING = 2
WARM_UPS = 3  # forwards before a capture: it needs libraries that are warm


class Slot:
    """Memory for the rows of one bucket at most, and what scores them there.

    On the CPU there is no second memory, no stream and no graph: the rows are scored where they are staged.
    """

    def __init__(self, features: int, device: str) -> None:
        rows, self._cuda = BUCKETS[-1] * TILE, device == "cuda"
        self._staged = torch.zeros((rows, features), pin_memory=self._cuda)
        self._result = torch.zeros((rows, len(COLUMNS)), pin_memory=self._cuda)
        self._input = torch.zeros_like(self._staged, device=device) if self._cuda else self._staged
        self._output = torch.zeros_like(self._result, device=device) if self._cuda else self._result
        self._stream = torch.cuda.Stream() if self._cuda else None  # type: ignore[no-untyped-call]
        self._replays: dict[tuple[str, int], Callable[[], None]] = {}

    def prepare(self, key: str, scoring: TorchScoring) -> None:
        """Make what scores by a calibration, for each bucket: later no rows wait for that."""
        for tiles in BUCKETS:
            self._replays[key, tiles] = self._captured(scoring, tiles)

    def start(self, rows: Floats, key: str) -> None:
        """Begin to score rows (n, F), 0 < n, by a calibration that is prepared: what `finish` returns.

        On CUDA it does not wait.
        """
        count, tiles = len(rows), bucket(len(rows))
        source = as_tensor(rows)
        if not (self._cuda and source.is_pinned()):
            self._staged[:count] = source
            source = self._staged[:count]
        with self._on_stream():
            if self._cuda:
                self._input[:count].copy_(source, non_blocking=True)
            self._replays[key, tiles]()
            if self._cuda:
                self._result[:count].copy_(self._output[:count], non_blocking=True)

    def finish(self, count: int) -> Scored:
        """The scores of the rows begun last."""
        if self._stream is not None:
            self._stream.synchronize()
        return scored(self._result[:count].numpy())

    def _on_stream(self) -> AbstractContextManager[object]:
        return torch.cuda.stream(self._stream) if self._stream is not None else nullcontext()

    def _captured(self, scoring: TorchScoring, tiles: int) -> Callable[[], None]:
        """What scores so many tiles where they lie: on CUDA a graph."""

        @torch.inference_mode()
        def run() -> None:
            for start in range(0, tiles * TILE, TILE):
                self._output[start : start + TILE] = scoring(self._input[start : start + TILE])

        if self._stream is None:
            return run
        self._stream.wait_stream(torch.cuda.current_stream())  # which has filled the memory with zeros
        with self._on_stream():
            for _ in range(WARM_UPS):
                run()
        self._stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        # Of this thread alone: another engine's may be at work.
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            run()
        return graph.replay


class TorchEngine:
    """A model by torch's operations.

    Parameters
    ----------
    model : what to score with
    device : "cpu" or "cuda"
    half : three layers in bfloat16
    """

    rows_at_once = 4 * RING * BUCKETS[-1] * TILE

    def __init__(self, model: Model, device: str, half: bool = False) -> None:
        self.device = device
        self._model, self._half = model, half
        self._prepared: set[str] = set()
        self._slots = [Slot(len(model.features), device) for _ in range(RING)]

    def score(self, rows: Floats, key: str) -> Scored:
        """Raw rows (n, F) of one calibration → their scores."""
        if key not in self._prepared:
            scoring = TorchScoring(self._model, key, self.device, self._half)
            for slot in self._slots:
                slot.prepare(key, scoring)
            self._prepared.add(key)
        rows = expected_rows(rows, len(self._model.features)) if self.device == "cpu" else rows
        out, most = Scored.empty(len(rows)), BUCKETS[-1] * TILE
        begun: list[slice] = []
        for number, start in enumerate(range(0, len(rows), most)):
            slot = self._slots[number % RING]
            if number >= RING:
                self._collect(out, begun, number - RING)
            begun.append(slice(start, min(start + most, len(rows))))
            slot.start(rows[begun[-1]], key)
        for number in range(max(len(begun) - RING, 0), len(begun)):
            self._collect(out, begun, number)
        return out

    def score_each(self, rows: Floats, calibration: Ints) -> Scored:
        """Raw rows (n, F), the number of each one's calibration among the model's (n,) → their scores."""
        return scored_by_key(self.score, list(self._model.origins), rows, calibration)

    def _collect(self, out: Scored, begun: list[slice], number: int) -> None:
        here = begun[number]
        out.put(here, self._slots[number % RING].finish(here.stop - here.start))


def bucket(rows: int) -> int:
    """The smallest bucket, in tiles, that takes so many rows."""
    return next(tiles for tiles in BUCKETS if rows <= tiles * TILE)


def in_pinned_memory(rows: Floats) -> Floats:
    """Rows (n, F) copied to where a CUDA device reads them without another copy."""
    pinned: Floats = torch.from_numpy(rows).pin_memory().numpy()
    return pinned


def as_tensor(rows: Floats) -> Tensor:
    """Rows (n, F) as a tensor on the same memory, also where it is Arrow's, which numpy may only read.

    They are only read here; torch has no tensor that says so.
    """
    if not rows.flags.c_contiguous or rows.dtype != np.float32 or not rows.size:
        return torch.from_numpy(np.array(rows, np.float32))
    if not rows.flags.writeable:
        memory = (ctypes.c_float * rows.size).from_address(rows.ctypes.data)
        rows = np.ctypeslib.as_array(memory).reshape(rows.shape)
    return torch.from_numpy(rows)
