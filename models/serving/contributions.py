"""What makes a model find a row suspect: its log-odds of an attack, shared out over the features."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.errors import RefusedModel
from models.igan.distances import Closeness
from models.igan.odds import Odds
from models.igan.views import View, margin
from models.rows import Doubles, Floats
from models.serving.model import Model
from models.serving.torch_forward import TorchForward

STEPS = 64
"""Points of the way from usual to the row: 16 times as many move shares of the shipped model's suspects by .2 %."""
ROWS_AT_ONCE = 64  # what each feature adds to the first layer: 80 x 256 numbers a row


@dataclass(frozen=True, slots=True)
class Contributions:
    """What each feature adds to the log-odds of an attack of n rows, against the usual row that each is compared with.

        log_odds = usual + the sum of by_feature

    Attributes
    ----------
    log_odds : (n,) float64, of the rows, as scoring has them
    usual : (n,) float64, of the usual rows
    by_feature : (n, F) float64
    distance : (n,) float64, how much of the difference is for lying far from usual rows; the rest is for likeness to
        attacks that the model was trained with
    """

    log_odds: Doubles
    usual: Doubles
    by_feature: Doubles
    distance: Doubles


def contributions(model: Model, origin: str, rows: Floats, steps: int = STEPS) -> Contributions:
    """Share the log-odds of raw rows (n, F) out over their features, measured as rows of `site/sensor` are.

    A row is compared with the nearest prototype of normal traffic, or, in a model that measures distance from a
    centre, with that centre. The log-odds are of two numbers, the classifier's margin and the distance; what each adds
    is its Shapley value of the two. The margin's is shared out by integrated gradients at the look-up layer, to which
    each feature adds what it adds, the distance's by the integrated gradients of a distance, which are its terms. All
    shares of a row add up to the difference.

    Source: Sundararajan, Taly, Yan 2017, "Axiomatic attribution for deep networks", equation 1; Shapley 1953, "A value
    for n-person games".
    """
    if rows.ndim != 2 or rows.shape[1] != len(model.features):
        raise RefusedModel(f"rows to explain: got {rows.shape}, expected (n, {len(model.features)})")
    of_origin, benign = model.origins[model.origin_of(origin)], model.config.benign
    forward = TorchForward(model.arrays(), of_origin.view, "cpu")
    with torch.inference_mode():
        z = forward.prepared(torch.from_numpy(np.ascontiguousarray(rows, np.float32)))
    usual = _usual_rows(of_origin.view, z)
    here, there = (
        (
            margin(forward.logits(forward.wide(part)).numpy(), benign).astype(np.float64),
            of_origin.view(np.ascontiguousarray(part.numpy())).astype(np.float64),
        )
        for part in (z, usual)
    )
    whole, none = log_odds(of_origin.odds, *here), log_odds(of_origin.odds, *there)
    alone, without = log_odds(of_origin.odds, here[0], there[1]), log_odds(of_origin.odds, there[0], here[1])
    by_margin = (whole - without + alone - none) / 2
    by_distance = whole - none - by_margin
    parts = [
        _margin_terms(forward, z[start : start + ROWS_AT_ONCE], usual[start : start + ROWS_AT_ONCE], benign, steps)
        for start in range(0, len(z), ROWS_AT_ONCE)
    ]
    terms = np.concatenate([np.zeros((0, rows.shape[1])), *parts])
    by_feature = _shared_out(terms, by_margin) + _shared_out(_distance_terms(of_origin.view, z, usual), by_distance)
    return Contributions(whole, none, by_feature, by_distance)


def log_odds(odds: Odds, margins: Doubles, distances: Doubles) -> Doubles:
    """(n,) margins and distances → (n,) log-odds of an attack (Odds.score)."""
    p = odds.p_unknown(odds.unusual(distances.astype(np.float32), margins.astype(np.float32)))
    result: Doubles = np.logaddexp(margins - odds.shift, np.log(odds.constants.pi) - np.log(p))
    return result


def _usual_rows(view: View, z: Tensor) -> Tensor:
    """(n, F) the usual row that each row is compared with."""
    if isinstance(view, Closeness):
        return torch.tensor(view.prototypes[view.nearest(np.ascontiguousarray(z.numpy()))])
    return torch.tensor(view.centre).repeat(len(z), 1)


def _margin_terms(forward: TorchForward, z: Tensor, usual: Tensor, benign: int, steps: int) -> Doubles:
    """(n, F) each feature's integrated gradient of the margin, from usual rows to rows, at the look-up layer."""
    first, last = forward.wide(usual), forward.wide(z)
    total = torch.zeros_like(first)
    for step in range(steps):
        wide = (first + (step + 0.5) / steps * (last - first)).requires_grad_()
        logits = forward.logits(wide)
        margins = logits[:, benign:].logsumexp(dim=1) - logits[:, :benign].logsumexp(dim=1)
        total += torch.autograd.grad(margins.sum(), wide)[0] / steps
    added = forward.by_feature(z) - forward.by_feature(usual)
    result: Doubles = torch.einsum("nfh,nh->nf", added, total).double().numpy()
    return result


def _distance_terms(view: View, z: Tensor, usual: Tensor) -> Doubles:
    """(n, F) each feature's share of the squared distance: along a ray its gradient points one way."""
    apart: Doubles = (z - usual).double().numpy()
    if isinstance(view, Closeness):
        return apart * apart
    whitening = view.whitening.astype(np.float64)
    result: Doubles = apart * (apart @ whitening.T @ whitening)
    return result


def _shared_out(terms: Doubles, total: Doubles) -> Doubles:
    """Totals (n,) in proportion to terms (n, F), which add up to what made them; nothing where that is nothing."""
    sums = terms.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.where(np.abs(sums) > 1e-12, total / sums, 0.0)
    result: Doubles = terms * factor[:, None]
    return result
