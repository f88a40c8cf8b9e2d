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
from matplotlib.artist import Artist
from matplotlib.axes import Axes
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


Scores = tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], npt.NDArray[np.bool_]]


def timeline(
    path: Path,
    origin_us: int,
    scores: Mapping[str, Scores],
    findings: Sequence[Finding],
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
    for panel, (sensor, each) in zip(panels, scores.items(), strict=False):
        _draw_events(panel, origin_us, findings, benign)
        _draw_scores(panel, origin_us, sensor, each)
    _draw_incidents(panels[-1], origin_us, list(scores), findings, incidents)
    attacks = [each for each in findings if each.event.kind == "attack"]
    faults = [each for each in findings if each.event.kind == "fault"]
    figure.suptitle(
        f"Westermo plant: {sum(each.found for each in attacks)} of {len(attacks)} attacks and "
        f"{sum(each.found for each in faults)} of {len(faults)} faults found, "
        f"{sum(incident.false for incident in incidents)} false incidents",
        fontsize=13,
    )
    panels[0].legend(
        handles=_legend(), ncols=7, loc="lower center", bbox_to_anchor=(0.5, 1.01), frameon=False, fontsize=8
    )
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _minutes(times_us: npt.NDArray[np.int64] | int, origin_us: int) -> npt.NDArray[np.float64]:
    return np.asarray((np.asarray(times_us) - origin_us) / 60e6, dtype=np.float64)


def _draw_events(panel: Axes, origin_us: int, findings: Sequence[Finding], benign: Sequence[Event]) -> None:
    """The plant's events as bands; attacks and faults that were missed are hatched."""
    for each in findings:
        start, end = (float(_minutes(us, origin_us)) for us in (each.event.start_us, each.event.end_us))
        alpha, hatch = (0.18, None) if each.found else (0.5, "///")
        panel.axvspan(start, end, color=COLOURS[each.event.kind], alpha=alpha, hatch=hatch, lw=0)
    for event in benign:
        start, end = (float(_minutes(us, origin_us)) for us in (event.start_us, event.end_us))
        panel.axvspan(start, end, color=COLOURS["benign"], alpha=0.35, lw=0)


def _draw_scores(panel: Axes, origin_us: int, sensor: str, scores: Scores) -> None:
    """One sensor's flows as dots, suspects in red."""
    times_us, values, suspect = scores
    minutes = _minutes(times_us, origin_us)
    panel.scatter(minutes[~suspect], values[~suspect], s=2, color="#34495e", alpha=0.35, lw=0)
    panel.scatter(minutes[suspect], values[suspect], s=7, color="#c0392b", alpha=0.8, lw=0)
    panel.set_ylabel(f"{sensor}\nscore")
    panel.set_ylim(-0.03, 1.05)


def _draw_incidents(
    panel: Axes, origin_us: int, sensors: list[str], findings: Sequence[Finding], incidents: Sequence[Incident]
) -> None:
    """Incidents as bars, a row a sensor, and the names of the plant's events above them."""
    for incident in incidents:
        colour = "#2c3e50" if not incident.false else "#e67e22"
        start, end = (float(_minutes(us, origin_us)) for us in (incident.start_us, incident.end_us))
        for sensor in incident.sensors:
            row = sensors.index(sensor) if sensor in sensors else len(sensors)
            panel.plot([start, max(end, start + 0.08)], [row, row], lw=7, color=colour, solid_capstyle="butt")
    for each in findings:
        panel.text(
            float(_minutes(each.event.start_us, origin_us)),
            len(sensors) - 0.35,
            SHORT.get(each.event.name, each.event.name) + ("" if each.found else " missed"),
            rotation=60,
            fontsize=7,
            color=COLOURS[each.event.kind],
            ha="left",
            va="bottom",
        )
    last = max((float(_minutes(each.event.end_us, origin_us)) for each in findings), default=1.0)
    panel.set_yticks(range(len(sensors)), [f"incidents\n{sensor}" for sensor in sensors])
    panel.set_ylim(-0.6, len(sensors) + 0.6)
    panel.set_xlim(-0.5, last + 2.5)
    panel.set_xlabel("event time, minutes after the cut")


def _legend() -> list[Artist]:
    return [
        Patch(color=COLOURS["attack"], alpha=0.3, label="attack"),
        Patch(color=COLOURS["fault"], alpha=0.3, label="fault"),
        Patch(color=COLOURS["benign"], alpha=0.4, label="harmless login"),
        Line2D([], [], marker="o", ls="", ms=3, color="#34495e", label="flow"),
        Line2D([], [], marker="o", ls="", ms=4, color="#c0392b", label="suspect flow"),
        Line2D([], [], lw=6, color="#2c3e50", label="incident"),
        Line2D([], [], lw=6, color="#e67e22", label="false incident"),
    ]
