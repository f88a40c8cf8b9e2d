"""Scoring: rows through the network in tiles of one size, so that a row's bits do not depend on its neighbours."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.errors import RefusedModel
from models.igan.forward import TileForward
from models.igan.network import fuse
from models.rows import Floats, Ints, Mask, Strings
from models.serving.device import resolved
from models.serving.model import Model

TILE = 1024


@dataclass(frozen=True, slots=True)
class Scored:
    """What the model says of n rows.

    Attributes
    ----------
    score : (n,) float32 in [0, 1), how unlike normal
    class_index : (n,) int64 into the model's classes, the likeliest; 0 for every benign one
    probability : (n,) float32, calibrated, of the likeliest class
    known : (n,) bool, the likeliest class is no benign one, and the row lies where the model knows it
    novelty : (n,) float32, in units where normal traffic has median 0 and 99th percentile 1
    p_value : (n,) float32, share of the site's presumed-normal flows at least this unusual
    suspect : (n,) bool, p_value at or below the site's alert level
    """

    score: Floats
    class_index: Ints
    probability: Floats
    known: Mask
    novelty: Floats
    p_value: Floats
    suspect: Mask


class Scorer:
    """A model on a device.

    Every forward is a tile of exactly 1,024 rows (the last one padded with zeros): a row gets the same bits however
    the rows are split over calls. Single precision throughout. On CUDA, tiles are staged in pinned memory, copied
    without blocking and replayed as one CUDA graph; that path is complete but has only been run where a GPU was,
    and its scores agree with the CPU's within a tolerance, not bit by bit.

    Parameters
    ----------
    model : what to score with
    device : "cpu", "cuda", or "auto" (CUDA where there is one)
    """

    def __init__(self, model: Model, device: str = "auto") -> None:
        self.model = model
        self.device = resolved(device)
        self._network = model.network()
        self._preprocess = self._network.preprocess if self.device == "cpu" else model.network().preprocess
        self._network = self._network.to(self.device)
        self._distances = {key: origin.distance.to(self.device) for key, origin in model.origins.items()}
        self._width = len(model.features)
        self._tile = torch.zeros((TILE, self._width), pin_memory=self.device == "cuda")
        self._in_buffers = TileForward(self._network, TILE) if self.device == "cpu" else None
        self._forwards: dict[str, Callable[[Tensor], Tensor]] = {}

    @property
    def manifest(self) -> dict[str, Any]:
        """The model's manifest."""
        return self.model.document

    def score(self, matrix: Floats, end_ts_us: Ints, site: Strings) -> Scored:
        """Score rows.

        Parameters
        ----------
        matrix : (n, F) float32, the feature set the model was trained on (Model.expect_features)
        end_ts_us : (n,) event time; this version's tables do not change with it
        site : (n,) `site/sensor` or `site`: whose calibration each row is measured by (Model.origin_of)
        """
        rows = len(matrix)
        if matrix.shape != (rows, self._width) or len(site) != rows or len(end_ts_us) != rows:
            raise RefusedModel(
                f"rows to score: got {matrix.shape} with {len(site)} sites and {len(end_ts_us)} times, "
                f"expected (n, {self._width}) with n of each"
            )
        return self.score_of(matrix, *np.unique(site, return_inverse=True))

    def score_of(self, matrix: Floats, names: Strings, number: Ints) -> Scored:
        """As `score`, the sites as distinct names (s,) and (n,) which of them each row is from."""
        rows = len(matrix)
        if matrix.shape != (rows, self._width) or len(number) != rows:
            raise RefusedModel(
                f"rows to score: got {matrix.shape} with {len(number)} sites, expected (n, {self._width}) with n"
            )
        out = np.empty((rows, 4), dtype=np.float32)  # score, class, novelty, probability
        p_value = np.empty(rows, dtype=np.float32)
        suspect = np.empty(rows, dtype=np.bool_)
        keys = np.array([self.model.origin_of(str(name)) for name in names], dtype=np.str_)
        distinct = np.unique(keys) if rows else keys[:0]
        for key in distinct:
            chosen = slice(None) if len(distinct) == 1 else np.flatnonzero((keys == key)[number])
            origin = self.model.origins[str(key)]
            scored = self._tiles(matrix[chosen], str(key))
            p = origin.table.p_value(scored[:, 0])
            out[chosen], p_value[chosen], suspect[chosen] = scored, p, p <= np.float32(origin.alert_level)
        class_index = out[:, 1].astype(np.int64)
        class_index = np.where(class_index < self.model.config.benign, 0, class_index)
        score, novelty, probability = (out[:, column].copy() for column in (0, 2, 3))
        known = self._known(matrix, class_index, probability)
        return Scored(score, class_index, probability, known, novelty, p_value, suspect)

    def _known(self, matrix: Floats, class_index: Ints, probability: Floats) -> Mask:
        """(n,) which rows lie where the model knows their class; benign ones do not ask."""
        known = class_index >= self.model.config.benign
        if self.model.known is not None and known.any():
            with torch.inference_mode():
                z = self._preprocess(torch.from_numpy(np.ascontiguousarray(matrix[known]))).numpy()
            known[known] = self.model.known.known(z, probability[known], class_index[known])
        return known

    def _tiles(self, matrix: Floats, key: str) -> Floats:
        """(n, F) rows of one origin → (n, 4) score, class index, novelty, probability."""
        if key not in self._forwards:
            self._forwards[key] = self._prepare(key)
        forward, tile = self._forwards[key], self._tile.numpy()
        out = np.empty((len(matrix), 4), dtype=np.float32)
        with torch.inference_mode():
            for start in range(0, len(matrix), TILE):
                part = matrix[start : start + TILE]
                tile[: len(part)] = part
                tile[len(part) :] = 0.0
                out[start : start + len(part)] = forward(self._tile)[: len(part)].cpu().numpy()
        return out

    def _prepare(self, key: str) -> Callable[[Tensor], Tensor]:
        """One origin's forward: (TILE, F) → (TILE, 4) score, class index (exact in float32), novelty, probability."""
        distance, fusion = self._distances[key], self.model.origins[key].fusion
        if self._in_buffers is not None:
            in_buffers = self._in_buffers
            return lambda tile: in_buffers(tile, distance, fusion)

        def forward(tile: Tensor) -> Tensor:
            views, logits = self._network.views(tile, distance)
            score, novelty = fuse(views, fusion)
            likeliest = torch.softmax(logits, dim=1).max(dim=1)
            return torch.stack([score, likeliest.indices.to(torch.float32), novelty, likeliest.values], dim=1)

        return _CudaGraph(forward, self._width).replay if self.device == "cuda" else forward


class _CudaGraph:
    """One tile's forward, captured once and replayed: a launch for the whole network instead of one a layer."""

    def __init__(self, forward: Callable[[Tensor], Tensor], width: int) -> None:
        self._input = torch.zeros((TILE, width), device="cuda")
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream), torch.inference_mode():
            for _ in range(3):  # capture needs warmed-up libraries
                forward(self._input)
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph), torch.inference_mode():
            self._output = forward(self._input)

    def replay(self, tile: Tensor) -> Tensor:
        """(TILE, F) pinned on the host → (TILE, 4) on the device; the caller's copy back waits for it."""
        self._input.copy_(tile, non_blocking=True)
        self._graph.replay()
        return self._output
