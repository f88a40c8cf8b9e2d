"""Stored fits as flat results, one entry a model, test, seed and task: the machine's form of a report."""

from collections.abc import Sequence
from typing import Any

from models.lab.report.documents import Document, checked, reach

NOMINAL = "0.01"  # the nominal false positive rate results are given at, where thresholds were set


def results_of(documents: Sequence[Document]) -> list[dict[str, Any]]:
    """Flat results of fits of one protocol, in their order; RefusedModel where a document is malformed.

    Binary: figures at the threshold for a nominal 1 % on out-of-fold training normals; where the protocol sets none,
    of the decision of the model as it is (`threshold` 0.5 of "not normal", `nominal_fpr` None). Other tasks: `acc`,
    `mcc` and `macro_f1` of the named class, `f1`, `fpr` and `fnr` of "not called normal".
    """
    if not documents:
        return []
    fits = checked(documents, "results")
    if fits[0]["protocol"] == "cost":
        names = ("model", "parameters", "train_seconds", "stored_bytes", "rows_per_second")
        return [{name: fit[name] for name in names} for fit in fits]
    return [_result(fit, test, figures) for fit in fits for test, figures in fit["tests"].items()]


def _result(fit: Document, test: str, figures: Document) -> dict[str, Any]:
    calibrated = reach(figures, ("at", NOMINAL))
    classes = figures.get("classes") if fit["task"] != "binary" else None
    alarm = classes["binary"] if classes else calibrated or figures.get("decision") or {}
    named = classes or alarm
    nominal = float(NOMINAL) if calibrated and not classes else None
    return {
        "model": fit["model"],
        "test": test,
        "split": fit["split"],
        "seed": fit["seed"],
        "task": fit["task"],
        "acc": named.get("acc"),
        "f1": alarm.get("f1"),
        "mcc": named.get("mcc"),
        "auroc": figures["ranking"]["auroc"],
        "auprc": figures["ranking"]["auprc"],
        "fpr": alarm.get("fpr"),
        "fnr": alarm.get("fnr"),
        "macro_f1": classes["macro_f1"] if classes else macro_f1(alarm),
        "tpr_at": figures["ranking"]["tpr_at"],
        "threshold": alarm.get("threshold"),
        "nominal_fpr": nominal,
        "reduction": fit["reduction"],
    }


def macro_f1(counts: Document) -> float | None:
    """Mean F1 of the two sides of an alarm, over the sides that occur."""
    if not counts:
        return None
    wrong = counts["fp"] + counts["fn"]
    sides = [(counts["tp"], counts["tp"] + counts["fn"]), (counts["tn"], counts["tn"] + counts["fp"])]
    scores = [2 * right / (2 * right + wrong) for right, rows in sides if rows]
    return sum(scores) / len(scores) if scores else None
