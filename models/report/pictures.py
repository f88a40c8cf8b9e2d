"""What all pictures share: colours, type, and files that come out the same every time."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe & Ito 2008: told apart with any colour vision.
OURS_COLOUR = "#D55E00"
OTHER_COLOUR = "#7A9CB8"
LINES = ("#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
FAINT = "#C8C8C8"
INK = "#222222"

STYLE: dict[str, Any] = {
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
    "svg.hashsalt": "forebay",
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
    """Write a figure as PNG and SVG, the same bytes for the same figure; names of the files."""
    files = [f"{name}.png", f"{name}.svg"]
    figure.savefig(folder / files[0], metadata={"Software": None})
    figure.savefig(folder / files[1], metadata={"Date": None})
    return files


def titled(figure: Figure, title: str, footer: str) -> None:
    """Title on top, where it comes from at the bottom, small."""
    figure.suptitle(title, fontsize=12, fontweight="bold", x=0.01, ha="left")
    figure.supxlabel(footer, fontsize=7, color="#666666", x=0.01, ha="left")


def grid(axes: Axes, axis: str = "x") -> None:
    """Light lines across, one way."""
    axes.grid(True, axis=axis)
    axes.tick_params(length=2)


def slug(text: str) -> str:
    """A name that can be a file's: `KDDTest+` → `kddtest-plus`."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower().replace("+", "-plus")).strip("-") or "x"


def shortened(text: str, length: int = 28) -> str:
    """A label that fits."""
    return text if len(text) <= length else text[: length - 1] + "…"
