"""Calibration of an origin from its quiet rows: the view is fitted, then odds and p-values are ranked among them."""

import numpy as np

from models.igan.calibration import ConformalTable
from models.igan.config import IganConfig
from models.igan.distances import Closeness, Distance
from models.igan.forward import Forward
from models.igan.odds import Odds, OddsConfig
from models.igan.origin import Origin
from models.igan.views import View, z_and_margin
from models.rows import Floats, Ints, Mask

FOLDS = 5
BLOCKS = 25  # from 5 to 25 nothing changed on the plant but the realised rate, .006 to .01 where .01 is nominal
LEAST_ROWS = 200  # fewer quiet flows cannot say what is usual
SHIFT_QUANTILE = 0.99  # of margins, compared with the training's; the tail beyond it is for attacks


def fit_view(z: Floats, config: IganConfig) -> View:
    """The configured view of normal rows z (n, F)."""
    if config.view == "closeness":
        return Closeness.fit(z, config.prototypes, config.seed)
    return Distance.fit(z, config.shrinkage)


def calibrate(forward: Forward, fit: Floats, held_out: Floats, held_out_flow: Ints, config: IganConfig) -> Origin:
    """An origin's calibration: the view from benign rows `fit` (n, F), the rest from quiet rows `held_out` (m, F).

    `held_out_flow` (m,) names the flow of each held-out row: of a flow seen in several replays the most unusual row
    counts, once, so that the table's n is a number of flows. The network was trained with these rows' neighbours, so
    their margins are what they seem: no shift.
    """
    view = fit_view(forward(fit)[0], config)
    z, margins = z_and_margin(forward, held_out, config.benign)
    return _origin(view, view(z), margins, held_out_flow, 0.0, config)


def calibrate_across(
    forward: Forward, quiet: Floats, end_ts_us: Ints, usual_margin: float, config: IganConfig
) -> Origin:
    """An origin's calibration from one quiet stretch (n, F) that the network was not trained with.

    The view is fitted on all of it; odds and p-values come from views of each fifth of the flows by the other four
    (cross-conformal), so that no flow is measured by a view it helped to fit. `usual_margin` is the 99th percentile
    of margins on the training's own held-out normal rows.
    """
    fold = _folds(end_ts_us)
    z, margins = z_and_margin(forward, quiet, config.benign)
    view = fit_view(z, config)
    unlike = view(z)
    for number in range(FOLDS):
        inside: Mask = fold == number
        if inside.any() and (~inside).sum() > 1:
            unlike[inside] = fit_view(z[~inside], config)(z[inside])
    shift = max(0.0, usual_margin_of(margins) - usual_margin)
    return _origin(view, unlike, margins, np.arange(len(quiet)), shift, config)


def _folds(end_ts_us: Ints) -> Ints:
    """(n,) the fold of each flow: blocks of equally many, in event time, are dealt to the folds in turn.

    With one block a fold, what a sensor does in one part of the stretch alone is measured by views that never saw the
    like, takes the top ranks, and nothing is a suspect any more; with blocks of a few flows each is measured by views
    of its own neighbours, and ordinary flows become suspects.

        flows in event time   1 2 3 4 5 6 7 8 ...      with 8 flows and 4 blocks for 2 folds
        fold                  0 0 1 1 0 0 1 1 ...
    """
    position = np.empty(len(end_ts_us), dtype=np.int64)
    position[np.argsort(end_ts_us, kind="stable")] = np.arange(len(end_ts_us))
    result: Ints = position * BLOCKS // len(end_ts_us) % FOLDS
    return result


def usual_margin_of(margins: Floats) -> float:
    """The 99th percentile of normal rows' margins (n,)."""
    return float(np.quantile(margins.astype(np.float64), SHIFT_QUANTILE))


def _origin(view: View, unlike: Floats, margins: Floats, flow: Ints, shift: float, config: IganConfig) -> Origin:
    """Odds and table of held-out quiet rows: their distances and margins (m,), and which flow each is of."""
    constants = OddsConfig(config.pi, config.margin_weight)
    # A flow that was seen several times is ranked as its most unusual row, by units that all rows have given.
    several = Odds.fit(unlike, margins, shift, constants)
    worst = most_unusual_rows(several.score(unlike, margins)[0], flow)
    odds = several.among(unlike[worst], margins[worst])
    table = ConformalTable.fit(odds.score(unlike[worst], margins[worst])[0])
    return Origin(view, odds, table, max(config.alert_level, config.least_suspects * table.smallest_p))


def most_unusual_rows(score: Floats, flow: Ints) -> Ints:
    """The row of the highest score of every flow: (n,) scores, (n,) flow → indices, one a flow."""
    order = np.lexsort((score, flow))
    last: Mask = np.append(flow[order][1:] != flow[order][:-1], True)
    result: Ints = order[last]
    return result
