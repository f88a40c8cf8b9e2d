"""Sections of a report: words, tables (as Markdown and as plain data) and pictures yet to be drawn."""

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from matplotlib.figure import Figure

from models.lab.report.documents import OURS, Fits, Spread

Cell = Any
"""What a table's cell holds: text, a number, a Spread, a Name, a P, an Interval, Bare, or None."""
MARKS = "¹²³⁴⁵⁶⁷⁸⁹"


@dataclass(frozen=True, slots=True)
class Name:
    """A model in the first column: its name for people, and in what its fits are reduced."""

    model: str
    title: str
    reduction: str


@dataclass(frozen=True, slots=True)
class P:
    """A p-value."""

    value: float | None


@dataclass(frozen=True, slots=True)
class Interval:
    """A share with its 95 % interval."""

    share: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Sheet:
    """One table; `columns` and each of `rows` have the same length."""

    title: str
    columns: tuple[str, ...]
    rows: list[list[Cell]]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture by file name (without ending), what it shows, and how it is drawn."""

    name: str
    shows: str
    draw: Callable[[], Figure]


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a report."""

    title: str
    text: tuple[str, ...] = ()
    sheets: list[Sheet] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)


def name_of(fits: Fits, model: str) -> Name:
    """A model as a first column shows it."""
    return Name(model, fits.title(model), fits.reduction(model))


def origin(fits: Fits) -> str:
    """What every table says of where it comes from: fits, command, machine, date."""
    done, expected = fits.total()
    partial = " (partial: the run is not finished)" if done < expected else ""
    run = (str(fits.run.get(key) or f"{key} not recorded") for key in ("command", "machine", "date"))
    command, machine, date = (escaped(words) for words in run)
    return f"{done} of {expected} fits{partial} · <code>{command}</code> · {machine} · {date}"


def markdown(sheet: Sheet, caption: str) -> str:
    """A table with its footnotes and the caption under it."""
    notes: list[str] = []
    lines = [
        f"### {escaped(sheet.title)}",
        "",
        "| " + " | ".join(escaped(column) for column in sheet.columns) + " |",
        "|" + "|".join(["---"] + ["--:"] * (len(sheet.columns) - 1)) + "|",
    ]
    for row in sheet.rows:
        ours = isinstance(row[0], Name) and row[0].model == OURS
        cells = [_text(cell, notes) for cell in row]
        lines.append("| " + " | ".join(f"**{cell}**" if ours and cell else cell for cell in cells) + " |")
    lines.append("")
    lines += [f"{mark(position)} {escaped(note)}  " for position, note in enumerate(notes)]
    lines += [f"{escaped(note)}  " for note in sheet.notes]
    return "\n".join([*lines, f"<sub>{caption}</sub>", ""])


def mark(index: int) -> str:
    """A footnote's mark."""
    return MARKS[index] if index < len(MARKS) else f"({index + 1})"


def _text(cell: Cell, notes: list[str]) -> str:
    if isinstance(cell, Name):
        if not cell.reduction:
            return escaped(cell.title)
        if cell.reduction not in notes:
            notes.append(cell.reduction)
        return escaped(cell.title) + mark(notes.index(cell.reduction))
    return escaped(shown(cell))


def shown(cell: Cell) -> str:
    """A cell's content for people."""
    if cell is None:
        return "–"
    if isinstance(cell, Spread):
        return f"{cell.mean:.4f}" + (f" ± {cell.std:.4f}" if cell.std is not None else "")
    if isinstance(cell, Interval):
        return f"{cell.share:.3f} [{cell.low:.3f}, {cell.high:.3f}]"
    if isinstance(cell, P):
        return "–" if cell.value is None else "< 0.0001" if cell.value < 1e-4 else f"{cell.value:.4f}"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, float):
        return f"{cell:,.0f}" if abs(cell) >= 1000 else f"{cell:.1f}" if abs(cell) >= 10 else f"{cell:.4f}"
    return f"{cell:,}" if isinstance(cell, int) else str(cell)


def plain(sheet: Sheet) -> dict[str, Any]:
    """A table as plain JSON."""
    return {"title": sheet.title, "columns": list(sheet.columns), "rows": [list(map(_data, row)) for row in sheet.rows]}


def _data(cell: Cell) -> Any:
    if isinstance(cell, Name):
        return {"model": cell.model, "title": cell.title, "reduction": cell.reduction}
    if isinstance(cell, Spread):
        return {"mean": cell.mean, "std": cell.std, "n": cell.n}
    if isinstance(cell, Interval):
        return {"share": cell.share, "low": cell.low, "high": cell.high}
    return cell.value if isinstance(cell, P) else cell


def escaped(text: str) -> str:
    """Words of a document as Markdown shows them: class and model names come from whoever brought the data."""
    words = html.escape(" ".join(text.split()), quote=False)
    for sign in "\\`*_[]|":
        words = words.replace(sign, "\\" + sign)
    return words


def rows_of(fits: Fits, order: Sequence[str], cells: Callable[[str], list[Cell]]) -> list[list[Cell]]:
    """A row a model: its name, what `cells` gives, and the fits it rests on."""
    return [[name_of(fits, model), *cells(model), f"{fits.count(model)} of {fits.expected(model)}"] for model in order]
