"""How far a row lies from an origin's normal traffic, and the margin of its logits: what the odds are made of."""

from collections.abc import Mapping

import numpy as np

from models.igan.distances import Closeness, Distance
from models.igan.forward import Forward
from models.rows import Doubles, Floats

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


def margin(logits: Floats, benign: int) -> Floats:
    """(n, K) → (n,) log-odds of any attack against all that is benign."""
    attack, usual = logits[:, benign:], logits[:, :benign]
    result: Floats = _log_sum_exp(attack) - _log_sum_exp(usual)
    return result


def _log_sum_exp(logits: Floats) -> Floats:
    top = logits.max(axis=1)
    result: Floats = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    return result
