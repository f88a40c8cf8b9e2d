"""Where classes are known, chosen in training: from names given on held-out time, and by networks that had not learnt
a family or a sensor.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from models.igan.known_classes import MAX_PROTOTYPES, KnownClasses, nearest
from models.rows import Doubles, Floats, Ints, Mask

KNOWN = "known"
"""The case whose network learnt every family and sensor: held-out time."""

# Wrong names at most, as a share of a case's attacks and faults, all classes together.
WRONG_SHARE = 0.02
# How far a radius may go, where wrong names allow it: to where so many of the right names on held-out time lie (what is
# beyond is too thin), and a little farther: held-out time lies between what was learnt, later time does not.
WITHIN, FARTHER = 0.98, 1.15
PROBABILITIES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
# A class learnt from fewer rows has no place one could be near to.
LEAST_ROWS = 10
ROUNDS = 10


@dataclass(frozen=True, slots=True)
class NamedRows:
    """Names that a network gave to rows it was not fitted to.

    Attributes
    ----------
    learnt_z, learnt_y : (m, F) preprocessed rows it was fitted to and (m,) their classes; benign ones may be left out
    z : (n, F) rows it judged, preprocessed by the same constants as all others
    class_index, probability : (n,) likeliest class and its calibrated probability
    truth : (n,) their classes
    """

    learnt_z: Floats
    learnt_y: Ints
    z: Floats
    class_index: Ints
    probability: Floats
    truth: Ints


def fit_known_classes(cases: Mapping[str, NamedRows], classes: int, benign: int) -> KnownClasses:
    """Prototypes, radius and probability of every class from `benign` on; KeyError without the case KNOWN.

    Of all radii and probabilities with few enough wrong names in every case, those that keep most right ones on
    held-out time, to a hundredth; of equal ones, most in all cases. A class without a right name is known nowhere.
    """
    whole = cases[KNOWN]
    centres = [np.zeros((0, whole.z.shape[1]), np.float32)] * benign
    radius, probability = np.zeros(classes, np.float32), np.ones(classes, np.float32)
    budget = {
        name: WRONG_SHARE * int((case.truth >= benign).sum()) / (classes - benign) for name, case in cases.items()
    }
    for number in range(benign, classes):
        centre = prototypes(whole.learnt_z[whole.learnt_y == number])
        named = {name: _named(case, number, budget[name]) for name, case in cases.items()}
        best = _choose({name: each for name, each in named.items() if each is not None})
        if best is None:
            centre = centre[:0]
        else:
            radius[number], probability[number] = best
        centres.append(centre)
    first = np.concatenate([[0], np.cumsum([len(centre) for centre in centres])]).astype(np.int64)
    return KnownClasses(np.concatenate(centres), first, radius, probability)


def prototypes(z: Floats) -> Floats:
    """(m, F) rows of a class → at most MAX_PROTOTYPES of them, (p, F); none where there are too few rows.

    k-means from rows that lie farthest from each other: it depends on no random number, and rare corners of a class get
    prototypes. Sources: Gonzalez 1985, "Clustering to minimize the maximum intercluster distance"; Lloyd 1982.
    """
    if len(z) < LEAST_ROWS:
        return np.zeros((0, z.shape[1]), np.float32)
    exact = z.astype(np.float64)
    least = np.square(exact - exact.mean(axis=0)).sum(axis=1)
    centre: Doubles = np.empty((0, z.shape[1]))
    while len(centre) < MAX_PROTOTYPES and least.max() > 0:
        centre = np.vstack([centre, exact[least.argmax()]])
        least = np.minimum(least, np.square(exact - centre[-1]).sum(axis=1))
    if not len(centre):  # all rows are equal
        return z[:1].astype(np.float32)
    for _ in range(ROUNDS):
        member = np.stack([np.square(exact - each).sum(axis=1) for each in centre]).argmin(axis=0)
        size = np.bincount(member, minlength=len(centre))
        total = np.zeros_like(centre)
        np.add.at(total, member, exact)
        centre = np.where((size > 0)[:, None], total / np.maximum(size, 1)[:, None], centre)
    return centre.astype(np.float32)


@dataclass(frozen=True, slots=True)
class _Named:
    """The rows of a case that were given one name: how far they lie, how probable it was, whether it was right."""

    distance: Floats
    probability: Floats
    right: Mask
    wrong_at_most: float

    def share(self, radius: float, probability: float) -> float:
        """How many of the right names are left."""
        left = self.right & (self.distance <= radius) & (self.probability >= probability)
        return float(left.sum() / self.right.sum())


def _named(case: NamedRows, number: int, wrong_at_most: float) -> _Named | None:
    """None where the network of the case had not learnt the class."""
    centre = prototypes(case.learnt_z[case.learnt_y == number])
    given = case.class_index == number
    if not len(centre):
        return None
    distance = nearest(case.z[given], centre)
    return _Named(distance, case.probability[given], case.truth[given] == number, wrong_at_most)


def _choose(cases: Mapping[str, _Named]) -> tuple[float, float] | None:
    """The best radius and probability, None where there is none with a right name."""
    known = cases.get(KNOWN)
    if known is None or not known.right.any():
        return None
    largest = FARTHER * float(np.quantile(known.distance[known.right], WITHIN))
    best: tuple[tuple[float, float], float, float] | None = None
    for probability in PROBABILITIES:
        radius = min(largest, *(_largest_radius(case, probability) for case in cases.values()))
        shares = {name: case.share(radius, probability) for name, case in cases.items() if case.right.any()}
        merit = round(shares[KNOWN], 2), float(np.mean(list(shares.values())))
        if shares[KNOWN] > 0 and (best is None or merit > best[0]):
            best = merit, radius, probability
    return None if best is None else best[1:]


def _largest_radius(case: _Named, probability: float) -> float:
    """How far one may go before there are too many wrong names."""
    wrong = np.sort(case.distance[~case.right & (case.probability >= probability)])
    allowed = int(case.wrong_at_most)
    return float("inf") if len(wrong) <= allowed else float(np.nextafter(wrong[allowed], np.float32(0)))


def figures(known: KnownClasses, cases: Mapping[str, NamedRows], benign: int) -> dict[str, Any]:
    """What the choice comes to in every case, with the prototypes of what its network had learnt.

    Right and wrong names as shares of the attacks and faults in it; `_before`: what the classifier alone would name.
    """
    document = {}
    for name, case in cases.items():
        learnt = [
            prototypes(case.learnt_z[case.learnt_y == number] if number >= benign else case.learnt_z[:0])
            for number in range(len(known.radius))
        ]
        first = np.concatenate([[0], np.cumsum([len(centre) for centre in learnt])]).astype(np.int64)
        of_case = replace(known, centre=np.concatenate(learnt), first=first)
        given = case.class_index >= benign
        named = given & of_case.known(case.z, case.probability, case.class_index)
        right, attacks = case.class_index == case.truth, max(int((case.truth >= benign).sum()), 1)
        document[name] = {
            "right": float((named & right).sum() / attacks),
            "wrong": float((named & ~right).sum() / attacks),
            "right_before": float((given & right).sum() / attacks),
            "wrong_before": float((given & ~right).sum() / attacks),
        }
    return document
