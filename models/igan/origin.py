"""What belongs to one origin of flows (a sensor, a site, or all of them pooled): its distance, units and p-values."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.igan.calibration import ConformalTable, unit_scale
from models.igan.config import IganConfig
from models.igan.network import Fusion, IganNetwork, Triple, fuse
from models.igan.novelty import Mahalanobis
from models.rows import Floats, Ints, Mask

FOLDS = 5
LEAST_ROWS = 200  # fewer quiet flows cannot say what is usual


@dataclass(frozen=True, slots=True)
class Origin:
    """One origin's calibration."""

    distance: Mahalanobis
    fusion: Fusion
    table: ConformalTable
    alert_level: float

    def document(self) -> dict[str, Any]:
        """As plain JSON values; the distance's tensors are among the weights."""
        return {"fusion": self.fusion.document(), **self.table.document(self.alert_level)}


def calibrate(
    network: IganNetwork,
    fit: Floats,
    held_out: Floats,
    held_out_flow: Ints,
    weight: Triple,
    config: IganConfig,
) -> Origin:
    """An origin's calibration: the distance from benign rows `fit` (n, F), the rest from quiet rows `held_out` (m, F).

    `held_out_flow` (m,) names the flow of each held-out row: of a flow seen in several replays the most unusual row
    counts, once, so that the table's n is a number of flows.
    """
    with torch.no_grad():
        distance = Mahalanobis.fit(network.preprocess(torch.from_numpy(fit)), config.shrinkage)
        views, _ = network.views(torch.from_numpy(held_out), distance)
    return _origin(distance, views, held_out_flow, weight, config)


def calibrate_across(
    network: IganNetwork, quiet: Floats, end_ts_us: Ints, weight: Triple, config: IganConfig
) -> Origin:
    """An origin's calibration from one quiet stretch (n, F) that the network was not fitted to.

    The distance is fitted on all of it; units and p-values come from distances of each fifth of the time to the
    other four (cross-conformal), so that no flow is measured by a distance it helped to fit.
    """
    since = end_ts_us - end_ts_us.min()
    fold = np.minimum(since * FOLDS // max(int(since.max()), 1), FOLDS - 1)
    with torch.no_grad():
        x = torch.from_numpy(quiet)
        z = network.preprocess(x)
        whole = Mahalanobis.fit(z, config.shrinkage)
        views, _ = network.views(x, whole)
        for number in range(FOLDS):
            inside = torch.from_numpy(fold == number)
            if bool(inside.any()) and bool((~inside).sum() > 1):
                views[inside, 2] = Mahalanobis.fit(z[~inside], config.shrinkage)(z[inside])
    return _origin(whole, views, np.arange(len(quiet)), weight, config)


def units(views: Tensor, weight: Triple) -> Fusion:
    """The fusion whose units come from normal rows' views (n, 3)."""
    (c_attack, s_attack), (c_head, s_head), (c_distance, s_distance) = (
        unit_scale(views[:, index].double().numpy()) for index in range(3)
    )
    return Fusion((c_attack, c_head, c_distance), (s_attack, s_head, s_distance), weight)


def _origin(distance: Mahalanobis, views: Tensor, flow: Ints, weight: Triple, config: IganConfig) -> Origin:
    fusion = units(views, weight)
    table = ConformalTable.fit(most_unusual(fuse(views, fusion)[0].numpy(), flow))
    return Origin(distance, fusion, table, max(config.alert_level, config.least_suspects * table.smallest_p))


def most_unusual(score: Floats, flow: Ints) -> Floats:
    """The highest score of every flow: (n,) scores, (n,) flow → one score a flow."""
    order = np.lexsort((score, flow))
    last: Mask = np.append(flow[order][1:] != flow[order][:-1], True)
    return score[order][last]
