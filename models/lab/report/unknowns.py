"""Report of `unknowns`: what each model makes of a family of attacks it never saw."""

from collections.abc import Sequence

import numpy as np

from models.lab.report.curves import heatmaps
from models.lab.report.documents import Fits, Spread, spread
from models.lab.report.labels import footer, labels, row_of
from models.lab.report.sheets import Picture, Section, Sheet, rows_of

MEASURES = {
    "AUROC": ("ranking", "auroc"),
    "TPR at 1 % FPR": ("ranking", "tpr_at", "0.01"),
    "TPR at 5 % FPR": ("ranking", "tpr_at", "0.05"),
}
PREFIX = "without-"


def sections(fits: Fits) -> list[Section]:
    """One table a measure, and all three as a field of colours."""
    splits = tuple(dict.fromkeys(str(document["split"]) for document in fits.documents))
    figures = {
        name: {model: {split: over_split(fits, model, split, keys) for split in splits} for model in fits.models}
        for name, keys in MEASURES.items()
    }
    means = {model: mean(figures["AUROC"][model]) for model in fits.models}
    order = fits.by_merit(lambda model: means[model])
    families = [split.removeprefix(PREFIX) for split in splits]
    sheets = [
        Sheet(
            f"{name} on the family left out",
            ("Model", *families, "mean of families", "fits"),
            rows_of(fits, order, lambda model, by=by: [*by[model].values(), mean(by[model])]),  # type: ignore[misc]
        )
        for name, by in figures.items()
    ]

    def fields() -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
        return {name: _field(by, order, splits) for name, by in figures.items()}

    picture = Picture(
        "families",
        "AUROC and recall at 1 % and 5 % false positives on every family left out, by model",
        lambda: heatmaps(
            "Attack families that training did not have",
            fields(),
            labels(fits, order),
            families,
            row_of(order),
            {"AUROC": 0.5},
            footer(fits),
        ),
    )
    text = (
        "One family of attacks is left out of training and then looked for among normal records that were not trained "
        "on either. TPR is read off the ROC at a realised false positive rate. Mean ± standard deviation over seeds.",
    )
    return [Section("Unknown attack families", text, sheets, [picture])]


def over_split(fits: Fits, model: str, split: str, keys: Sequence[str]) -> Spread | None:
    """A figure over the fits of one split, whatever its test is called."""
    part = fits.where(split=split)
    return spread(value for test in part.tests() for value in part.values(model, test, *keys))


def mean(by_family: dict[str, Spread | None]) -> float | None:
    """Mean over families, each counting the same; None where one is missing."""
    means = [each.mean for each in by_family.values() if each is not None]
    return float(np.mean(means)) if means and len(means) == len(by_family) else None


def _field(
    by: dict[str, dict[str, Spread | None]], order: Sequence[str], splits: Sequence[str]
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """(models, families) of means; NaN where there is none."""
    cells = [[by[model][split] for split in splits] for model in order]
    return np.array([[np.nan if each is None else each.mean for each in row] for row in cells], dtype=np.float64)
