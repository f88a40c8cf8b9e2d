"""Report of `nsl-kdd-cv`: the paper's tables and pictures, and p-values that allow for shared training records."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from models.lab.report.bars import Panel, boxes, panels
from models.lab.report.documents import OURS, Fits, Spread, number
from models.lab.report.labels import footer, labels, row_of
from models.lab.report.sheets import P, Picture, Section, Sheet, name_of, rows_of
from models.lab.significance import corrected_t, holm, wilcoxon

MEASURES = {
    "ACC": ("decision", "acc"),
    "SEN": ("decision", "sen"),
    "SPE": ("decision", "spe"),
    "PRE": ("decision", "pre"),
    "JSS": ("decision", "jss"),
    "FPR": ("decision", "fpr"),
    "FNR": ("decision", "fnr"),
    "F1": ("decision", "f1"),
    "MCC": ("decision", "mcc"),
    "AUROC": ("ranking", "auroc"),
}
LEAST_P = 1e-4  # what is less is drawn so
TESTED = ("ACC", "F1", "MCC", "AUROC")
INTERPOLATION = (
    "This protocol measures interpolation. The folds are drawn at random from one capture, so that records of the "
    "same campaign lie on both sides of every split; figures near 99.9 % are usual here and say nothing of another "
    "network or of attacks that training did not have. For that, see nsl-kdd-test and unknowns."
)


def sections(fits: Fits) -> list[Section]:
    """All sections of the report."""
    test = fits.tests()[0]
    order = fits.by_merit(lambda model: fits.spread(model, test, *MEASURES["ACC"]))
    spreads = {name: {model: fits.spread(model, test, *keys) for model in order} for name, keys in MEASURES.items()}
    tests = {name: compared(fits, test, order, MEASURES[name]) for name in TESTED} if OURS in order else {}
    return [
        Section(
            "Stratified 10-fold × 10 runs on KDDTrain+",
            (
                INTERPOLATION,
                "Decision: the likelier of the two classes; a detector without classes decides at the threshold for a "
                "nominal 1 % on out-of-fold training normals. Mean ± standard deviation over folds.",
            ),
            [_means(fits, order, spreads)],
            [*_bars(fits, order, spreads), _boxes(fits, order, test)],
        ),
        *([_significance(fits, tests), _rates(fits, order, spreads, tests)] if tests else []),
    ]


def _means(fits: Fits, order: Sequence[str], spreads: dict[str, dict[str, Spread | None]]) -> Sheet:
    rows = rows_of(fits, order, lambda model: [spreads[name][model] for name in MEASURES])
    return Sheet("Mean ± standard deviation of all measures", ("Model", *MEASURES, "fits"), rows)


def _bars(fits: Fits, order: Sequence[str], by_measure: dict[str, dict[str, Spread | None]]) -> list[Picture]:
    names, ours = labels(fits, order), row_of(order)

    def panel(name: str, spread: bool, scale: str = "nines") -> Panel:
        spreads = [by_measure[name][model] for model in order]
        ends = [(each.std or 0.0) if each else 0.0 for each in spreads] if spread else []
        means = [each.mean if each else None for each in spreads]
        low = [None if m is None else m - e for m, e in zip(means, ends, strict=True)] if spread else ()
        high = [None if m is None else m + e for m, e in zip(means, ends, strict=True)] if spread else ()
        return Panel(name, means, low, high, scale, form=".4f", points=spread)

    return [
        Picture(
            "bars",
            "Accuracy, sensitivity, specificity, precision and Jaccard index by model, on a scale of nines",
            lambda: panels(
                "10-fold × 10 runs on KDDTrain+ (scale of nines: each step is a tenth of the errors)",
                names,
                ours,
                [panel(name, False) for name in ("ACC", "SEN", "SPE", "PRE", "JSS")],
                footer(fits),
            ),
        ),
        Picture(
            "mean-std",
            "Mean and standard deviation of all measures by model",
            lambda: panels(
                "Mean ± standard deviation of all measures (scale of nines; FPR and FNR logarithmic)",
                names,
                ours,
                [panel(name, True, "log" if name in ("FPR", "FNR") else "nines") for name in MEASURES],
                footer(fits),
            ),
        ),
    ]


def _boxes(fits: Fits, order: Sequence[str], test: str) -> Picture:
    return Picture(
        "boxplots",
        "Boxplots of accuracy, F1, MCC and AUROC over all folds, by model",
        lambda: boxes(
            "All classifiers over all folds (scale of nines)",
            labels(fits, order),
            row_of(order),
            [(name, [np.array(fits.values(model, test, *MEASURES[name])) for model in order]) for name in TESTED],
            footer(fits),
        ),
    )


def compared(fits: Fits, test: str, order: Sequence[str], keys: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Ours against each other model, paired by fold: mean difference, pairs, p by both tests, Holm over the models."""
    others = [model for model in order if model != OURS]
    train, test_size = _sizes(fits, test)
    differences = {model: fits.pairs(OURS, model, test, *keys) for model in others}
    t = [corrected_t(differences[model], train, test_size) for model in others]
    w = [wilcoxon(differences[model]) for model in others]
    return {
        model: {
            "difference": float(np.mean(differences[model])) if differences[model] else None,
            "pairs": len(differences[model]),
            "t": t[index],
            "t_holm": holm(t)[index],
            "wilcoxon": w[index],
            "wilcoxon_holm": holm(w)[index],
        }
        for index, model in enumerate(others)
    }


def _sizes(fits: Fits, test: str) -> tuple[int, int]:
    """Records of a fit and of its test; nine to one where the fits do not say."""
    for document in fits.documents:
        train, tested = number(document, ("rows", "train")), number(document, ("rows", "tests", test))
        if train and tested:
            return int(train), int(tested)
    return 9, 1


def _significance(fits: Fits, tests: dict[str, dict[str, dict[str, Any]]]) -> Section:
    sheets = []
    for name, against in tests.items():
        rows = [
            [
                name_of(fits, model),
                comparison["difference"],
                *(P(comparison[key]) for key in ("t", "t_holm", "wilcoxon", "wilcoxon_holm")),
                comparison["pairs"],
            ]
            for model, comparison in against.items()
        ]
        columns = ("against", f"Δ {name}", "p (t)", "p (t), Holm", "p (Wilcoxon)", "p (Wilcoxon), Holm", "pairs")
        sheets.append(Sheet(f"{fits.title(OURS)} against each, {name}", columns, rows))
    return Section(
        "Is the difference more than chance?",
        (
            "Pairs are the same fold of the same run; Δ is IGAN-IDS minus the other. The corrected resampled t-test "
            "(Nadeau and Bengio 2003) allows for folds that share training records; the Wilcoxon signed-rank test "
            "does not, and is the more hopeful of the two. Holm's adjustment is over all models of a table.",
        ),
        sheets,
    )


def _rates(
    fits: Fits,
    order: Sequence[str],
    by_measure: dict[str, dict[str, Spread | None]],
    tests: dict[str, dict[str, dict[str, Any]]],
) -> Section:
    against = tests["ACC"]

    def values(name: str) -> list[float | None]:
        spreads = [by_measure[name][model] for model in order]
        return [each.mean if each else None for each in spreads]

    def draw() -> Any:
        p = [against[model]["t_holm"] if model in against else None for model in order]
        shown = [None if each is None else max(each, LEAST_P) for each in p]
        texts = ["" if each is None else f"{each:.2g}" if each > LEAST_P else f"< {LEAST_P:g}" for each in p]
        columns = [
            Panel("FPR", values("FPR"), scale="log", form=".4f"),
            Panel("FNR", values("FNR"), scale="log", form=".4f"),
            Panel("p of Δ ACC (t, Holm)", shown, scale="log", line=0.05, written=texts),
        ]
        return panels(
            "False alarms, misses, and p against IGAN-IDS", labels(fits, order), row_of(order), columns, footer(fits)
        )

    pictures = [Picture("fpr-fnr-p", "False positive rate, false negative rate and p-value by model", draw)]
    return Section("False alarms and misses", ("Logarithmic; dashed: p = 0.05.",), [], pictures)
