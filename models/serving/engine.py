"""What computes scores: one protocol, which the engines in `models/serving/engines.py` have."""

from typing import Protocol

from models.rows import Floats, Ints
from models.serving.scored import Scored

TILE = 1024  # rows of one computation of all engines but the kernel


class Engine(Protocol):
    """Rows in, scores by their calibrations out. One thread at a time."""

    @property
    def device(self) -> str:
        """`cpu` or `cuda`."""

    @property
    def rows_at_once(self) -> int:
        """Rows that one call takes at most."""

    def score(self, rows: Floats, key: str) -> Scored:
        """Raw rows (n, F), n at most `rows_at_once`, of the calibration `key` of the model → their scores."""

    def score_each(self, rows: Floats, calibration: Ints) -> Scored:
        """As `score`, rows of many calibrations: the number of each one's among the model's `origins` (n,)."""
