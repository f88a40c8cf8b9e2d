"""Figures about a plant's scored flows: what its events and labels come to. The measures are in models/measures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.rows import Floats, Mask, Rows, Strings
from models.training.measures.binary import auroc


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


def events_detected(stretches: Sequence[Stretch], rows: Rows, suspect: Mask) -> list[dict[str, Any]]:
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
