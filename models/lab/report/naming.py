"""Tables and pictures of the multi-class task on one test table: who names records best, class by class."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from models.lab.report import curves
from models.lab.report.bars import Panel, panels
from models.lab.report.documents import OURS, Fits, Spread
from models.lab.report.labels import footer, label, labels, row_of
from models.lab.report.pictures import slug
from models.lab.report.sheets import Interval, Picture, Sheet, rows_of
from models.training.measures.intervals import wilson

SHOWN = 4  # models of the confusion and reliability pictures
SURE = "lightgbm"


def macro_order(fits: Fits, test: str) -> tuple[str, ...]:
    """Models by macro-F1 on a test table; those that name no classes are left out."""
    order = fits.by_merit(lambda model: fits.spread(model, test, "classes", "macro_f1"))
    return tuple(model for model in order if fits.values(model, test, "classes", "acc"))


def overall(fits: Fits, test: str) -> Sheet:
    """Accuracy, macro-F1, MCC, and whether the stated confidence is right."""

    def cells(model: str) -> list[Spread | None]:
        return [
            *(fits.spread(model, test, "classes", name) for name in ("macro_f1", "acc", "mcc")),
            fits.spread(model, test, "classes", "reliability", "ece"),
            fits.spread(model, test, "classes", "reliability", "brier"),
        ]

    rows = rows_of(fits, macro_order(fits, test), cells)
    return Sheet(f"{test}: classes", ("Model", "macro-F1", "ACC", "MCC", "ECE", "Brier", "fits"), rows)


def classes_of(fits: Fits, test: str) -> dict[str, int]:
    """Classes that occur in a test table, with their records."""
    counts: dict[str, int] = {}
    for model in macro_order(fits, test):
        for figures in fits.figures(model, test):
            if figures.get("classes"):
                counts |= {name: entry["n"] for name, entry in figures["classes"]["recall"].items() if entry["n"]}
    return counts


def recall(fits: Fits, model: str, test: str, name: str, rows: int) -> Interval | None:
    """Mean recall over fits, and Wilson's interval for the test's records of the class."""
    recalls_of_fits = fits.values(model, test, "classes", "recall", name, "recall")
    if not recalls_of_fits:
        return None
    mean = float(np.mean(recalls_of_fits))
    low, high = wilson(mean * rows, rows)
    return Interval(mean, low or 0.0, high if high is not None else 1.0)


def recalls(fits: Fits, test: str) -> Sheet:
    """Recall of every class with its interval."""
    classes = classes_of(fits, test)
    rows = rows_of(
        fits,
        macro_order(fits, test),
        lambda model: [recall(fits, model, test, name, rows) for name, rows in classes.items()],
    )
    columns = ("Model", *(f"{name} ({rows:,})" for name, rows in classes.items()), "fits")
    note = "Recall, mean over fits, with Wilson's 95 % interval for the number of test records in brackets above."
    return Sheet(f"{test}: recall of each class", columns, rows, (note,))


def pictures(fits: Fits, test: str) -> list[Picture]:
    """Recall with intervals, confusion matrices, reliability."""
    order, at = macro_order(fits, test), slug(test)
    if not order:
        return []
    shown = _shown(order)
    named = ", ".join(label(fits, model) for model in shown)
    return [
        Picture(f"recall-{at}", f"Recall of each class on {test}, 95 % intervals", lambda: _recall(fits, test, order)),
        Picture(f"confusion-{at}", f"Confusion matrices on {test}: {named}", lambda: _confusion(fits, test, shown)),
        Picture(f"reliability-{at}", f"Reliability on {test}: {named}", lambda: _reliability(fits, test, shown)),
    ]


def _shown(order: Sequence[str]) -> list[str]:
    """Ours, the bar to pass, and the best of the others."""
    first = [model for model in (OURS, SURE) if model in order]
    return [*first, *(model for model in order if model not in first)][:SHOWN]


def _recall(fits: Fits, test: str, order: Sequence[str]) -> Any:
    columns = []
    for name, rows in list(classes_of(fits, test).items())[:12]:
        intervals = [recall(fits, model, test, name, rows) for model in order]
        columns.append(
            Panel(
                f"{name} ({rows:,})",
                [each.share if each else None for each in intervals],
                [each.low if each else None for each in intervals],
                [each.high if each else None for each in intervals],
                limits=(0, 1),
                points=True,
            )
        )
    title = f"Recall of each class on {test} (Wilson 95 %)"
    return panels(title, labels(fits, order), row_of(order), columns, footer(fits))


def _confusion(fits: Fits, test: str, shown: Sequence[str]) -> Any:
    tables, classes = {}, list(_names(fits, test))
    for model in shown[:2]:
        matrices = [np.array(each["classes"]["confusion"]) for each in fits.figures(model, test) if each.get("classes")]
        widest = max(len(each) for each in matrices)
        padded = [np.pad(each, ((0, widest - len(each)), (0, 0))) for each in matrices if each.shape[1] == len(classes)]
        tables[label(fits, model)] = np.mean(padded, axis=0)
    height = max(len(each) for each in tables.values())
    tables = {name: np.pad(each, ((0, height - len(each)), (0, 0))) for name, each in tables.items()}
    rows = [*classes, "not in training"][:height]
    return curves.confusion(f"Confusion on {test}, mean counts over fits", tables, rows, classes, footer(fits))


def _names(fits: Fits, test: str) -> dict[str, int]:
    """All classes of the task, in the order of the confusion's columns."""
    for model in macro_order(fits, test):
        for figures in fits.figures(model, test):
            if figures.get("classes"):
                return {name: entry["n"] for name, entry in figures["classes"]["recall"].items()}
    return {}


def _reliability(fits: Fits, test: str, shown: Sequence[str]) -> Any:
    drawn = {label(fits, model): pooled_bins(fits, model, test) for model in shown}
    ours = label(fits, OURS) if OURS in shown else None
    return curves.reliability(f"Reliability on {test}, fits pooled", drawn, ours, footer(fits))


def pooled_bins(fits: Fits, model: str, test: str) -> npt.NDArray[np.float64]:
    """Bins of all fits together: (bins, 3) of [confidence, share right, rows]."""
    bins = [
        bin
        for figures in fits.figures(model, test)
        if figures.get("classes")
        for bin in figures["classes"]["reliability"]["bins"]
    ]
    every = np.array(bins, dtype=np.float64).reshape(-1, 3)
    bin_of = np.minimum((every[:, 0] * 15).astype(int), 14)
    pooled = []
    for number in np.unique(bin_of):
        members = every[bin_of == number]
        rows = members[:, 2].sum()
        pooled.append([members[:, 0] @ members[:, 2] / rows, members[:, 1] @ members[:, 2] / rows, rows])
    return np.array(pooled, dtype=np.float64).reshape(-1, 3)
