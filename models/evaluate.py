"""Figures about scored rows: how well attacks and normal traffic are told apart, class by class."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.rows import Floats, Ints, Mask, Rows, Strings


def auroc(score: Floats, positive: Mask) -> float:
    """Chance that a positive row scores above a negative one, ties counted half; NaN where one side is empty."""
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        return float("nan")
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((rank[positive].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def recall_at(score: Floats, positive: Mask, negative: Mask, rate: float) -> float:
    """Share of positives above the score that `rate` of the negatives reach."""
    threshold = np.quantile(score[negative], 1 - rate)
    return float((score[positive] > threshold).mean())


def f1_by_class(truth: Ints, said: Ints, classes: tuple[str, ...]) -> dict[str, float]:
    """F1 of every class that occurs in the truth."""
    result = {}
    for number, name in enumerate(classes):
        true, claimed = truth == number, said == number
        if true.any():
            result[name] = float(2 * (true & claimed).sum() / (true.sum() + claimed.sum()))
    return result


def expected_calibration_error(confidence: Floats, right: Mask, bins: int = 15) -> float:
    """Mean gap between stated confidence and share that was right, weighted by rows."""
    edge = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    gaps = [
        abs(float(confidence[edge == b].mean()) - float(right[edge == b].mean())) * int((edge == b).sum())
        for b in set(edge.tolist())
    ]
    return sum(gaps) / len(confidence)


def suspects_by_label(label: Strings, suspect: Mask) -> dict[str, dict[str, float]]:
    """For every label: how many rows, and the share of them that are suspects."""
    return {
        str(name): {"rows": int((label == name).sum()), "suspect": float(suspect[label == name].mean())}
        for name in np.unique(label)
    }


@dataclass(frozen=True, slots=True)
class Stretch:
    """A labelled stretch of time, in the flows' own clock: an event that should be found."""

    name: str
    label: str  # class its flows are labelled with
    kind: str  # attack, fault or benign
    start_us: int
    end_us: int


def found(stretches: Sequence[Stretch], rows: Rows, suspect: Mask) -> list[dict[str, Any]]:
    """For every stretch: whether a suspect of its label lies in it, how many do, and how long the first one took."""
    result = []
    for stretch in stretches:
        inside = (rows.end_ts_us >= stretch.start_us) & (rows.start_ts_us <= stretch.end_us)
        hits = rows.end_ts_us[inside & suspect & (rows.label == stretch.label)]
        result.append(
            {
                "event": stretch.name,
                "kind": stretch.kind,
                "start_us": stretch.start_us,
                "found": bool(len(hits)),
                "suspects": len(hits),
                "delay_s": max(0.0, (int(hits.min()) - stretch.start_us) / 1e6) if len(hits) else None,
            }
        )
    return result


def detection(
    score: Floats, suspect: Mask, label: Strings, benign: tuple[str, ...], coarse: tuple[str, ...]
) -> dict[str, Any]:
    """AUROC, recall and realised false positive rate of attacks against benign rows; coarse labels are neither."""
    negative = np.isin(label, benign)
    positive = ~negative & ~np.isin(label, coarse)
    either = negative | positive
    return {
        "auroc": auroc(score[either], positive[either]),
        "recall": float(suspect[positive].mean()) if positive.any() else None,
        "false_positive_rate": float(suspect[negative].mean()) if negative.any() else None,
        "attack_rows": int(positive.sum()),
        "benign_rows": int(negative.sum()),
        "by_label": suspects_by_label(label, suspect),
    }
