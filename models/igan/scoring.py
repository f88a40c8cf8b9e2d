"""What a model says of rows: the one way from features to scores, for live traffic and for protocols."""

from dataclasses import dataclass

import numpy as np

from models.igan.forward import Forward
from models.igan.origin import Origin
from models.igan.origins import Origins
from models.igan.views import attack_odds
from models.rows import Floats, Ints


@dataclass(frozen=True, slots=True)
class RowScores:
    """Scores of n rows.

    Attributes
    ----------
    score : (n,) float32 in [0, 1), how unlike normal
    novelty : (n,) float32, -log10 of the share of the origin's normal rows at least so unusual
    p_value : (n,) float32, share of the origin's normal flows with at least this score
    likeliest : (n,) int64, the likeliest class
    z : (n, F) float32, the preprocessed rows
    logits : (n, K) float32
    """

    score: Floats
    novelty: Floats
    p_value: Floats
    likeliest: Ints
    z: Floats
    logits: Floats


def score_rows(forward: Forward, origin: Origin, x: Floats) -> RowScores:
    """Raw rows (n, F) of one origin → their scores."""
    return score_each(forward, Origins([origin]), np.zeros(len(x), np.int64), x)


def score_each(forward: Forward, origins: Origins, origin: Ints, x: Floats) -> RowScores:
    """Raw rows (n, F), which of the origins each is from (n,) → their scores."""
    z, logits = forward(x)
    odds = attack_odds(logits, forward.arrays.benign)
    score, novelty = origins.odds.score(origins.distance(z, origin), odds.margin, origin)
    return RowScores(score, novelty, origins.tables.p_value(score, origin), odds.likeliest, z, logits)
