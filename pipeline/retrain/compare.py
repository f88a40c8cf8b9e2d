"""Whether a candidate may replace the current model: both on the same held-out rows, each with its own thresholds.

Held-out labels come from the same people as those trained on, so they alone cannot distinguish a wrong verdict from
a right one. Attacks known for certain, on which neither model was fitted, must still be found as well as before.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.training.measures.binary import auroc

Floats = npt.NDArray[np.floating[Any]]
Mask = npt.NDArray[np.bool_]
Strings = npt.NDArray[np.str_]


@dataclass(frozen=True, slots=True)
class Gates:
    """How much worse a candidate may be, and how much evidence it takes."""

    recall_loss: float = 0.01
    false_rate_gain: float = 0.001
    auroc_loss: float = 0.002
    min_attacks: int = 20
    min_normals: int = 200
    known_recall_loss: float = 0.02
    known_false_rate_gain: float = 0.002


@dataclass(frozen=True, slots=True)
class Figures:
    """One model on the held-out rows; nan where there are no rows to measure."""

    auroc: float
    recall: float  # suspects among attack and fault rows
    false_rate: float  # suspects among normal rows


@dataclass(frozen=True, slots=True)
class Known:
    """One model on rows whose labels are beyond doubt: recall of each attack class, suspects among normal rows."""

    recall: Mapping[str, float]
    false_rate: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both models' figures, and the reasons, if any, against the candidate."""

    current: Figures
    candidate: Figures
    attacks: int
    normals: int
    known_current: Known
    known_candidate: Known
    against: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against the candidate."""
        return not self.against

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "passed": self.passed}


def figures(score: Floats, suspect: Mask, attack: Mask) -> Figures:
    """A model's figures from its scores and suspect flags."""
    return Figures(
        auroc(score, attack),
        float(suspect[attack].mean()) if attack.any() else float("nan"),
        float(suspect[~attack].mean()) if (~attack).any() else float("nan"),
    )


def known(suspect: Mask, label: Strings, benign: Iterable[str]) -> Known:
    """A model's figures on rows with labels beyond doubt."""
    normal = np.isin(label, list(benign))
    return Known(
        {str(name): float(suspect[label == name].mean()) for name in np.unique(label[~normal])},
        float(suspect[normal].mean()) if normal.any() else float("nan"),
    )


def compare(
    current: Figures,
    candidate: Figures,
    attack: Mask,
    gates: Gates,
    known_current: Known | None = None,
    known_candidate: Known | None = None,
    lost_calibration: Iterable[str] = (),
) -> Comparison:
    """Hold the candidate against the gates; too little evidence is a reason against it.

    Parameters
    ----------
    attack : (n,) which of the held-out rows are attacks or faults
    known_current, known_candidate : the same two models on what is known for certain, if there is anything
    lost_calibration : sites and sensors that the current model is calibrated for and the candidate is not
    """
    attacks, normals = int(attack.sum()), int((~attack).sum())
    against: list[str] = []
    if attacks < gates.min_attacks:
        against.append(f"only {attacks} held-out attack rows, expected at least {gates.min_attacks}")
    if normals < gates.min_normals:
        against.append(f"only {normals} held-out normal rows, expected at least {gates.min_normals}")
    for name, got, had, margin in (
        ("AUROC", candidate.auroc, current.auroc, -gates.auroc_loss),
        ("recall", candidate.recall, current.recall, -gates.recall_loss),
    ):
        # Written so that a nan on either side speaks against the candidate.
        if not got >= had + margin:
            against.append(f"{name} {got:.4f}, the current model has {had:.4f}")
    if not candidate.false_rate <= current.false_rate + gates.false_rate_gain:
        against.append(f"false rate {candidate.false_rate:.4f}, the current model has {current.false_rate:.4f}")
    before, after = known_current or NOTHING_KNOWN, known_candidate or NOTHING_KNOWN
    for name, had in before.recall.items():
        if not after.recall.get(name, float("nan")) >= had - gates.known_recall_loss:
            got = after.recall.get(name, float("nan"))
            against.append(f"recall of known {name} {got:.4f}, the current model has {had:.4f}")
    if before.false_rate + gates.known_false_rate_gain < after.false_rate:
        against.append(
            f"false rate on known normal rows {after.false_rate:.4f}, the current model has {before.false_rate:.4f}"
        )
    against += [f"not calibrated for {origin}, the current model is" for origin in lost_calibration]
    return Comparison(current, candidate, attacks, normals, before, after, tuple(against))


NOTHING_KNOWN = Known({}, float("nan"))
