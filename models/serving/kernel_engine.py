"""The engine that ships: the compiled network on the CPU (models/igan/kernel.py)."""

from models.igan.forward import Forward
from models.igan.origins import Origins
from models.igan.scoring import score_each
from models.rows import Floats, Ints
from models.serving.model import Model
from models.serving.scored import Scored, scored_of


class KernelEngine:
    """A model in compiled code: no tiles to fill up, since a row's bits do not depend on its neighbours."""

    device = "cpu"
    rows_at_once = 8_192  # what is written in between stays small, however many rows are asked for

    def __init__(self, model: Model) -> None:
        self._model = model
        self._forward = Forward(model.arrays())
        self._origins = Origins(list(model.origins.values()))

    def score(self, rows: Floats, key: str) -> Scored:
        """Raw rows (n, F) of one calibration → their scores."""
        return self.score_each(rows, self._model.calibrations_of([key]).repeat(len(rows)))

    def score_each(self, rows: Floats, calibration: Ints) -> Scored:
        """Raw rows (n, F), the number of each one's calibration among the model's (n,) → their scores."""
        scores = score_each(self._forward, self._origins, calibration, rows)
        return scored_of(self._model, self._origins.alert_level[calibration], scores)
