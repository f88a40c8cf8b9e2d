"""How well a score separates attacks from normal records: as a ranking, and at a threshold.

One side empty: functions that return a float return NaN; what goes into documents is plain JSON and holds None
wherever a figure has no meaning (a share of nothing, a ranking of one side).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from models.rows import Doubles, Mask

Scores = npt.NDArray[np.floating[Any]]

RATES = (0.001, 0.01, 0.05, 0.062)  # realised false positive rates a ranking is read at
CURVE = np.unique(np.concatenate([np.geomspace(1e-4, 1, 110), np.linspace(0.02, 1, 50)]))


def auroc(score: Scores, positive: Mask) -> float:
    """Chance that a positive row scores above a negative one, ties counted half; NaN where one side is empty."""
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        return float("nan")
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((rank[positive].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def auprc(score: Scores, positive: Mask) -> float:
    """Average precision: precision at every distinct score, weighted by the recall gained there; NaN as `auroc`.

    Not the trapezoid under the curve, which is too friendly. Rows of one score come together.
    """
    fpr, tpr = roc(score, positive)
    if not len(fpr):
        return float("nan")
    positives = int(positive.sum())
    true, false = tpr * positives, fpr * (len(positive) - positives)
    precision = true[1:] / (true[1:] + false[1:])
    return float((np.diff(tpr) * precision).sum())


def roc(score: Scores, positive: Mask) -> tuple[Doubles, Doubles]:
    """(fpr, tpr) after every distinct score, highest first, from (0, 0) to (1, 1); empty where one side is empty."""
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        return np.empty(0), np.empty(0)
    order = np.argsort(score, kind="stable")[::-1]
    last = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1)
    true = np.cumsum(positive[order], dtype=np.int64)[last]
    false = 1 + last - true
    return np.append(0.0, false / negatives), np.append(0.0, true / positives)


def recall_at(score: Scores, positive: Mask, negative: Mask, rate: float) -> float:
    """Share of positives above the score that `rate` of the negatives reach."""
    threshold = np.quantile(score[negative], 1 - rate)
    return float((score[positive] > threshold).mean())


def tpr_at(fpr: Doubles, tpr: Doubles, rate: Doubles) -> Doubles:
    """Recall at each realised false positive rate, read off a ROC that is not empty.

    Between two points of the ROC it is the straight line, which is what a fair coin among rows of equal score
    gives: a model with few distinct scores is neither favoured nor punished. On a vertical stretch, its top.
    """
    left = np.searchsorted(fpr, rate, side="right") - 1  # the last point at or below the rate
    right = np.minimum(left + 1, len(fpr) - 1)
    width = fpr[right] - fpr[left]
    share = np.where(width > 0, (rate - fpr[left]) / np.where(width > 0, width, 1.0), 0.0)
    height: Doubles = tpr[left] + share * (tpr[right] - tpr[left])
    return height


def ranking(score: Scores, positive: Mask) -> dict[str, Any]:
    """AUROC, average precision, recall at fixed realised rates, and the ROC at up to 200 rates, dense where low."""
    fpr, tpr = roc(score, positive)
    if not len(fpr):
        return {"auroc": None, "auprc": None, "tpr_at": {f"{rate:g}": None for rate in RATES}, "roc": []}
    curve = np.append(0.0, CURVE)
    points = np.column_stack([np.append(0.0, curve), np.append(0.0, tpr_at(fpr, tpr, curve))])
    heights = tpr_at(fpr, tpr, np.array(RATES))
    return {
        "auroc": auroc(score, positive),
        "auprc": auprc(score, positive),
        "tpr_at": {f"{rate:g}": float(height) for rate, height in zip(RATES, heights, strict=True)},
        "roc": np.round(points, 6).tolist(),
    }


def at_threshold(score: Scores, positive: Mask, threshold: float) -> dict[str, Any]:
    """Counts and shares where a row is a suspect whose score is above the threshold.

    sen, spe, pre, jss (tp / (tp + fp + fn)), fpr, fnr and f1 are None where their denominator is 0; mcc is 0 where
    all rows are, or are called, the same (the convention of scikit-learn).
    """
    suspect = score > threshold
    tp, fp = int((suspect & positive).sum()), int((suspect & ~positive).sum())
    fn, tn = int(positive.sum()) - tp, int((~positive).sum()) - fp
    return {
        "threshold": float(threshold),
        "acc": share(tp + tn, len(positive)),
        "sen": share(tp, tp + fn),
        "spe": share(tn, tn + fp),
        "pre": share(tp, tp + fp),
        "jss": share(tp, tp + fp + fn),
        "fpr": share(fp, tn + fp),
        "fnr": share(fn, tp + fn),
        "f1": share(2 * tp, 2 * tp + fp + fn),
        "mcc": mcc(tp, fp, fn, tn),
        "tp": tp,
        "fp": fp,
        "tn": tn,
        "fn": fn,
    }


def mcc(tp: int, fp: int, fn: int, tn: int) -> float:
    """Matthews correlation of counts; 0 where a side is empty."""
    scale = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)  # Python integers: no overflow
    return float((tp * tn - fp * fn) / scale**0.5) if scale else 0.0


def seen_and_novel(score: Scores, attack: Mask, novel: Mask, thresholds: Mapping[float, float]) -> dict[str, Any]:
    """Attacks whose name occurred in training, and those whose name did not, each against all normal records.

    `thresholds`: nominal false positive rate → threshold. None where a side is empty.
    """
    novel = novel & attack
    seen = attack & ~novel
    normal = ~attack
    return {
        "novel_rows": int(novel.sum()),
        "seen_rows": int(seen.sum()),
        "auroc_novel": plain(auroc(score[novel | normal], attack[novel | normal])),
        "auroc_seen": plain(auroc(score[seen | normal], attack[seen | normal])),
        "recall": {
            f"{nominal:g}": {
                "seen": share(int((score[seen] > threshold).sum()), int(seen.sum())),
                "novel": share(int((score[novel] > threshold).sum()), int(novel.sum())),
            }
            for nominal, threshold in thresholds.items()
        },
    }


def share(part: int, whole: int) -> float | None:
    """Part / whole; None of nothing."""
    return part / whole if whole else None


def plain(figure: float) -> float | None:
    """A figure for a document: None where it is not finite."""
    return float(figure) if np.isfinite(figure) else None
