"""The demo's picture: each sensor's scores over event time, the plant's events behind them, the incidents on top."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import numpy.typing as npt

from loadtest.plants.westermo.traffic import Event
from pipeline.tools.demo.report import Finding, Incident

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

COLOURS = {"attack": "#c0392b", "fault": "#d68910", "benign": "#7f8c8d"}
SHORT = {
    "BAD-MITM": "MITM",
    "BAD-SSH": "SSH",
    "BAD-PORTSCAN1": "scan",
    "BAD-PORTSCAN2": "scan",
    "BAD-MISCONF": "misconf",
    "BAD-MISCONF-DUPLICATION": "dup. IP",
    "GOOD-SSH": "login",
}


def timeline(
    path: Path,
    origin_us: int,
    scores: Mapping[str, tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], npt.NDArray[np.bool_]]],
    found: Sequence[Finding],
    benign: Sequence[Event],
    incidents: Sequence[Incident],
) -> None:
    """Draw the timeline; `scores` has per sensor the flows' event times (µs), scores, and whether they are suspects."""
    figure, panels = plt.subplots(
        len(scores) + 1,
        1,
        figsize=(15, 2.6 * len(scores) + 2.4),
        sharex=True,
        height_ratios=[3.0] * len(scores) + [2.2],
        constrained_layout=True,
    )

    def minutes(us: npt.NDArray[np.int64] | int) -> npt.NDArray[np.float64]:
        return np.asarray((np.asarray(us) - origin_us) / 60e6, dtype=np.float64)

    for panel, (sensor, (times, values, suspect)) in zip(panels, scores.items(), strict=False):
        for one in found:
            panel.axvspan(
                float(minutes(one.event.start_us)),
                float(minutes(one.event.end_us)),
                color=COLOURS[one.event.kind],
                alpha=0.18 if one.found else 0.5,
                hatch=None if one.found else "///",
                lw=0,
            )
        for event in benign:
            panel.axvspan(
                float(minutes(event.start_us)),
                float(minutes(event.end_us)),
                color=COLOURS["benign"],
                alpha=0.35,
                lw=0,
            )
        panel.scatter(minutes(times[~suspect]), values[~suspect], s=2, color="#34495e", alpha=0.35, lw=0)
        panel.scatter(minutes(times[suspect]), values[suspect], s=7, color="#c0392b", alpha=0.8, lw=0)
        panel.set_ylabel(f"{sensor}\nscore")
        panel.set_ylim(-0.03, 1.05)

    below = panels[-1]
    sensors = list(scores)
    for incident in incidents:
        row = sensors.index(incident.sensor) if incident.sensor in sensors else len(sensors)
        colour = "#2c3e50" if not incident.false else "#e67e22"
        start, end = float(minutes(incident.start_us)), float(minutes(incident.end_us))
        below.plot([start, max(end, start + 0.08)], [row, row], lw=7, color=colour, solid_capstyle="butt")
    for one in found:
        below.text(
            float(minutes(one.event.start_us)),
            len(sensors) - 0.35,
            SHORT.get(one.event.name, one.event.name) + ("" if one.found else " missed"),
            rotation=60,
            fontsize=7,
            color=COLOURS[one.event.kind],
            ha="left",
            va="bottom",
        )
    below.set_yticks(range(len(sensors)), [f"incidents\n{sensor}" for sensor in sensors])
    below.set_ylim(-0.6, len(sensors) + 0.6)
    below.set_xlim(-0.5, max((float(minutes(one.event.end_us)) for one in found), default=1.0) + 2.5)
    below.set_xlabel("event time, minutes after the cut")
    attacks = [one for one in found if one.event.kind == "attack"]
    faults = [one for one in found if one.event.kind == "fault"]
    figure.suptitle(
        f"Westermo plant: {sum(one.found for one in attacks)} of {len(attacks)} attacks and "
        f"{sum(one.found for one in faults)} of {len(faults)} faults found, "
        f"{sum(incident.false for incident in incidents)} false incidents",
        fontsize=13,
    )
    panels[0].legend(
        handles=[
            Patch(color=COLOURS["attack"], alpha=0.3, label="attack"),
            Patch(color=COLOURS["fault"], alpha=0.3, label="fault"),
            Patch(color=COLOURS["benign"], alpha=0.4, label="harmless login"),
            Line2D([], [], marker="o", ls="", ms=3, color="#34495e", label="flow"),
            Line2D([], [], marker="o", ls="", ms=4, color="#c0392b", label="suspect flow"),
            Line2D([], [], lw=6, color="#2c3e50", label="incident"),
            Line2D([], [], lw=6, color="#e67e22", label="false incident"),
        ],
        ncols=7,
        loc="lower center",
        bbox_to_anchor=(0.5, 1.01),
        frameon=False,
        fontsize=8,
    )
    figure.savefig(path, dpi=110)
    plt.close(figure)
