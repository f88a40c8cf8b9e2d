"""Panels side by side, a model a row: bars or points with their intervals, or boxes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from models.lab.report.pictures import OTHER_COLOUR, OURS_COLOUR, decades, grid, shortened, titled

MAX_COLUMNS = 7  # more go to further rows
MAX_NINES = 5.0  # 1 − 0.99999: where the scale of nines ends
Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Panel:
    """One measure of all models.

    Attributes
    ----------
    values : one a model; None where it has none
    low, high : ends of an interval, as long as `values`, or empty
    scale : linear (from 0, or as `limits` say), nines (−log10(1 − v): each step is a tenth of the errors) or log
    line : where a reference stands
    """

    title: str
    values: Sequence[float | None]
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()
    scale: str = "linear"
    limits: tuple[float, float] | None = None
    line: float | None = None
    points: bool = False
    form: str = ".3f"
    written: Sequence[str] = ()


def nines(values: Numbers) -> Numbers:
    """0.9 → 1, 0.99 → 2, 0.999 → 3; below 0 counts as 0, and what is nearer to 1 than 0.99999 as that."""
    result: Numbers = -np.log10(np.clip(1 - np.clip(values, 0, 1), 10**-MAX_NINES, 1))
    return result


def panels(title: str, labels: Sequence[str], ours: int | None, columns: Sequence[Panel], footer: str) -> Figure:
    """A row a label, a column a panel, in the order given from the top; row `ours` stands out."""
    figure, axes = _frame(title, labels, len(columns), footer)
    rows = np.arange(len(labels))
    colours = [OURS_COLOUR if row == ours else OTHER_COLOUR for row in rows]
    for ax, panel in zip(axes, columns, strict=True):
        values = _floats(panel.values)
        low = _floats(panel.low) if panel.low else values
        high = _floats(panel.high) if panel.high else values
        to = nines if panel.scale == "nines" else np.asarray
        x, left, right = to(values), to(low), to(high)
        start, end = _limits(panel, np.concatenate([x, left, right]))
        if panel.points:
            ax.scatter(x, rows, c=colours, s=22, zorder=3)
        else:
            ax.barh(rows, np.maximum(np.nan_to_num(x - start), 0), left=start, color=colours, height=0.72)
        if panel.low:
            ax.hlines(rows, np.maximum(left, start), right, color="#333333", linewidth=1.0, zorder=4)
        if panel.line is not None:
            ax.axvline(panel.line, color="#333333", linewidth=0.9, linestyle="--")
        for row in range(len(labels)):
            known = np.isfinite(x[row])
            written = format(values[row], panel.form) if known else "–"
            written = panel.written[row] if panel.written else written
            at = max(right[row], x[row], start) if known else start
            text = ax.annotate(
                written,
                (at, row),
                (3, 0),
                textcoords="offset points",
                va="center",
                fontsize=7,
                color="#444444",
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.4},
            )
            text.set_in_layout(False)  # the axis leaves room; asking hundreds of texts for theirs takes long
        _scale(ax, panel, start, end)
        ax.set_title(panel.title, loc="left")
        _names(ax, labels, ours)
    return figure


def boxes(
    title: str, labels: Sequence[str], ours: int | None, columns: Sequence[tuple[str, Sequence[Numbers]]], footer: str
) -> Figure:
    """Boxplots on the scale of nines: median, quartiles, whiskers to 1.5 quartile distances, points beyond."""
    figure, axes = _frame(title, labels, len(columns), footer)
    rows = list(range(len(labels)))
    for ax, (name, values) in zip(axes, columns, strict=True):
        drawn = ax.boxplot(
            [nines(each) for each in values],
            positions=rows,
            orientation="horizontal",
            widths=0.62,
            patch_artist=True,
            manage_ticks=False,
            medianprops={"color": "#000000", "linewidth": 1.2},
            flierprops={"marker": ".", "markersize": 3, "markerfacecolor": "#555555", "markeredgecolor": "none"},
        )
        for row, box in enumerate(drawn["boxes"]):
            box.set_facecolor(OURS_COLOUR if row == ours else OTHER_COLOUR)
            box.set_linewidth(0.7)
        together = np.concatenate([nines(each) for each in values]) if values else np.zeros(1)
        panel = Panel(name, (), scale="nines")
        start = max(0.0, float(np.floor(together.min() * 4) / 4)) if len(together) else 0.0
        _scale(ax, panel, start, float(together.max()) * 1.04 + 0.05 if len(together) else 1.0)
        ax.set_title(name, loc="left")
        _names(ax, labels, ours)
    return figure


def _frame(title: str, labels: Sequence[str], columns: int, footer: str) -> tuple[Figure, list[Axes]]:
    rows = 1 if columns <= MAX_COLUMNS else -(-columns // 5)
    across = -(-columns // rows)
    width = max(2.3 + 2.25 * across, 0.5 + 0.105 * len(title))
    figure = Figure(figsize=(width, 1.1 + (0.35 + 0.25 * max(len(labels), 3)) * rows), layout="constrained")
    axes = figure.subplots(rows, across, sharey=True, squeeze=False).ravel()
    for spare in axes[columns:]:
        spare.set_visible(False)
    titled(figure, title, footer)
    return figure, list(axes[:columns])


def _names(ax: Axes, labels: Sequence[str], ours: int | None) -> None:
    ax.set_ylim(len(labels) - 0.4, -0.6)
    subplot = ax.get_subplotspec()
    if subplot is not None and subplot.is_first_col():
        ax.set_yticks(range(len(labels)), [shortened(label) for label in labels])
        for row, tick in enumerate(ax.get_yticklabels()):
            if row == ours:
                tick.set_fontweight("bold")
                tick.set_color(OURS_COLOUR)
    grid(ax)
    ax.tick_params(axis="y", length=0)


def _limits(panel: Panel, values: Numbers) -> tuple[float, float]:
    """The start of the bars, and an end of the axis that leaves room for the figures beside them."""
    finite = values[np.isfinite(values)]
    top = float(finite.max()) if len(finite) else 1.0
    if panel.scale == "log":
        least = float(finite[finite > 0].min()) if (finite > 0).any() else 1e-3
        start = float(10 ** np.floor(np.log10(least) - 0.2))
        return start, start * (max(top, least) / start) ** 1.45
    if panel.limits is not None:
        start, top = panel.limits
    else:
        start = min(0.0, float(finite.min())) if len(finite) else 0.0
    return start, start + (max(top - start, 1e-9)) * 1.32


def _scale(ax: Axes, panel: Panel, start: float, end: float) -> None:
    if panel.scale == "log":
        ax.set_xscale("log")
        ax.set_xlim(start, end)
        values = _floats(panel.values)
        shares = bool(np.nanmax(values, initial=0.0) <= 1)  # then the room beyond 1 is for what is written there
        decades(ax.xaxis, start, end, 1.0 if shares else np.inf)
        return
    ax.set_xlim(start, end)
    if panel.scale == "nines":
        shown = {0.0: "0", 0.30103: "0.5", 1.0: "0.9", 2.0: "0.99", 3.0: "0.999", 4.0: "0.9999", 5.0: "0.99999"}
        steps = [step for step in shown if start <= step <= end and (end < 3.5 or step != 0.30103)]
        ax.set_xticks(steps, [shown[step] for step in steps], fontsize=7.5)
    else:
        ax.locator_params(axis="x", nbins=5)


def _floats(values: Sequence[float | None]) -> Numbers:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
