"""How much each view of IGAN-IDS counts on a table, chosen on its training records: attack families left out in turn.

Tables differ: where attacks of tomorrow are those of today the classifier is right, where they are new ones distance
from normal traffic is. Small networks are fitted to part of the records; each meets known attacks it has not seen,
attacks of families left out, and normal records of which some are of a kind it has never met.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch

from models.igan.evidence import VIEWS, Evidence, Weights
from models.igan.prototypes import Prototypes
from models.rows import Doubles, Floats, Ints, Mask
from models.training.measures.binary import auroc, recall_at

FOLDS = 4  # families (where there is but one, names) are dealt into so many parts, each left out once
ROWS = 15_000  # of the training records are drawn for it, at least LEAST of every name
LEAST = 50
HELD_OUT = 0.25  # of them are not fitted to
KINDS, STRANGE_KINDS, STRANGE_SHARE = 100, 12, 0.25  # clusters of normal records, those a fold leaves out, their share
FEW = 10  # attacks are too few for a figure below it
RATES = (0.05, 0.01)  # false positive rates that recall is read off at

CANDIDATES: tuple[Weights, ...] = tuple(
    (attack, head, distance, 1.0)
    for distance, head, attack in product((0.5, 0.0, 1.0), (0.0, 0.5, 1.0), (1.0, 0.5, 0.25, 2.0, 4.0, 8.0))
)

# (records to learn from (n, F), their names (n,)) → what gives any records' views (m, 4)
Fit = Callable[[Floats, Ints], Callable[[Floats], Floats]]


@dataclass(frozen=True, slots=True)
class EvidenceWeights:
    """The weights, and what they reached on known and on left-out attacks; None where there were none."""

    weight: Weights
    known: float | None
    unknown: float | None

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**dict(zip(VIEWS, self.weight, strict=True)), "known": self.known, "unknown": self.unknown}


def choose_evidence_weights(matrix: Floats, name: Ints, family: Ints, fit: Fit, seed: int) -> EvidenceWeights:
    """The candidate with the best mean of two halves: known attacks held out, attacks of families left out.

    Each half is the mean of AUROC and of recall at RATES, folds counting alike.

    Parameters
    ----------
    matrix : (n, F) prepared training records
    name, family : (n,) of the attack, 0 for normal
    """
    random = np.random.default_rng(seed)
    rows = _drawn(name, random)
    matrix, name = np.ascontiguousarray(matrix[rows]), name[rows]
    single_family = len(np.unique(family[rows])) < 3
    _, kin = np.unique(name if single_family else family[rows], return_inverse=True)
    known: list[Doubles] = []
    unknown: list[Doubles] = []
    for fold in _folds(matrix, name, kin, random):
        views = fit(matrix[fold.fit], name[fold.fit])
        normal = views(matrix[fold.usual])
        evidence = Evidence.fit(normal[::2], CANDIDATES[0])
        usual = evidence.surprise(normal[1::2])
        strange = evidence.surprise(views(matrix[fold.strange]))
        both = np.concatenate([usual, strange])
        for attacks, negatives, figures in ((fold.known, usual, known), (fold.unknown, both, unknown)):
            if attacks.sum() >= FEW and len(negatives):
                figures.append(_figures(evidence.surprise(views(matrix[attacks])), negatives))
    halves = [np.mean(figures, axis=0) for figures in (known, unknown) if figures]
    best = int(np.argmax(np.round(np.mean(halves, axis=0), 3))) if halves else 0
    reached = [float(np.mean(figures, axis=0)[best]) if figures else None for figures in (known, unknown)]
    return EvidenceWeights(CANDIDATES[best], *reached)


@dataclass(frozen=True, slots=True)
class _Fold:
    """Which records (n,) are what in a fold."""

    fit: Mask
    usual: Mask  # normal, held out
    strange: Mask  # normal, of kinds that the fold leaves out
    known: Mask  # attacks of names it learnt from, held out
    unknown: Mask  # attacks of names it did not


def _folds(matrix: Floats, name: Ints, kin: Ints, random: np.random.Generator) -> Iterator[_Fold]:
    """`kin` (n,): what an attack is left out with, numbered without gaps, 0 normal."""
    normal = np.flatnonzero(name == 0)
    z = torch.from_numpy(matrix[normal])
    kinds = Prototypes.fit(z, KINDS, torch.Generator().manual_seed(int(random.integers(2**31))))
    kind = np.full(len(name), -1)
    kind[normal] = kinds.nearest(z).numpy()
    part = np.append(-1, random.permutation(int(kin.max())) % FOLDS)[kin]
    for number in range(FOLDS):
        left_out = part == number
        if left_out[name > 0].all():
            left_out[:] = False  # without any attack there is nothing to learn
        strange = np.isin(kind, random.choice(KINDS, STRANGE_KINDS, replace=False))
        if strange[normal].all():
            strange[:] = False
        held_out = random.random(len(name)) < HELD_OUT
        held_out[normal[:4]] = np.arange(len(normal[:4])) % 2 == 0  # however few, both sides have some
        usual = held_out & (name == 0) & ~strange
        some = np.flatnonzero(strange)
        wanted = int(usual.sum() / 2 * STRANGE_SHARE / (1 - STRANGE_SHARE)) + 1
        shown = np.zeros(len(name), dtype=np.bool_)
        shown[random.permutation(some)[:wanted]] = True
        fit = ~held_out & ~strange & ~left_out
        if (fit & (name > 0)).any() and (fit & (name == 0)).sum() > 1 and usual.sum() > 1:
            learnt = np.isin(name, np.unique(name[fit]))
            yield _Fold(fit, usual, shown, held_out & (name > 0) & learnt, left_out)


def _drawn(name: Ints, random: np.random.Generator) -> Ints:
    """Positions of up to ROWS records, LEAST of every name first."""
    order = random.permutation(len(name))
    sorted_order = order[np.argsort(name[order], kind="stable")]
    _, start, count = np.unique(name[sorted_order], return_index=True, return_counts=True)
    rank = np.arange(len(name)) - np.repeat(start, count)
    first = sorted_order[np.argsort(rank >= LEAST, kind="stable")]
    scarce = int((rank < LEAST).sum())
    rest = random.permutation(first[scarce:])
    chosen: Ints = np.sort(np.concatenate([first[:scarce], rest])[: max(ROWS, scarce)])
    return chosen


def _figures(surprise: Doubles, negatives: Doubles) -> Doubles:
    """(candidates,) mean of AUROC and of recall at RATES.

    Parameters
    ----------
    surprise : (n, 4) of attacks
    negatives : (m, 4) of normal records
    """
    weight = np.array(CANDIDATES).T  # (4, candidates)
    both = np.concatenate([surprise, negatives]) @ weight
    attack = np.repeat([True, False], [len(surprise), len(negatives)])
    parts = [[auroc(score, attack), *(recall_at(score, attack, ~attack, rate) for rate in RATES)] for score in both.T]
    result: Doubles = np.mean(parts, axis=1)
    return result
