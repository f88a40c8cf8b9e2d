"""Lines and fields: ROC, reliability, rows a second, confusion, and how models fare against families."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from models.lab.report.pictures import FAINT, LINES, OURS_COLOUR, decades, grid, shortened, titled

Points = npt.NDArray[np.float64]
MARKERS = "sD^vPX"


def roc(title: str, curves: Mapping[str, Points], ours: str | None, named: Sequence[str], footer: str) -> Figure:
    """ROC curves (n, 2) of [fpr, tpr] by model: whole, and on a logarithmic axis where false positives are few."""
    figure = Figure(figsize=(10.5, 4.9), layout="constrained")
    whole, low = figure.subplots(1, 2)
    titled(figure, title, footer)
    for ax in (whole, low):
        for name, points in curves.items():
            if name not in named and name != ours:
                ax.plot(points[:, 0], points[:, 1], color=FAINT, linewidth=0.8, zorder=1)
        for index, name in enumerate(named):
            points = curves[name]
            ax.plot(points[:, 0], points[:, 1], color=LINES[index], linewidth=1.3, label=name, zorder=3)
        if ours is not None:
            points = curves[ours]
            ax.plot(points[:, 0], points[:, 1], color=OURS_COLOUR, linewidth=2.2, label=ours, zorder=4)
        ax.set_ylim(0, 1.01)
        ax.set_xlabel("false positive rate")
        grid(ax, "both")
    if len(curves) > len(named) + (ours is not None):
        whole.plot([], [], color=FAINT, label="the others")
    whole.plot([0, 1], [0, 1], color="#999999", linewidth=0.8, linestyle=":")
    whole.set_xlim(0, 1)
    whole.set_ylabel("recall of attacks")
    whole.set_title("all rates", loc="left")
    low.set_xscale("log")
    low.set_xlim(1e-4, 0.1)
    decades(low.xaxis, 1e-4, 0.1)
    for rate in (0.01, 0.062):
        low.axvline(rate, color="#999999", linewidth=0.8, linestyle="--")
    low.set_title("few false alarms (logarithmic; dashed: 1 % and 6.2 %)", loc="left")
    whole.legend(loc="lower right", fontsize=8, frameon=False)
    return figure


def reliability(title: str, curves: Mapping[str, Points], ours: str | None, footer: str) -> Figure:
    """Share right against stated confidence, (bins, 3) of [confidence, share right, rows] by model."""
    figure = Figure(figsize=(6.4, 6.6), layout="constrained")
    ax, counts = figure.subplots(2, 1, height_ratios=[4, 1], sharex=True)
    titled(figure, title, footer)
    ax.plot([0, 1], [0, 1], color="#999999", linewidth=0.9, linestyle=":", label="kept word")
    for name, colour, marker in _styles(curves, ours):
        bins = curves[name]
        width = 2.2 if name == ours else 1.2
        ax.plot(
            bins[:, 0], bins[:, 1], color=colour, marker=marker, markersize=4, linewidth=width, label=shortened(name)
        )
        counts.plot(bins[:, 0], bins[:, 2], color=colour, marker=marker, markersize=3, linewidth=width * 0.7)
    ax.set_ylim(0, 1.02)
    ax.set_xlim(0, 1.02)
    ax.set_ylabel("share that was right")
    ax.legend(fontsize=8, frameon=False, loc="upper left")
    counts.set_yscale("log")
    decades(counts.yaxis, *counts.get_ylim())
    counts.set_ylabel("records")
    counts.set_xlabel("confidence in the named class")
    for each in (ax, counts):
        grid(each, "both")
    return figure


def _styles(curves: Mapping[str, object], ours: str | None) -> list[tuple[str, str, str]]:
    """(name, colour, marker) of up to six and ours, which is last so that it lies on top."""
    others = [name for name in curves if name != ours]
    styles = list(zip(others, LINES, MARKERS, strict=False))
    return [*styles, *([(ours, OURS_COLOUR, "o")] if ours in curves and ours is not None else [])]


def confusion(
    title: str, tables: Mapping[str, Points], rows: Sequence[str], columns: Sequence[str], footer: str
) -> Figure:
    """Mean counts of truth (down) × prediction (across) by model; colour is the share of the truth's records."""
    side = max(2.6, 0.62 * len(columns))
    figure = Figure(figsize=(1.2 + (side + 0.7) * len(tables), 1.6 + 0.56 * len(rows)), layout="constrained")
    axes = figure.subplots(1, len(tables), squeeze=False)[0]
    titled(figure, title, footer)
    for index, (ax, (name, counts)) in enumerate(zip(axes, tables.items(), strict=True)):
        share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        field(ax, share, [[f"{cell:,.0f}" for cell in row] for row in counts], (0, 1))
        ax.set_xticks(range(len(columns)), [shortened(each, 12) for each in columns], rotation=35, ha="right")
        ax.set_yticks(range(len(rows)), [shortened(each, 16) for each in rows] if index == 0 else [""] * len(rows))
        ax.set_title(shortened(name, 30), loc="left")
        ax.set_xlabel("said")
    axes[0].set_ylabel("truth")
    return figure


def heatmaps(
    title: str,
    fields: Mapping[str, Points],
    rows: Sequence[str],
    columns: Sequence[str],
    ours: int | None,
    least: Mapping[str, float],
    footer: str,
) -> Figure:
    """Models down × families across, a field a measure, colours from `least` to 1; NaN is left empty."""
    width = 0.75 * len(columns) + 0.5
    figure = Figure(figsize=(2.6 + width * len(fields), 1.7 + 0.27 * max(len(rows), 3)), layout="constrained")
    axes = figure.subplots(1, len(fields), squeeze=False)[0]
    titled(figure, title, footer)
    for index, (ax, (name, values)) in enumerate(zip(axes, fields.items(), strict=True)):
        written = [["" if np.isnan(cell) else f"{cell:.3f}" for cell in row] for row in values]
        field(ax, values, written, (least.get(name, 0.0), 1))
        ax.set_xticks(range(len(columns)), [shortened(each, 14) for each in columns])
        ax.set_yticks(range(len(rows)), [shortened(each) for each in rows] if index == 0 else [""] * len(rows))
        ax.set_title(name, loc="left")
        if index == 0 and ours is not None:
            ax.get_yticklabels()[ours].set_fontweight("bold")
            ax.get_yticklabels()[ours].set_color(OURS_COLOUR)
    return figure


def field(ax: Axes, values: Points, written: Sequence[Sequence[str]], limits: tuple[float, float]) -> None:
    """A field of coloured cells with their figures; dark cells carry white figures."""
    ax.imshow(np.ma.masked_invalid(values), cmap="cividis", vmin=limits[0], vmax=limits[1], aspect="auto")
    for row, line in enumerate(written):
        for column, text in enumerate(line):
            dark = values[row, column] < limits[0] + 0.55 * (limits[1] - limits[0])
            colour = "white" if dark else "black"
            cell = ax.text(column, row, text, ha="center", va="center", fontsize=7.5, color=colour)
            cell.set_in_layout(False)
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
