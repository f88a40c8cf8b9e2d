"""How much each view counts: chosen on training rows alone.

Half of the criterion is what the model knows (attacks of held-out time, at a false positive rate of one in a thousand),
half what it does not: one attack family, or one sensor, left out of training at a time, at one in a hundred.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from models.igan.config import IganConfig
from models.igan.network import IganNetwork, Triple, fuse
from models.igan.origin import LEAST_ROWS, Origin, calibrate, calibrate_across
from models.rows import Floats, Ints, Mask, Rows
from models.training.fit import fit_network
from models.training.measures.binary import auroc, recall_at
from models.training.stages import Stages

# The attack view first; simpler weights come first, and the earlier candidate wins a tie.
CANDIDATES: tuple[Triple, ...] = (
    (1.0, 0.0, 0.0),
    (0.0, 1.0, 0.0),
    (0.0, 0.0, 1.0),
    (1.0, 0.0, 0.5),
    (1.0, 0.0, 1.0),
    (1.0, 0.0, 2.0),
    (1.0, 0.5, 0.0),
    (1.0, 1.0, 0.0),
    (1.0, 0.5, 0.5),
    (1.0, 0.5, 1.0),
    (1.0, 1.0, 1.0),
    (1.0, 0.5, 2.0),
)
KNOWN_RATE, UNKNOWN_RATE = 0.001, 0.01
TRIAL_COST = 0.25  # of the main network's
THIN = 3  # trial networks learn from every third normal row: ordinary polls are all alike


Figures = dict[str, dict[str, float]]


@dataclass(frozen=True, slots=True)
class ViewWeights:
    """The weights chosen, and what every candidate reached: recall and AUROC, case by case."""

    weight: Triple
    cases: dict[str, Figures]

    def document(self) -> dict[str, Any]:
        """Figures of the chosen weights, for the manifest."""
        chosen = name_of(self.weight)
        return {
            "criterion": f"recall at {KNOWN_RATE} false positives on known cases, at {UNKNOWN_RATE} on unknown ones",
            "chosen": chosen,
            "recall": {case: figures[chosen]["recall"] for case, figures in self.cases.items()},
            "auroc": {case: figures[chosen]["auroc"] for case, figures in self.cases.items()},
            "merit": {name: merit(self.cases, name) for name in map(name_of, CANDIDATES)},
        }


def name_of(weight: Triple) -> str:
    """`attack/head/distance` weights in words."""
    return "/".join(f"{value:g}" for value in weight)


def merit(cases: dict[str, Figures], name: str) -> float:
    """A candidate's mean recall on known cases and its mean recall on unknown ones, averaged."""
    known = [figures[name]["recall"] for case, figures in cases.items() if case.startswith("known")]
    unknown = [figures[name]["recall"] for case, figures in cases.items() if not case.startswith("known")]
    return float(np.mean([np.mean(part) for part in (known, unknown) if part]))


def choose_view_weights(
    network: IganNetwork,
    rows: Rows,
    y: Ints,
    fit: Mask,
    held_out: Mask,
    quiet: Mask,
    log: tuple[bool, ...],
    config: IganConfig,
    stages: Stages | None = None,
    device: str = "cpu",
) -> ViewWeights:
    """Choose the weights of the views by trying every candidate.

    Parameters
    ----------
    network : fitted to the rows of `fit`
    fit : (n,) rows that may be learnt from; held : (n,) rows of held-out time, both without rows of implausible labels
    quiet : (n,) presumed-normal rows
    """
    stages = stages or Stages()
    short = replace(
        config,
        epochs=config.choice_epochs,
        classifier_epochs=3,
        novelty_steps=min(config.novelty_steps, 300),
        gan_steps=0,
    )
    thinned = fit & ((y > 0) | (rows.source_record % THIN == 0))
    benign = y < config.benign
    usual = quiet | (benign & (y > 0))
    attack = ~benign & ~np.isin(rows.label, config.coarse)
    cases: dict[str, Figures] = {}
    for number in np.unique(y[fit & (y > 0)]):
        members, name = y == number, config.classes[int(number)]
        # A known attack should be a suspect; a harmless login should not.
        figures = _against_quiet(network, rows, members & held_out, fit & usual, held_out & quiet, KNOWN_RATE, config)
        cases |= {f"known {name}": _spared(figures) if number < config.benign else figures} if figures else {}
        if attack[members].any():
            trial = _trial(
                rows, y, thinned & ~members, log, short, stages.within(f"without {name}", TRIAL_COST), device
            )
            figures = _against_quiet(trial, rows, members, fit & usual, held_out & quiet, UNKNOWN_RATE, config)
            cases |= {f"family {name}": figures} if figures else {}
    for origin in np.unique(rows.origin):
        here = (rows.origin == origin) & (rows.replay == 0)
        elsewhere = thinned & (rows.origin != origin)
        if int((here & usual).sum()) < LEAST_ROWS or not (here & attack).any() or not (elsewhere & attack).any():
            continue
        trial = _trial(rows, y, elsewhere, log, short, stages.within(f"without {origin}", TRIAL_COST), device)
        calm = here & quiet
        calibration = calibrate_across(trial, rows.matrix[calm], rows.end_ts_us[calm], (1, 0, 0), config)
        chosen = here & (quiet | attack)
        scores = _candidates(trial, rows.matrix[chosen], calibration)
        cases[f"sensor {origin}"] = _figures(scores, attack[chosen], UNKNOWN_RATE)
    if not cases:
        return ViewWeights((1.0, 0.0, 1.0), {})
    return ViewWeights(max(CANDIDATES, key=lambda weight: round(merit(cases, name_of(weight)), 3)), cases)


def _spared(figures: Figures) -> Figures:
    """The same figures for rows that should not be suspects."""
    return {name: {key: 1 - value for key, value in weight_figures.items()} for name, weight_figures in figures.items()}


def _trial(
    rows: Rows, y: Ints, chosen: Mask, log: tuple[bool, ...], config: IganConfig, stages: Stages, device: str
) -> IganNetwork:
    random = torch.Generator(device).manual_seed(config.seed)
    return fit_network(rows.matrix[chosen], y[chosen], log, config, random, stages)


def _against_quiet(
    network: IganNetwork, rows: Rows, positive: Mask, fit: Mask, held_out: Mask, rate: float, config: IganConfig
) -> Figures:
    """Positives against held-out quiet rows, by each sensor's own calibration; empty where there are too few rows."""
    scores, labels = [], []
    for origin in np.unique(rows.origin):
        here = rows.origin == origin
        if min(int((here & fit).sum()), int((here & held_out).sum())) < LEAST_ROWS or not (here & positive).any():
            continue
        calibration = calibrate(
            network,
            rows.matrix[here & fit],
            rows.matrix[here & held_out],
            rows.source_record[here & held_out],
            (1, 0, 0),
            config,
        )
        chosen = here & (positive | held_out)
        scores.append(_candidates(network, rows.matrix[chosen], calibration))
        labels.append(positive[chosen])
    return _figures(np.concatenate(scores, axis=1), np.concatenate(labels), rate) if scores else {}


def _candidates(network: IganNetwork, matrix: Floats, calibration: Origin) -> Floats:
    """Scores (candidates, n) of rows (n, F)."""
    with torch.no_grad():
        views, _ = network.views(torch.from_numpy(matrix), calibration.distance)
        return np.stack([fuse(views, replace(calibration.fusion, weight=weight))[0].numpy() for weight in CANDIDATES])


def _figures(scores: Floats, positive: Mask, rate: float) -> Figures:
    return {
        name_of(weight): {"recall": recall_at(score, positive, ~positive, rate), "auroc": auroc(score, positive)}
        for weight, score in zip(CANDIDATES, scores, strict=True)
    }
