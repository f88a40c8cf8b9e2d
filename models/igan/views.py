"""How far a row lies from an origin's normal traffic, and the margin of its logits: what the odds are made of."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from models.igan import kernel
from models.igan.distances import Closeness, Distance
from models.igan.forward import Forward
from models.rows import Doubles, Floats, Ints

View = Distance | Closeness


def view_of(tensors: Mapping[str, Floats]) -> View:
    """The view that these tensors make."""
    if "prototypes" in tensors:
        return Closeness(tensors["prototypes"])
    return Distance(tensors["centre"], tensors["whitening"])


def z_and_margin(forward: Forward, x: Floats, benign: int) -> tuple[Floats, Floats]:
    """Raw rows (n, F) → z (n, F), margin (n,)."""
    z, logits = forward(x)
    return z, margin(logits, benign)


def softmax(logits: Floats | Doubles) -> Doubles:
    """(n, K) → (n, K) probabilities, in double precision."""
    double = logits.astype(np.float64)
    share = np.exp(double - double.max(axis=1, keepdims=True))
    result: Doubles = share / share.sum(axis=1, keepdims=True)
    return result


class AttackOdds(NamedTuple):
    """What logits say of n rows: the margin (log-odds of any attack), and the likeliest class."""

    margin: Floats
    likeliest: Ints


def attack_odds(logits: Floats, benign: int) -> AttackOdds:
    """(n, K) → (n,) each; classes below `benign` are no attack."""
    odds = AttackOdds(np.empty(len(logits), np.float32), np.empty(len(logits), np.int64))
    kernel.attack_odds(logits, benign, *odds)
    return odds


def margin(logits: Floats, benign: int) -> Floats:
    """(n, K) → (n,) log-odds of any attack against all that is benign."""
    return attack_odds(logits, benign).margin


def class_probability(logits: Floats, index: Ints, temperature: float) -> Floats:
    """(n, K), a class of each row (n,) → (n,) its calibrated probability."""
    probability = np.empty(len(logits), np.float32)
    kernel.class_probability(logits, index, np.float32(temperature), probability)
    return probability
