"""Scoring by ONNX Runtime on the CPU, with the file that `forebay model export --onnx` writes.

It takes no torch; it is slower than the kernel by an order (docs/model-export.md).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
from onnx import ModelProto

from models.rows import Floats, Ints
from models.serving.engine import TILE
from models.serving.model import Model
from models.serving.onnx_export import onnx_model
from models.serving.scored import Scored, scored_by_key

WANTED = ("score", "class_index", "probability", "known", "novelty", "p_value", "suspect")


class OnnxEngine:
    """A model as ONNX files, one a calibration, each made when its first row comes.

    Parameters
    ----------
    model : what to score with
    threads : of ONNX Runtime
    file_of : a calibration's graph → the file that ONNX Runtime reads
    """

    device = "cpu"
    rows_at_once = 8 * TILE

    def __init__(
        self, model: Model, threads: int = 1, file_of: Callable[[ModelProto], bytes] = ModelProto.SerializeToString
    ) -> None:
        self._model, self._threads, self._file_of = model, threads, file_of
        self._sessions: dict[str, Any] = {}
        self._tile = np.zeros((TILE, len(model.features)), np.float32)

    def score(self, rows: Floats, key: str) -> Scored:
        """Raw rows (n, F) of one calibration → their scores."""
        if key not in self._sessions:
            self._sessions[key] = self._session(key)
        out = Scored.empty(len(rows))
        for start in range(0, len(rows), TILE):
            part = rows[start : start + TILE]
            self._tile[: len(part)], self._tile[len(part) :] = part, 0.0
            found = dict(zip(WANTED, self._sessions[key].run(WANTED, {"rows": self._tile}), strict=True))
            found["probability"] = found["probability"].max(axis=1)  # of the likeliest class
            out.put(slice(start, start + len(part)), Scored(**{name: found[name][: len(part)] for name in WANTED}))
        return out

    def score_each(self, rows: Floats, calibration: Ints) -> Scored:
        """Raw rows (n, F), the number of each one's calibration among the model's (n,) → their scores."""
        return scored_by_key(self.score, list(self._model.origins), rows, calibration)

    def _session(self, key: str) -> Any:
        content = self._file_of(onnx_model(self._model, key))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self._threads, 1
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
