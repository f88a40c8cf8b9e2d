"""Where classes are known, chosen in training: from names given on held-out time, and by networks that had not learnt
a family or a sensor.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from models.igan.known_classes import MAX_PROTOTYPES, KnownClasses, nearest
from models.rows import Doubles, Floats, Ints

KNOWN = "known"
"""The case whose network learnt every family and sensor: held-out time."""

# Wrong names at most, as a share of a case's suspects, all classes together.
WRONG_SHARE = 0.02
# How far a radius may go, where wrong names allow it: to where so many of the right names on held-out time lie (what is
# beyond is too thin), and a little farther: held-out time lies between what was learnt, later time does not.
WITHIN, FARTHER = 0.98, 1.15
PROBABILITIES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
# A class learnt from fewer rows has no place one could be near to.
LEAST_ROWS = 10
ROUNDS = 10
# What a wrong name costs in right ones, raised until there are few enough; at less than four it would be no warning.
PRICES = tuple(4.0 * 1.5**step for step in range(40))


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

    def suspects(self, benign: int) -> int:
        """How many rows a sensor without a calibration would suspect: attacks, faults, and what is called one."""
        return max(int(((self.truth >= benign) | (self.class_index >= benign)).sum()), 1)


def fit_known_classes(cases: Mapping[str, NamedRows], classes: int, benign: int) -> KnownClasses:
    """Prototypes, radius and probability of every class from `benign` on; KeyError without the case KNOWN.

    A wrong name has a price in right names on held-out time: every class takes the radius and probability that bring it
    most, if any do. The price is the lowest at which no case has more than WRONG_SHARE of wrong names.
    """
    whole = cases[KNOWN]
    offers = [_offers(cases, number, benign) for number in range(benign, classes)]
    for price in PRICES:
        chosen = [
            max(of_class, key=lambda offer: offer.right - price * float(np.mean(offer.wrong))) for of_class in offers
        ]
        if all(sum(shares) <= WRONG_SHARE for shares in zip(*(offer.wrong for offer in chosen), strict=True)):
            break
    else:
        chosen = [NEVER_KNOWN] * len(offers)
    centres = [np.zeros((0, whole.z.shape[1]), np.float32)] * benign
    for number, offer in enumerate(chosen, start=benign):
        rows = whole.learnt_z[whole.learnt_y == number]
        centres.append(prototypes(rows if offer.right > 0 else rows[:0]))
    radius = [0.0] * benign + [offer.radius for offer in chosen]
    probability = [1.0] * benign + [offer.probability for offer in chosen]
    first = np.concatenate([[0], np.cumsum([len(centre) for centre in centres])]).astype(np.int64)
    return KnownClasses(np.concatenate(centres), first, np.array(radius, np.float32), np.array(probability, np.float32))


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
class _Offer:
    """A radius and probability for a class, and what they come to.

    right: share of the suspects of held-out time that would rightly have the name; wrong: per case, share of its
    suspects that would wrongly have it.
    """

    radius: float
    probability: float
    right: float
    wrong: tuple[float, ...]


NEVER_KNOWN = _Offer(0.0, 1.0, 0.0, ())


def _offers(cases: Mapping[str, NamedRows], number: int, benign: int) -> list[_Offer]:
    """What a class may choose from, to be known nowhere first."""
    offers = [replace(NEVER_KNOWN, wrong=(0.0,) * len(cases))]
    known = cases[KNOWN]
    right = (known.class_index == number) & (known.truth == number)
    centres = {name: prototypes(case.learnt_z[case.learnt_y == number]) for name, case in cases.items()}
    if not len(centres[KNOWN]) or not right.any():
        return offers
    distance = {
        name: np.where(case.class_index == number, nearest(case.z, centres[name]), np.inf)
        for name, case in cases.items()
    }
    suspects = {name: case.suspects(benign) for name, case in cases.items()}
    radii = np.quantile(distance[KNOWN][right], np.append(np.linspace(0.05, 0.95, 19), WITHIN))
    for radius, probability in product(np.append(radii, FARTHER * radii[-1]).tolist(), PROBABILITIES):
        named = {name: (distance[name] <= radius) & (case.probability >= probability) for name, case in cases.items()}
        wrong = tuple(
            float((named[name] & (case.truth != number)).sum() / suspects[name]) for name, case in cases.items()
        )
        offers.append(_Offer(radius, probability, float((named[KNOWN] & right).sum() / suspects[KNOWN]), wrong))
    return offers


def figures(known: KnownClasses, cases: Mapping[str, NamedRows], benign: int) -> dict[str, Any]:
    """What the choice comes to in every case, with the prototypes of what its network had learnt.

    Right and wrong names as shares of its suspects; `_before`: what the classifier alone would name.
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
        right, suspects = case.class_index == case.truth, case.suspects(benign)
        document[name] = {
            "right": float((named & right).sum() / suspects),
            "wrong": float((named & ~right).sum() / suspects),
            "right_before": float((given & right).sum() / suspects),
            "wrong_before": float((given & ~right).sum() / suspects),
        }
    return document
