"""A sensor's history as a picture: its phases, how much is usual, its incidents, and what its notices say."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl

from pipeline.contracts.baseline import Phase
from pipeline.contracts.envelope import SensorName
from pipeline.contracts.notice_words import headline
from pipeline.contracts.notices import ANCHORED, CHANGED, LEARNT, Notice
from pipeline.runtime.terminal import printable
from pipeline.tools.alerts.lines import is_notice
from pipeline.tools.sensors.histories import SensorHistory

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

# Names come from the network: a dollar in them begins no formula. The salt makes equal pictures equal files.
mpl.rcParams.update({"text.parse_math": False, "svg.hashsalt": "forebay"})

HOUR_US = 3_600_000_000
COLOURS = {Phase.LEARNING: "#c3ccd5", Phase.SETTLING: "#f0d08d", Phase.ANCHORED: "#a9cfa4", Phase.CHANGED: "#dd9a90"}
MOST_NAMED = 10
"""Notices named under the picture; more would fill the page, and `forebay sensor show` lists them all."""
LONGEST_NAME = 130
STEPS = 4
"""Heights of the numbers, one below the other: notices of the same hour do not hide each other."""
ALWAYS_NAMED = (LEARNT, ANCHORED, CHANGED)


class Span(NamedTuple):
    """A phase, from when to when (event time, us)."""

    phase: Phase
    start_us: int
    end_us: int


class Incident(NamedTuple):
    """An incident of the sensor, from when to when (event time, us), and its severity, 1 to 5."""

    start_us: int
    end_us: int
    severity: int


def phases(history: SensorHistory) -> list[Span]:
    """The phases of a sensor, oldest first, each until the next began, the last until the last notice.

    notices    learnt 10:03, settling since 10:03    anchored 14:00, since 14:00    status 15:00, since 14:00
    phases     learning 8:00 (began_us) to 10:03     settling to 14:00              anchored to 15:00
    """
    notices = [*history.notices, history.last.notice]
    began = {(each.figures["began_us"], Phase.LEARNING) for each in notices if each.figures["began_us"]}
    starts = sorted(began | {(each.since_us, Phase(each.phase)) for each in notices if each.since_us})
    ends = [start_us for start_us, _ in starts[1:]] + [history.last.notice.at_us]
    return [
        Span(phase, start_us, end_us)
        for (start_us, phase), end_us in zip(starts, ends, strict=True)
        if end_us > start_us
    ]


def named(notices: Sequence[Notice]) -> list[Notice]:
    """The notices that the picture names, oldest first: phases that began, then the latest of the others."""
    first = [each for each in notices if each.kind in ALWAYS_NAMED][-MOST_NAMED:]
    others = [each for each in notices if each.kind not in ALWAYS_NAMED]
    return sorted([*first, *others[len(others) - max(0, MOST_NAMED - len(first)) :]], key=lambda each: each.at_us)


def incidents_of(alerts: Iterable[Mapping[str, Any]], name: SensorName) -> list[Incident]:
    """The incidents of a sensor as their last revisions have them, oldest first; notices are none."""
    latest = {alert["finding_info"]["uid"]: alert for alert in alerts if not is_notice(alert)}
    return sorted(
        Incident(about["first_ts_us"], about["last_ts_us"], alert["severity_id"])
        for alert in latest.values()
        if ((about := alert["unmapped"])["site"], about["sensor"]) == name
    )


def draw(path: Path, history: SensorHistory, incidents: Sequence[Incident]) -> None:
    """Draw a sensor's history into a file, of the kind that its ending says (.svg, .png, .pdf)."""
    spans, marked = phases(history), named(history.notices)
    origin_us = spans[0].start_us if spans else history.last.notice.at_us
    figure, (usual, below) = plt.subplots(
        2,
        1,
        figsize=(12, 4.6 + 0.22 * len(marked)),
        sharex=True,
        height_ratios=[3.0, 0.9],
        constrained_layout=True,
    )
    for panel in (usual, below):
        for span in spans:
            panel.axvspan(
                _hours(span.start_us, origin_us), _hours(span.end_us, origin_us), color=COLOURS[span.phase], lw=0
            )
    _draw_phases(usual, spans, origin_us)
    _draw_usual(usual, history, origin_us)
    _draw_incidents(below, incidents, origin_us)
    for order, notice in enumerate(marked):
        at = _hours(notice.at_us, origin_us)
        usual.axvline(at, color="#2c3e50", lw=0.8, ls=":")
        usual.annotate(
            str(notice.number),
            (at, 0.95 - 0.09 * (order % STEPS)),
            xycoords=("data", "axes fraction"),
            fontsize=8,
            ha="center",
            va="top",
            bbox={"boxstyle": "circle,pad=0.2", "fc": "white", "ec": "#2c3e50", "lw": 0.8},
        )
    figure.suptitle(printable("/".join(history.name), LONGEST_NAME), fontsize=12)
    below.set_xlabel("event time, hours after the first flow\n\n" + "\n".join(_captions(marked, origin_us)), loc="left")
    figure.savefig(path, dpi=110, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)


def _hours(time_us: int, origin_us: int) -> float:
    return (time_us - origin_us) / HOUR_US


def _draw_phases(panel: Axes, spans: Sequence[Span], origin_us: int) -> None:
    """The name of each phase over its band, where it is wide enough to bear it."""
    whole = max((span.end_us for span in spans), default=origin_us) - origin_us
    for span in spans:
        if (span.end_us - span.start_us) * 25 > whole:
            middle = (_hours(span.start_us, origin_us) + _hours(span.end_us, origin_us)) / 2
            panel.annotate(
                span.phase.name.lower(), (middle, 1.01), xycoords=("data", "axes fraction"), ha="center", va="bottom"
            )


def _draw_usual(panel: Axes, history: SensorHistory, origin_us: int) -> None:
    """How much was usual at each notice that the topic still holds, the hourly status among them."""
    notices = sorted([*history.notices, *history.statuses], key=lambda each: each.at_us)
    hours = [_hours(each.at_us, origin_us) for each in notices]
    for figure, words, style in (
        ("usual_kinds", "usual kinds of flow", "-"),
        ("usual_relations", "usual relations", "--"),
    ):
        counts = [each.figures[figure] for each in notices]
        panel.plot(hours, counts, style, marker="o", ms=3, color="#1f3a5f", label=words)
    panel.set_ylabel("usual")
    panel.set_ylim(bottom=0)
    panel.legend(loc="center right", fontsize=8, framealpha=0.8)


def _draw_incidents(panel: Axes, incidents: Sequence[Incident], origin_us: int) -> None:
    for each in incidents:
        panel.plot(
            [_hours(each.start_us, origin_us), _hours(each.end_us, origin_us)],
            [each.severity, each.severity],
            color="#7b241c",
            marker="o",
            ms=4,
            lw=3,
        )
    panel.set_ylim(0.4, 5.6)
    panel.set_yticks(range(1, 6), ["informational", "low", "medium", "high", "critical"], fontsize=7)
    panel.set_ylabel(f"{len(incidents):,} incident{'s' * (len(incidents) != 1)}")


def _captions(marked: Sequence[Notice], origin_us: int) -> list[str]:
    """A line a notice, under the picture, by the number that `forebay sensor undo` takes."""
    return [
        f"#{notice.number}  after {_hours(notice.at_us, origin_us):.1f} h  {printable(headline(notice), LONGEST_NAME)}"
        for notice in marked
    ]
