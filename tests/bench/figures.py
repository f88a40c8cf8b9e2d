"""Figures of record: a bench's JSON under docs/performance, with the command, the machine, the date and the commit."""

import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import matplotlib as mpl
import orjson

from pipeline.tools.load.machine import machine
from tests.contract.tree import PACKAGES, ROOT

mpl.use("Agg")
import matplotlib.pyplot as plt

FOLDER = ROOT / "docs" / "performance"
QUICK_FOLDER = ROOT / "var" / "performance"
"""Where a quick run writes: it shows that the command works, and is no figure of record."""
COLOURS = {
    "broker": "#7f8c8d",
    "ingest": "#2471a3",
    "featurize": "#28b463",
    "score": "#c0392b",
    "alert": "#f39c12",
    "archive": "#8e44ad",
    "retrain": "#17a589",
}


def origin(command: str) -> dict[str, Any]:
    """What stands in every file: command, machine with the load before it, date, and the commit it was measured at.

    Of an absolute path in the command the name alone: the rest is this machine's.
    """
    commit = _git("rev-parse", "--short", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", *PACKAGES)
    return {
        "command": " ".join([command, *(Path(word).name if word.startswith("/") else word for word in sys.argv[1:])]),
        "machine": machine(),
        "date": datetime.now(UTC).date().isoformat(),
        "commit": (commit or "unknown") + (" and changes" if changed else ""),
    }


def _git(*arguments: str) -> str:
    """What git says, empty where it says nothing or this is no clone."""
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def write(folder: Path, name: str, document: Mapping[str, Any], started: Mapping[str, Any]) -> None:
    """Write NAME.json. started: what `origin` said before anything was measured."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_bytes(orjson.dumps({**started, **document}, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    print(f"written: {path.relative_to(ROOT) if path.is_relative_to(ROOT) else path}", flush=True)


def budget(path: Path, bars: Mapping[str, Mapping[str, float]]) -> None:
    """What a record costs as an SVG: a bar a run, a colour a process, microseconds of a core."""
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "forebay"}):
        figure, panel = plt.subplots(figsize=(9, 0.8 + 0.5 * len(bars)), constrained_layout=True)
        names = list(bars)[::-1]
        most = max(sum(bar.values()) for bar in bars.values())
        for row, name in enumerate(names):
            left = 0.0
            for process, used in bars[name].items():
                label = process if row == len(names) - 1 else None
                panel.barh(row, used, left=left, color=COLOURS[process], label=label, height=0.7)
                if used >= 0.04 * most:  # else the number is wider than its box
                    panel.text(left + used / 2, row, f"{used:.1f}", ha="center", va="center", color="white", fontsize=8)
                left += used
            panel.text(left, row, f" {left:.1f}", va="center", fontsize=9)
        panel.set_yticks(range(len(names)), names)
        panel.set_xlabel("microseconds of a core for each record")
        panel.set_xlim(0, 1.1 * most)
        panel.legend(ncols=7, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
        figure.savefig(path, format="svg", metadata={"Date": None})
        plt.close(figure)
