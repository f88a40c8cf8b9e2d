"""Scoring: rows through a model, by origin; a row's bits do not depend on its neighbours."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.errors import RefusedModel
from models.igan.forward import Forward
from models.igan.scoring import RowScores, score_rows, scores_of
from models.igan.views import class_probability
from models.rows import Floats, Ints, Mask, Strings
from models.serving.device import resolved
from models.serving.model import Model

ROWS_AT_ONCE = 8_192  # what is written in between stays small, however many rows are asked for


@dataclass(frozen=True, slots=True)
class Scored:
    """What the model says of n rows.

    Attributes
    ----------
    score : (n,) float32 in [0, 1), how unlike normal
    class_index : (n,) int64 into the model's classes, the likeliest; 0 for every benign one
    probability : (n,) float32, calibrated, of the likeliest class
    known : (n,) bool, the likeliest class is no benign one, and the row lies where the model knows it
    novelty : (n,) float32, -log10 of the share of the origin's quiet flows at least so unusual
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

    On the CPU a row gets the same bits however the rows are split over calls, without torch. On CUDA, tiles are staged
    in pinned memory, copied without blocking and replayed as one CUDA graph; that path is complete but has not been
    measured, and its scores agree with the CPU's within a tolerance, not bit by bit.

    Parameters
    ----------
    model : what to score with
    device : "cpu", "cuda", or "auto" (CUDA where there is one)
    """

    def __init__(self, model: Model, device: str = "auto") -> None:
        self.model = model
        self.device = resolved(device)
        self._forward = Forward(model.arrays())
        self._rows: dict[str, Callable[[Floats], RowScores]] = {}

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
        rows, width = len(matrix), len(self.model.features)
        if matrix.shape != (rows, width) or len(site) != rows or len(end_ts_us) != rows:
            raise RefusedModel(
                f"rows to score: got {matrix.shape} with {len(site)} sites and {len(end_ts_us)} times, "
                f"expected (n, {width}) with n of each"
            )
        return self.score_of(matrix, *np.unique(site, return_inverse=True))

    def score_of(self, matrix: Floats, names: Strings, number: Ints) -> Scored:
        """As `score`, the sites as distinct names (s,) and (n,) which of them each row is from."""
        rows, width = len(matrix), len(self.model.features)
        if matrix.shape != (rows, width) or len(number) != rows:
            raise RefusedModel(
                f"rows to score: got {matrix.shape} with {len(number)} sites, expected (n, {width}) with n"
            )
        score, novelty, p_value, probability = np.empty((4, rows), dtype=np.float32)
        class_index, suspect = np.zeros(rows, dtype=np.int64), np.zeros(rows, dtype=np.bool_)
        known = np.zeros(rows, dtype=np.bool_)
        keys = np.array([self.model.origin_of(str(name)) for name in names], dtype=np.str_)
        distinct = np.unique(keys) if rows else keys[:0]
        for key in distinct:
            of_origin, alert_level = self._of_origin(str(key)), np.float32(self.model.origins[str(key)].alert_level)
            for here in _parts(rows, None if len(distinct) == 1 else np.flatnonzero((keys == key)[number])):
                scored = of_origin(matrix[here])
                score[here], novelty[here], p_value[here] = scored.score, scored.novelty, scored.p_value
                suspect[here] = scored.p_value <= alert_level
                class_index[here], probability[here], known[here] = self._named(scored)
        return Scored(score, class_index, probability, known, novelty, p_value, suspect)

    def _named(self, scored: RowScores) -> tuple[Ints, Floats, Mask]:
        """Likeliest class (n,), its probability (n,), and whether the row lies where it is known (n,)."""
        probability = class_probability(scored.logits, scored.likeliest, self.model.document["temperature"])
        class_index = np.where(scored.likeliest < self.model.config.benign, 0, scored.likeliest)
        known: Mask = class_index > 0
        known[known] = self.model.known.known(scored.z[known], probability[known], class_index[known])
        return class_index, probability, known

    def _of_origin(self, key: str) -> Callable[[Floats], RowScores]:
        """Raw rows (n, F) of one origin → their scores."""
        if key not in self._rows:
            origin = self.model.origins[key]
            if self.device == "cuda":
                from models.serving.torch_forward import CudaTiles

                tiles, benign = CudaTiles(self.model.arrays(), origin.view), self.model.config.benign
                self._rows[key] = lambda rows: scores_of(origin, *tiles(rows), benign)
            else:
                self._rows[key] = lambda rows: score_rows(self._forward, origin, rows)
        return self._rows[key]


def _parts(rows: int, chosen: Ints | None) -> Iterator[slice | Ints]:
    """All of so many rows, or those chosen, a few thousand at once."""
    for start in range(0, rows if chosen is None else len(chosen), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        yield part if chosen is None else chosen[part]
