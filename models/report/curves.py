"""Lines and fields: ROC, reliability, rows a second, confusion, and how models fare against families."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from models.report.pictures import FAINT, INK, LINES, OURS_COLOUR, grid, shortened, titled

Points = npt.NDArray[np.float64]
MARKERS = "osD^vP"


def roc(title: str, curves: Mapping[str, Points], ours: str | None, named: Sequence[str], footer: str) -> Figure:
    """ROC curves (n, 2) of [fpr, tpr] by model: whole, and on a logarithmic axis where false positives are few."""
    figure = Figure(figsize=(10.5, 4.9), layout="constrained")
    whole, low = figure.subplots(1, 2)
    titled(figure, title, footer)
    for ax in (whole, low):
        for name, points in curves.items():
            if name not in named and name != ours:
                ax.plot(points[:, 0], points[:, 1], color=FAINT, linewidth=0.8, zorder=1)
        for place, name in enumerate(named):
            points = curves[name]
            ax.plot(points[:, 0], points[:, 1], color=LINES[place], linewidth=1.3, label=name, zorder=3)
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
    counts.set_ylabel("records")
    counts.set_xlabel("confidence in the named class")
    for each in (ax, counts):
        grid(each, "both")
    return figure


def rates(title: str, lines: Mapping[str, Mapping[int, float]], ours: str | None, wanted: float, footer: str) -> Figure:
    """Rows a second by batch size, both logarithmic; names stand at the lines' ends, moved apart."""
    figure = Figure(figsize=(8.6, max(5.0, 1.2 + 0.24 * len(lines))), layout="constrained")
    ax = figure.subplots()
    titled(figure, title, footer)
    for name, colour, marker in _styles(lines, ours, spare=True):
        points = sorted(lines[name].items())
        ax.plot(
            [x for x, _ in points],
            [y for _, y in points],
            color=colour,
            marker=marker,
            markersize=3.5,
            linewidth=2.4 if name == ours else 1.0,
            zorder=4 if name == ours else 2,
        )
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.axhline(wanted, color="#333333", linewidth=0.9, linestyle="--")
    ax.annotate(f"{wanted:,.0f}", (1, wanted), (2, 3), textcoords="offset points", fontsize=7.5)
    sizes = sorted({size for line in lines.values() for size in line})
    ax.set_xticks(sizes, [f"{size:,}" for size in sizes])
    ax.minorticks_off()
    ax.set_xlabel("rows asked at once")
    ax.set_ylabel("rows a second, one core")
    grid(ax, "both")
    _end_labels(ax, lines, ours)
    return figure


def _end_labels(ax: Axes, lines: Mapping[str, Mapping[int, float]], ours: str | None) -> None:
    """Names right of the axes in the order of the lines' ends, never nearer than a line of text."""
    bottom, top = (np.log10(end) for end in ax.get_ylim())
    ends = sorted((float(np.log10(line[max(line)])), name) for name, line in lines.items() if line)
    least = 0.97 / max(len(ends), 26)
    heights = [(height - bottom) / (top - bottom) for height, _ in ends]
    for at in range(1, len(heights)):
        heights[at] = max(heights[at], heights[at - 1] + least)
    over = heights[-1] - 1 if heights else 0
    if over > 0:
        heights[-1] = 1.0
        for at in range(len(heights) - 2, -1, -1):
            heights[at] = min(heights[at], heights[at + 1] - least)
    colours = {name: colour for name, colour, _ in _styles(lines, ours, spare=True)}
    for height, (end, name) in zip(heights, ends, strict=True):
        ax.annotate(
            shortened(name),
            (max(lines[name]), 10**end),
            (1.05, height),
            textcoords="axes fraction",
            va="center",
            fontsize=7.5,
            color=OURS_COLOUR if name == ours else INK,
            fontweight="bold" if name == ours else "normal",
            arrowprops={"arrowstyle": "-", "color": colours[name], "linewidth": 0.5, "shrinkA": 0, "shrinkB": 2},
            annotation_clip=False,
        )


def _styles(curves: Mapping[str, object], ours: str | None, spare: bool = False) -> list[tuple[str, str, str]]:
    """(name, colour, marker) of each; ours last so that it lies on top. `spare`: more than there are colours."""
    others = [name for name in curves if name != ours]
    styles = []
    for place, name in enumerate(others):
        colour = LINES[place % len(LINES)] if not spare or len(others) <= len(LINES) else LINES[place % 5]
        styles.append((name, colour, MARKERS[(place // 5 if spare else place) % len(MARKERS)]))
    return [*styles, *([(ours, OURS_COLOUR, "o")] if ours in curves and ours is not None else [])]


def confusion(
    title: str, tables: Mapping[str, Points], rows: Sequence[str], columns: Sequence[str], footer: str
) -> Figure:
    """Mean counts of truth (down) × said (across) by model; colour is the share of the truth's records."""
    side = max(2.6, 0.62 * len(columns))
    figure = Figure(figsize=(1.2 + (side + 0.7) * len(tables), 1.6 + 0.56 * len(rows)), layout="constrained")
    axes = figure.subplots(1, len(tables), squeeze=False)[0]
    titled(figure, title, footer)
    for place, (ax, (name, counts)) in enumerate(zip(axes, tables.items(), strict=True)):
        share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        field(ax, share, [[f"{cell:,.0f}" for cell in row] for row in counts], (0, 1))
        ax.set_xticks(range(len(columns)), [shortened(each, 12) for each in columns], rotation=35, ha="right")
        ax.set_yticks(range(len(rows)), [shortened(each, 16) for each in rows] if place == 0 else [""] * len(rows))
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
    footer: str,
) -> Figure:
    """Models down × families across, a field a measure, 0 to 1; NaN is left empty."""
    width = 0.75 * len(columns) + 0.5
    figure = Figure(figsize=(2.6 + width * len(fields), 1.7 + 0.27 * max(len(rows), 3)), layout="constrained")
    axes = figure.subplots(1, len(fields), squeeze=False)[0]
    titled(figure, title, footer)
    for place, (ax, (name, values)) in enumerate(zip(axes, fields.items(), strict=True)):
        field(ax, values, [["" if np.isnan(cell) else f"{cell:.3f}" for cell in row] for row in values], (0, 1))
        ax.set_xticks(range(len(columns)), [shortened(each, 14) for each in columns])
        ax.set_yticks(range(len(rows)), [shortened(each) for each in rows] if place == 0 else [""] * len(rows))
        ax.set_title(name, loc="left")
        if place == 0 and ours is not None:
            ax.get_yticklabels()[ours].set_fontweight("bold")
            ax.get_yticklabels()[ours].set_color(OURS_COLOUR)
    return figure


def field(ax: Axes, values: Points, written: Sequence[Sequence[str]], limits: tuple[float, float]) -> None:
    """A field of coloured cells with their figures; dark cells carry white figures."""
    ax.imshow(np.ma.masked_invalid(values), cmap="cividis", vmin=limits[0], vmax=limits[1], aspect="auto")
    for row, line in enumerate(written):
        for column, text in enumerate(line):
            dark = values[row, column] < limits[0] + 0.55 * (limits[1] - limits[0])
            ax.text(column, row, text, ha="center", va="center", fontsize=7.5, color="white" if dark else "black")
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
