"""Whether a candidate may replace the current model: both on the same held-out rows, each with its own thresholds."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Gates:
    """How much worse a candidate may be, and how much evidence it takes."""

    recall_loss: float = 0.01
    false_rate_gain: float = 0.001
    auroc_loss: float = 0.002
    min_attacks: int = 20
    min_normals: int = 200


@dataclass(frozen=True, slots=True)
class Figures:
    """One model on the held-out rows."""

    auroc: float
    recall: float  # suspects among attack and fault rows
    false_rate: float  # suspects among normal rows


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both models' figures, and the reasons, if any, against the candidate."""

    current: Figures
    candidate: Figures
    attacks: int
    normals: int
    against: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against the candidate."""
        return not self.against

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "passed": self.passed}


def auroc(score: Floats, attack: Mask) -> float:
    """Area under the ROC curve by ranks, ties counted half; nan where one side is empty."""
    positives = int(attack.sum())
    negatives = attack.size - positives
    if not positives or not negatives:
        return float("nan")
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    last_rank = np.cumsum(counts)
    ranks = (last_rank - (counts - 1) / 2.0)[inverse]
    return float((ranks[attack].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def figures(score: Floats, suspect: Mask, attack: Mask) -> Figures:
    """A model's figures from its scores and suspect flags."""
    return Figures(
        auroc(score, attack),
        float(suspect[attack].mean()) if attack.any() else float("nan"),
        float(suspect[~attack].mean()) if (~attack).any() else float("nan"),
    )


def compare(current: Figures, candidate: Figures, attack: Mask, gates: Gates) -> Comparison:
    """Hold the candidate against the gates; too little evidence is a reason against it."""
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
    return Comparison(current, candidate, attacks, normals, tuple(against))
