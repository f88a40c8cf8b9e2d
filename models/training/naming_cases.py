"""Names given to what a network had not learnt: held-out time, attack families left out, sensors left out."""

from collections.abc import Callable

import numpy as np

from models.igan.config import IganConfig
from models.rows import Floats, Ints, Mask, Rows
from models.training.known_fit import KNOWN, NamedRows

THIN = 3  # trial networks learn from every third normal row: ordinary polls are all alike
LEAST_ATTACKS = 50  # of a sensor, and of the others together: fewer say nothing about names

# Raw rows (n, F) → preprocessed rows (n, F), and calibrated probabilities (n, K).
Namer = Callable[[Floats], tuple[Floats, Floats]]


def naming_cases(
    rows: Rows,
    y: Ints,
    fit: Mask,
    held_out: Mask,
    config: IganConfig,
    whole: Namer,
    trial: Callable[[str, Mask], Namer],
) -> dict[str, NamedRows]:
    """What `whole`, and networks without a family or a sensor, call rows they were not fitted to.

    Parameters
    ----------
    y : (n,) class of each row
    fit, held_out : (n,) rows that `whole` was fitted to, and rows of held-out time
    trial : fits a network to the rows of a mask (n,), under a name for the stage; classes it does not meet get
        probability 0
    """
    attack = (y >= config.benign) & ~np.isin(rows.label, config.coarse)
    cases = {KNOWN: _named(rows, y, fit, held_out, whole, whole, config)}
    thinned = fit & ((y > 0) | (rows.source_record % THIN == 0))
    families = np.unique(y[fit & attack])
    for number in families if len(families) > 1 else families[:0]:
        of_family = y == number
        namer = trial(f"without {config.classes[int(number)]}", thinned & ~of_family)
        judged = of_family | held_out
        cases[f"family {config.classes[int(number)]}"] = _named(rows, y, fit & ~of_family, judged, namer, whole, config)
    for origin in np.unique(rows.origin):
        here = rows.origin == origin
        if min(int((attack & fit & ~here).sum()), int((attack & here).sum())) < LEAST_ATTACKS:
            continue
        namer = trial(f"without {origin}", thinned & ~here)
        believed = (fit | held_out) & here & (rows.replay == 0)
        cases[f"sensor {origin}"] = _named(rows, y, fit & ~here, believed, namer, whole, config)
    return cases


def trials(rows: Rows, y: Ints, fit: Mask, config: IganConfig) -> int:
    """The most networks that `naming_cases` fits besides."""
    families = np.unique(y[fit & (y >= config.benign) & ~np.isin(rows.label, config.coarse)])
    return (len(families) if len(families) > 1 else 0) + len(np.unique(rows.origin))


def _named(
    rows: Rows, y: Ints, learnt: Mask, judged: Mask, namer: Namer, whole: Namer, config: IganConfig
) -> NamedRows:
    learnt = learnt & (y >= config.benign)
    learnt_z, _ = whole(rows.matrix[learnt])
    z, _ = whole(rows.matrix[judged])
    _, probability = namer(rows.matrix[judged])
    class_index = probability.argmax(axis=1)
    likeliest = probability[np.arange(len(probability)), class_index].astype(np.float32)
    return NamedRows(learnt_z, y[learnt], z, class_index, likeliest, y[judged])
