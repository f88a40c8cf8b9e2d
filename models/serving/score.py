"""Scoring: rows through a model, by origin, on an engine."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from models.errors import RefusedModel
from models.rows import Floats, Ints, Strings
from models.serving.device import resolved
from models.serving.engine import Engine
from models.serving.engines import engine_of
from models.serving.model import Model
from models.serving.scored import Scored


class Scorer:
    """A model on an engine: rows of many origins, each measured by its own calibration.

    With the kernel, which scores on the CPU without torch, a row gets the same bits however the rows are split over
    calls. Engines agree with each other within a tolerance, not bit by bit (models/serving/engines.py).

    Parameters
    ----------
    model : what to score with
    device : "cpu", "cuda", or "auto" (CUDA where there is one)
    engine : what computes; by default the device's own
    """

    def __init__(self, model: Model, device: str = "auto", engine: Engine | None = None) -> None:
        self.model = model
        self.device = resolved(device) if engine is None else engine.device
        self._engine = engine or engine_of("cuda" if self.device == "cuda" else "kernel", model)

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

    def score_of(self, matrix: Floats, names: Iterable[str], number: Ints) -> Scored:
        """As `score`, the sites as distinct names (s,) and (n,) which of them each row is from."""
        return self.score_by(matrix, self.model.calibrations_of(names)[number])

    def score_by(self, matrix: Floats, calibration: Ints) -> Scored:
        """As `score`, of each row (n,) the number of the calibration it is measured by (Model.calibrations_of)."""
        rows, width = len(matrix), len(self.model.features)
        if matrix.shape != (rows, width) or len(calibration) != rows:
            raise RefusedModel(
                f"rows to score: got {matrix.shape} with {len(calibration)} sites, expected (n, {width}) with n"
            )
        out = Scored.empty(rows)
        for start in range(0, rows, self._engine.rows_at_once):
            here = slice(start, start + self._engine.rows_at_once)
            out.put(here, self._engine.score_each(matrix[here], calibration[here]))
        return out
