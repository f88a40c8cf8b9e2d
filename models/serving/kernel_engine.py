"""The engine that ships: the compiled network on the CPU (models/igan/kernel.py)."""

from models.igan.forward import Forward
from models.igan.scoring import score_rows
from models.rows import Floats
from models.serving.model import Model
from models.serving.scored import Scored, scored_of


class KernelEngine:
    """A model in compiled code: no tiles to fill up, since a row's bits do not depend on its neighbours."""

    device = "cpu"
    rows_at_once = 8_192  # what is written in between stays small, however many rows are asked for

    def __init__(self, model: Model) -> None:
        self._model = model
        self._forward = Forward(model.arrays())

    def score(self, rows: Floats, key: str) -> Scored:
        """Raw rows (n, F) of one calibration → their scores."""
        return scored_of(self._model, key, score_rows(self._forward, self._model.origins[key], rows))
