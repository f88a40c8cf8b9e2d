"""What all pictures share: colours, type, and files that come out the same every time."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

# Okabe & Ito 2008: distinguishable with any colour vision.
OURS_COLOUR = "#D55E00"
OTHER_COLOUR = "#7A9CB8"
LINES = ("#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
FAINT = "#C8C8C8"
INK = "#222222"

STYLE: Any = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same on every machine
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.7,
    "text.parse_math": False,  # a class may be called $x$
    "svg.hashsalt": "forebay",  # ids in the file come out the same every time
    "figure.dpi": 100,
    "savefig.dpi": 130,
}


@contextmanager
def style() -> Iterator[None]:
    """Draw with our type and colours, then leave matplotlib's settings as they were."""
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # a box stands for it
        yield


def save(figure: Figure, folder: Path, name: str) -> list[str]:
    """Write a figure as SVG, the same bytes for the same figure; names of the files."""
    file = f"{name}.svg"
    figure.savefig(folder / file, metadata={"Date": None})
    return [file]


def titled(figure: Figure, title: str, footer: str) -> None:
    """Title on top, where it comes from at the bottom, small."""
    figure.suptitle(title, fontsize=12, fontweight="bold", x=0.01, ha="left")
    figure.supxlabel(footer, fontsize=7, color="#666666", x=0.01, ha="left")


def grid(axes: Axes, axis: Literal["both", "x", "y"] = "x") -> None:
    """Light lines across, one way."""
    axes.grid(True, axis=axis)
    axes.tick_params(length=2)


def decades(axis: Axis, start: float, end: float, most: float = np.inf) -> None:
    """Few plain figures up to `most` on a logarithmic axis: 0.001, 0.01 (mathematical type is off)."""
    first, last = int(np.ceil(np.log10(start) - 1e-9)), int(np.floor(np.log10(min(end, most)) + 1e-9))
    powers = range(first, last + 1, max(1, -(-(last - first + 1) // 4)))
    axis.set_ticks([10.0**power for power in powers], [counted(10.0**power) for power in powers])
    axis.set_minor_locator(NullLocator())


def counted(value: float) -> str:
    """A count or a share in few signs: 0.001, 27, 330k, 1.2M."""
    for size, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{sign}"
    return f"{value:.3g}"


def slug(text: str) -> str:
    """A name that can be a file's: `KDDTest+` → `kddtest-plus`."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower().replace("+", "-plus")).strip("-") or "x"


def shortened(text: str, length: int = 34) -> str:
    """A label that fits."""
    return text if len(text) <= length else text[: length - 1] + "…"
