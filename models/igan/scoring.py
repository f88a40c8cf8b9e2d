"""What a model says of rows of one origin: the one way from features to scores, for live traffic and for protocols."""

from dataclasses import dataclass

from models.igan.forward import Forward
from models.igan.origin import Origin
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
    z, logits = forward(x)
    return scores_of(origin, z, logits, origin.view(z), forward.arrays.benign)


def scores_of(origin: Origin, z: Floats, logits: Floats, distance: Floats, benign: int) -> RowScores:
    """The scores of rows by an origin's odds: z (n, F), logits (n, K), distances (n,) by the origin's view."""
    odds = attack_odds(logits, benign)
    score, novelty = origin.odds.score(distance, odds.margin)
    return RowScores(score, novelty, origin.table.p_value(score), odds.likeliest, z, logits)
