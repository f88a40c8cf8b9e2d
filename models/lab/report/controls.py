"""Report of `controls`: detectors that must fail where they must, and IGAN-IDS with parts taken away."""

from dataclasses import dataclass
from typing import Any

from models.lab.report.alarms import PAIRED, paired
from models.lab.report.bars import Panel, panels
from models.lab.report.documents import Fits, Spread
from models.lab.report.labels import footer, labels, row_of
from models.lab.report.sheets import Picture, Section, Sheet, rows_of

IDENTIFIERS = "identifiers-only/"
WHOLE = "igan-no-augmentation"  # the evaluated configuration, with the weights that all ablations share
NEAR = 0.1  # how far from 0.5 an AUROC may lie that is called chance


@dataclass(frozen=True, slots=True)
class Expectation:
    """The expected result of a control, in words, and the range of its AUROC."""

    words: str
    least: float
    most: float


# By a part of the control's name; the first that fits.
EXPECTED = {
    "majority": Expectation("says the same of every record: AUROC 0.5", 0.5, 0.5),
    "shuffle": Expectation("learnt nothing from shuffled labels: AUROC near 0.5", 0.5 - NEAR, 0.5 + NEAR),
    "stump": Expectation("one feature alone: AUROC from 0.5 to 0.95", 0.5, 0.95),
}


def sections(fits: Fits) -> list[Section]:
    """Controls, then ablations by task."""
    control, ablation = fits.where(split="control"), fits.where(split="ablation")
    result = [_controls(control)] if control.documents else []
    tasks = dict.fromkeys(document["task"] for document in ablation.documents)
    result += [_ablations(ablation.where(task=task), task) for task in tasks]
    rest = tuple(each for each in fits.documents if each["split"].startswith(IDENTIFIERS))
    return [*result, *([_identifiers(Fits(fits.run, rest, narrowed=True))] if rest else [])]


def expectation(model: str) -> Expectation | None:
    """The expected result of a control; None where none is defined."""
    return next((each for part, each in EXPECTED.items() if part in model.lower()), None)


def verdict(model: str, auroc: Spread | None) -> str:
    """Whether a control has the expected result."""
    expected = expectation(model)
    if expected is None or auroc is None:
        return "–"
    return "as expected" if expected.least - 1e-9 <= auroc.mean <= expected.most + 1e-9 else "NOT as expected"


def _controls(fits: Fits) -> Section:
    sheets = []
    for test in fits.tests():

        def cells(model: str, test: str = test) -> list[Any]:
            auroc = fits.spread(model, test, "ranking", "auroc")
            expected = expectation(model)
            return [
                auroc,
                fits.spread(model, test, "decision", "acc"),
                fits.spread(model, test, "decision", "mcc"),
                expected.words if expected else "–",
                verdict(model, auroc),
            ]

        rows = rows_of(fits, [model for model in fits.models if fits.figures(model, test)], cells)
        columns = ("Control", "AUROC", "ACC", "MCC", "expected", "verdict", "fits")
        sheets.append(Sheet(f"{test}: controls", columns, rows))
    text = "A control that does better than it should means that the protocol leaks what it must not."
    return Section("Controls", (text,), sheets)


def _identifiers(fits: Fits) -> Section:
    """What addresses, ports and times alone reveal, one row per split and test."""
    rows: list[list[Any]] = []
    for split in dict.fromkeys(str(document["split"]) for document in fits.documents):
        part = fits.where(split=split)
        for test in part.tests():
            spreads = [part.spread(model, test, "ranking", "auroc") for model in fits.models]
            known = [each.mean for each in spreads if each is not None]
            near = all(abs(mean - 0.5) <= NEAR for mean in known)
            result = "near chance" if near else "they tell the attacks: in no table"
            short = split.removeprefix(IDENTIFIERS)
            name = test if test.startswith(short.partition("/")[0] + "/") else f"{short}, {test}"
            rows.append([name, *spreads, result if known else "–", f"{len(part.documents)}"])
    columns = ("split", *(f"AUROC, {fits.title(model)}" for model in fits.models), "verdict", "fits")
    notes = tuple(f"{fits.title(model)}: {fits.reduction(model)}" for model in fits.models if fits.reduction(model))
    text = (
        "Models that are given nothing but who, where from and when. Near chance (AUROC 0.4 to 0.6) is what a fair "
        "split gives; where it is more, the attacks of the set come from hosts, ports or minutes of their own, and a "
        "model that is given those learns them. No other table of the evaluation has them as features."
    )
    return Section("Identifiers alone", (text,), [Sheet("Identifiers alone", columns, rows, notes)])


def _ablations(fits: Fits, task: str) -> Section:
    sheets, pictures = [], []
    merit = ("classes", "macro_f1") if task != "binary" else ("ranking", "auroc")
    for test in fits.tests():
        order = fits.by_merit(lambda model, test=test: fits.spread(model, test, *merit))  # type: ignore[misc]
        keys = {
            "AUROC": ("ranking", "auroc"),
            "recall at FPR 0.062": ("ranking", "tpr_at", "0.062"),
            "AUROC novel": ("novel", "auroc_novel"),
            "ACC": ("classes", "acc"),
            "macro-F1": ("classes", "macro_f1"),
            "MCC": ("classes", "mcc"),
        }

        def cells(model: str, test: str = test, keys: dict[str, tuple[str, ...]] = keys) -> list[Any]:
            return [fits.spread(model, test, *each) for each in keys.values()]

        rows = rows_of(fits, order, cells)
        sheets.append(Sheet(f"{test}: parts taken away ({task})", ("Variant", *keys, "fits"), rows))
        tested: dict[str, tuple[str, ...]] = {"macro-F1": merit} if task != "binary" else dict(list(PAIRED.items())[:2])
        sheets += paired(fits, test, tested, WHOLE)

        def draw(test: str = test, order: tuple[str, ...] = order) -> Any:
            columns = [
                _panel(fits, order, test, name, keys)
                for name, keys in (("AUROC", ("ranking", "auroc")), ("macro-F1", ("classes", "macro_f1")))
            ]
            title = f"IGAN-IDS with parts taken away ({task}), mean ± deviation over seeds"
            return panels(title, labels(fits, order), row_of(order), columns, footer(fits))

        if order:
            pictures.append(Picture(f"ablations-{task}", f"Ablations on {test} ({task})", draw))
    text = (
        "Compared seed by seed with IGAN-IDS without synthetic rows. All variants have the same view, odds and teacher "
        "(closeness, the constants of the recipe, none), so that they differ in one part alone."
        if WHOLE in fits.models
        else "The whole model has no fits here, so there is nothing to compare with."
    )
    return Section(f"Ablations ({task})", (text,), sheets, pictures[:1])


def _panel(fits: Fits, order: tuple[str, ...], test: str, name: str, keys: tuple[str, ...]) -> Panel:
    spreads = [fits.spread(model, test, *keys) for model in order]
    ends = [(each.mean, each.std or 0.0) if each else None for each in spreads]
    low = [each[0] - each[1] if each else None for each in ends]
    high = [each[0] + each[1] if each else None for each in ends]
    known = [value for value in (*low, *high) if value is not None] or [0.0, 1.0]
    margin = 0.15 * (max(known) - min(known)) + 1e-3
    limits = (min(known) - margin, max(known) + margin)
    return Panel(name, [each[0] if each else None for each in ends], low, high, limits=limits, points=True, form=".4f")
