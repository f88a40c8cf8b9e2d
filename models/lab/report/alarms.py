"""Tables and pictures of attack against normal on one test table: ranking, thresholds, seen and novel, ROC, pairs."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from models.lab.report import curves
from models.lab.report.documents import OURS, Document, Fits, number, reach, spread
from models.lab.report.labels import footer, label
from models.lab.report.pictures import slug
from models.lab.report.sheets import P, Picture, Sheet, name_of, rows_of
from models.lab.significance import holm, wilcoxon
from models.training.measures.binary import mcc

EQUAL = "0.062"  # realised false positive rate at which models are compared
NAMED = 5  # curves with a name beside ours
SURE = "lightgbm"  # always named: the bar to pass
RATES = {"0.001": "0.1 %", "0.01": "1 %", "0.05": "5 %"}
PAIRED = {
    "AUROC": ("ranking", "auroc"),
    f"recall at realised FPR {EQUAL}": ("ranking", "tpr_at", EQUAL),
    "MCC at nominal 1 %": ("at", "0.01", "mcc"),
}


def auroc_order(fits: Fits, test: str) -> tuple[str, ...]:
    """Models by AUROC on a test table, those not judged on it left out."""
    order = fits.by_merit(lambda model: fits.spread(model, test, "ranking", "auroc"))
    return tuple(model for model in order if fits.figures(model, test))


def ranking(fits: Fits, test: str) -> Sheet:
    """What the score alone is worth, without any threshold of ours."""

    def cells(model: str) -> list[Any]:
        return [
            fits.spread(model, test, "ranking", "auroc"),
            fits.spread(model, test, "ranking", "auprc"),
            *(fits.spread(model, test, "ranking", "tpr_at", rate) for rate in RATES),
            fits.spread(model, test, "ranking", "tpr_at", EQUAL),
            spread(value for each in fits.figures(model, test) if (value := equal_mcc(each)) is not None),
        ]

    columns = ("Model", "AUROC", "AUPRC", *(f"TPR at {rate}" for rate in RATES.values()))
    columns = (*columns, f"recall at realised {EQUAL}", f"MCC at realised {EQUAL}", "fits")
    note = f"TPR and recall are read off the ROC at a realised false positive rate; {EQUAL} is the rate of comparison."
    return Sheet(f"{test}: ranking", columns, rows_of(fits, auroc_order(fits, test), cells), (note,))


def equal_mcc(figures: Document) -> float | None:
    """MCC at the realised rate of comparison, from the ROC and the numbers of attacks and normals."""
    recall, sides = number(figures, ("ranking", "tpr_at", EQUAL)), _sides(figures)
    if recall is None or sides is None:
        return None
    attacks, normals = sides
    tp, fp = round(recall * attacks), round(float(EQUAL) * normals)
    return mcc(tp, fp, attacks - tp, normals - fp)


def _sides(figures: Document) -> tuple[int, int] | None:
    """How many attacks and normals a test has."""
    counts = [*figures["at"].values(), figures.get("decision"), reach(figures, ("classes", "binary"))]
    first = next((each for each in counts if each), None)
    return (first["tp"] + first["fn"], first["fp"] + first["tn"]) if first else None


def _by_mcc(fits: Fits, test: str, at: tuple[str, str]) -> list[str]:
    """The models that have figures there, the best first."""
    order = fits.by_merit(lambda model: fits.spread(model, test, *at, "mcc"))
    return [model for model in order if fits.values(model, test, *at, "mcc")]


def threshold(fits: Fits, test: str, nominal: str) -> Sheet | None:
    """Figures at the threshold for a nominal rate, beside the rate that came of it; None where none was set."""
    at = ("at", nominal)
    order = _by_mcc(fits, test, at)
    if not order:
        return None
    names = ("fpr", "acc", "sen", "pre", "f1", "mcc")
    columns = ("Model", "nominal FPR", "realised FPR", "ACC", "recall", "precision", "F1", "MCC", "fits")
    rows = rows_of(fits, order, lambda model: [nominal, *(fits.spread(model, test, *at, name) for name in names)])
    note = "Thresholds are quantiles of out-of-fold scores of training normals; no test record had a part in them."
    return Sheet(f"{test}: at the threshold for a nominal {RATES.get(nominal, nominal)}", columns, rows, (note,))


def decision(fits: Fits, test: str) -> Sheet | None:
    """Figures of "the likeliest class is not normal": the models as they are, without calibration."""
    at = ("classes", "binary")
    order = _by_mcc(fits, test, at)
    if not order:
        return None
    columns = ("Model", "realised FPR", "ACC", "recall", "precision", "F1", "MCC", "fits")
    names = ("fpr", "acc", "sen", "pre", "f1", "mcc")
    rows = rows_of(fits, order, lambda model: [fits.spread(model, test, *at, name) for name in names])
    return Sheet(f"{test}: uncalibrated (likeliest class is not normal)", columns, rows)


def novel(fits: Fits, test: str) -> Sheet | None:
    """Attacks whose names training had against those it had not; None where a test has no novel ones."""
    if not any(fits.values(model, test, "novel", "auroc_novel") for model in fits.models):
        return None
    order = fits.by_merit(lambda model: fits.spread(model, test, "novel", "auroc_novel"))
    order = tuple(model for model in order if fits.figures(model, test))

    def cells(model: str) -> list[Any]:
        recall = ("novel", "recall", "0.01")
        return [
            fits.spread(model, test, "novel", "auroc_seen"),
            fits.spread(model, test, "novel", "auroc_novel"),
            fits.spread(model, test, *recall, "seen"),
            fits.spread(model, test, *recall, "novel"),
        ]

    first = next(each["novel"] for each in fits.figures(order[0], test) if each.get("novel"))
    note = f"{first['seen_rows']:,} attack records of names that training had, {first['novel_rows']:,} of others."
    columns = ("Model", "AUROC seen", "AUROC novel", "recall seen, nominal 1 %", "recall novel, nominal 1 %", "fits")
    return Sheet(f"{test}: seen against novel attacks", columns, rows_of(fits, order, cells), (note,))


def paired(fits: Fits, test: str, measures: dict[str, tuple[str, ...]], ours: str = OURS) -> list[Sheet]:
    """One model, ours, against each other one, seed by seed; none where it is not there."""
    sheets: list[Sheet] = []
    if ours not in fits.models:
        return sheets
    for title, keys in measures.items():
        order = fits.by_merit(lambda model, keys=keys: fits.spread(model, test, *keys))  # type: ignore[misc]
        differences = {model: fits.pairs(ours, model, test, *keys) for model in order if model != ours}
        differences = {model: deltas for model, deltas in differences.items() if deltas}
        p = [wilcoxon(deltas) for deltas in differences.values()]
        rows = [
            [name_of(fits, model), spread(deltas), sum(d > 0 for d in deltas), len(deltas), P(raw), P(adjusted)]
            for (model, deltas), raw, adjusted in zip(differences.items(), p, holm(p), strict=True)
        ]
        if rows:
            difference = f"Δ ({name_of(fits, ours).title} minus it)"
            columns = ("against", difference, "seeds won", "pairs", "p (Wilcoxon)", "p, Holm")
            note = (
                "The pairs differ in the seed alone: p says whether another training would win again, not whether "
                "another test table would. With 5 pairs no p below 0.0625 is possible, with 10 none below 0.002."
            )
            sheets.append(Sheet(f"{test}: {title}, seed by seed", columns, rows, (note,)))
    return sheets


def roc_picture(fits: Fits, test: str, name: str = "roc") -> Picture:
    """ROC of all models, ours and the best of the others by name, mean over fits."""
    order = auroc_order(fits, test)
    others = [model for model in order if model != OURS]
    chosen = others[:NAMED]
    if SURE in others and SURE not in chosen:
        chosen = [*chosen[: NAMED - 1], SURE]

    def draw() -> Any:
        drawn = {label(fits, model): mean for model in order if len(mean := mean_roc(fits.figures(model, test)))}
        ours = label(fits, OURS) if OURS in order and label(fits, OURS) in drawn else None
        named = [label(fits, model) for model in chosen if label(fits, model) in drawn]
        return curves.roc(f"ROC on {test}, mean over fits", drawn, ours, named, footer(fits))

    return Picture(f"{name}-{slug(test)}", f"ROC on {test}, on a linear and on a logarithmic axis", draw)


def mean_roc(figures: Sequence[Document]) -> Any:
    """Mean recall over fits at every rate any of them has: (n, 2) of [fpr, tpr]."""
    lines = [np.array(each["ranking"]["roc"], dtype=np.float64) for each in figures if each["ranking"]["roc"]]
    if not lines:
        return np.empty((0, 2))
    rates = np.unique(np.concatenate([line[:, 0] for line in lines]))
    heights = np.mean([np.interp(rates, line[:, 0], line[:, 1]) for line in lines], axis=0)
    return np.column_stack([rates, heights])
