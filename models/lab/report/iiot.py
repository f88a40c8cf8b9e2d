"""Report of `iiot`: every set under each of its splits, the gap between them, and what it means at the plant."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.lab.report import alarms
from models.lab.report.bars import Panel, panels
from models.lab.report.documents import Fits, number, spread
from models.lab.report.labels import footer, labels, row_of
from models.lab.report.pictures import slug
from models.lab.report.sheets import Picture, Section, Sheet, rows_of

RANDOM = "random"
TEXT = (
    "Identifiers and times are no features; records that repeat are removed, also across the split. A random split "
    "puts records of the same minutes and campaigns on both sides: the gap between it and the others is what it "
    "hides. Thresholds are set for a nominal 1 % on out-of-fold training normals, whole blocks of time together."
)
ONLY_RANDOM = "Nothing in this set says when or where a record was taken: a random split is all there is, so no gap."


@dataclass(frozen=True, slots=True)
class Case:
    """A case of the report: one test under one split of a set."""

    split: str
    test: str
    kind: str  # how it is called beside the set's others


def sections(fits: Fits) -> list[Section]:
    """A section a set."""
    return [_section(fits, name, cases) for name, cases in sets(fits).items()]


def sets(fits: Fits) -> dict[str, list[Case]]:
    """Set → its tests under each split, the random ones last. Splits are called `set/kind`, tests `set/kind/part`."""
    by_set: dict[str, list[Case]] = {}
    for split in dict.fromkeys(str(document["split"]) for document in fits.documents):
        name, _, kind = split.partition("/")
        for test in fits.where(split=split).tests():
            shown = test.removeprefix(f"{name}/") if test.startswith(f"{name}/") else kind or test
            by_set.setdefault(name, []).append(Case(split, test, shown))
    return {name: sorted(cases, key=_is_random) for name, cases in by_set.items()}


def _is_random(case: Case) -> bool:
    return case.split.endswith(f"/{RANDOM}")


def _section(fits: Fits, name: str, cases: Sequence[Case]) -> Section:
    chosen = tuple(each for each in fits.documents if each["split"].partition("/")[0] == name)
    part = Fits(fits.run, chosen, narrowed=True)
    binary = part.where(task="binary")
    sheets = _splits(binary, name, cases) if binary.documents else []
    for case in cases:
        here = binary.where(split=case.split)
        if here.documents:
            tables = [alarms.threshold(here, case.test, "0.01"), _operations(here, case)]
            sheets += [_titled(sheet, f"{name}, {case.kind}") for sheet in tables if sheet is not None]
    pictures = [_picture(binary, name, cases)] if binary.documents else []
    only_random = all(_is_random(case) for case in cases)
    return Section(name, (TEXT, *((ONLY_RANDOM,) if only_random else ())), sheets, pictures)


def _titled(sheet: Sheet, title: str) -> Sheet:
    return Sheet(f"{title}: {sheet.title.partition(': ')[2]}", sheet.columns, sheet.rows, sheet.notes)


def _auroc(fits: Fits, model: str, case: Case) -> float | None:
    figures = fits.where(split=case.split).spread(model, case.test, "ranking", "auroc")
    return figures.mean if figures else None


def gap(fits: Fits, model: str, cases: Sequence[Case], case: Case) -> float | None:
    """AUROC under the random split (mean of its tests) less that of a case; None where either is missing."""
    random_values = [value for each in cases if _is_random(each) and (value := _auroc(fits, model, each)) is not None]
    case_value = _auroc(fits, model, case)
    return float(np.mean(random_values)) - case_value if random_values and case_value is not None else None


def _order(fits: Fits, cases: Sequence[Case]) -> tuple[str, ...]:
    """Models by mean AUROC over the splits that are not random (or all, where all are)."""
    honest = [case for case in cases if not _is_random(case)] or list(cases)

    def merit(model: str) -> float | None:
        values = [value for case in honest if (value := _auroc(fits, model, case)) is not None]
        return float(np.mean(values)) if values else None

    return fits.by_merit(merit)


def _splits(fits: Fits, name: str, cases: Sequence[Case]) -> list[Sheet]:
    """AUROC, and recall at 1 % false positives, side by side; how much the random split gives more."""
    order = _order(fits, cases)
    columns = ("Model", *(case.kind for case in cases), "fits")
    sheets = []
    for title, keys in {"AUROC": ("ranking", "auroc"), "TPR at 1 % FPR": ("ranking", "tpr_at", "0.01")}.items():

        def cells(model: str, keys: tuple[str, ...] = keys) -> list[Any]:
            return [fits.where(split=case.split).spread(model, case.test, *keys) for case in cases]

        sheets.append(Sheet(f"{name}: {title} under each split", columns, rows_of(fits, order, cells)))
    honest = [case for case in cases if not _is_random(case)]
    if honest and len(honest) < len(cases):
        rows = rows_of(fits, order, lambda model: [gap(fits, model, cases, case) for case in honest])
        columns = ("Model", *(f"random − {case.kind}" for case in honest), "fits")
        note = "What a model gains by having seen the same hour, place or capture: AUROC under the random split, less."
        sheets.append(Sheet(f"{name}: the gap", columns, rows, (note,)))
    return sheets


def _operations(fits: Fits, case: Case) -> Sheet | None:
    """Events found, delay and false alarms a day at the threshold for a nominal 1 %; None where no time passes."""
    order = [model for model in fits.models if _more(fits, model, case)]
    if not order:
        return None
    kinds = tuple(dict.fromkeys(event["kind"] for model in order for event in _seen(fits, model, case)))

    def cells(model: str) -> list[Any]:
        events = _seen(fits, model, case)
        runs = len(_more(fits, model, case))
        shares = []
        for kind in kinds:
            of_kind = [event for event in events if event["kind"] == kind]
            shares.append(
                f"{sum(event['found'] for event in of_kind) / runs:.1f} of {len(of_kind) / runs:g}" if of_kind else None
            )
        delays = [event["delay_s"] for event in events if event["found"] and event["delay_s"] is not None]
        alarms_a_day = (number(more, ("false_alarms_per_day",)) for more in _more(fits, model, case))
        minutes = (number(more, ("false_alarm_minutes_per_day",)) for more in _more(fits, model, case))
        return [
            *shares,
            f"{np.median(delays):.2f} / {max(delays):.2f}" if delays else None,
            _mean(alarms_a_day),
            _mean(minutes),
            _mean(number(more, ("days",)) for more in _more(fits, model, case)),
        ]

    order.sort(key=lambda model: -np.mean([event["found"] for event in _seen(fits, model, case)] or [0]))
    columns = ("Model", *(f"{kind}: found" for kind in kinds), "delay s, median / longest")
    columns = (*columns, "false alarms a day", "minutes a day with one", "days", "fits")
    notes = (
        "Events of which this sensor has records; found if a suspect record of the event's own label ends inside it. "
        "A false alarm is a suspect normal record; the number a day is of so short a capture, not of a real day.",
    )
    return Sheet(f"{case.test}: events and false alarms", columns, rows_of(fits, order, cells), notes)


def _more(fits: Fits, model: str, case: Case) -> list[dict[str, Any]]:
    return [each["more"] for each in fits.figures(model, case.test) if each.get("more")]


def _seen(fits: Fits, model: str, case: Case) -> list[dict[str, Any]]:
    """Events of all fits that left records on the sensor."""
    events = [event for more in _more(fits, model, case) for event in more.get("events") or []]
    return [event for event in events if event.get("records", 1)]


def _mean(values: Any) -> float | None:
    figures = spread(value for value in values if value is not None)
    return figures.mean if figures else None


def _picture(fits: Fits, name: str, cases: Sequence[Case]) -> Picture:
    def draw() -> Any:
        order = _order(fits, cases)
        by_case = ([_auroc(fits, model, case) for model in order] for case in cases)
        columns = [Panel(case.kind, values, limits=(0, 1)) for case, values in zip(cases, by_case, strict=True)]
        return panels(f"{name}: AUROC by split", labels(fits, order), row_of(order), columns, footer(fits))

    return Picture(f"splits-{slug(name)}", f"AUROC on {name} under each split", draw)
