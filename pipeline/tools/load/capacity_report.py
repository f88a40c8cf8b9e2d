"""What a search for a capacity found: lines for people, one document, Markdown, and a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from loadtest.workload.objectives import Objective
from loadtest.workload.pictures import Chart, Points, picture
from loadtest.workload.report import machine_line, markdown_table, shown
from pipeline.tools.load.capacity import (
    HIGHEST_HELD,
    LOWEST_DID_NOT,
    MAX_SLOPE_SHARE,
    NOT_AT_REST,
    UNFINISHED,
    Bounds,
    Step,
)
from pipeline.tools.load.run import LoadRequest

LAG_ALONE = "a lag that does not grow"
_ENDINGS = {
    HIGHEST_HELD: "no higher rate was to be tried",
    LOWEST_DID_NOT: "no lower rate was to be tried",
    NOT_AT_REST: "the search ended there, for the system was still at work with what it had been sent",
    UNFINISHED: "the search was not over yet",
}
SLOPE = "lag_slope_per_s"
_COLUMNS = (
    ("rate", "records/s"),
    ("scored_p50_ms", "until scored, ms p50"),
    ("scored_p99_ms", "p99"),
    ("alert_p50_ms", "until an alert, ms p50"),
    ("alert_p99_ms", "p99"),
    (SLOPE, "lag grows, records/s"),
    ("drain_s", "drained in s"),
    ("generator_behind_p99_ms", "generator late, ms p99"),
    ("other_work_cores", "other work, cores"),
)
MUCH_CORES = 0.1
"""Other work that takes more than that is said with a step."""


def facts_of(request: LoadRequest, objectives: Sequence[Objective], bounds: Bounds) -> dict[str, Any]:
    """What was searched."""
    return {
        "scenario": request.scenario.name,
        "sensors": len(request.scenario.sensor_names),
        "seed": request.seed,
        "pack": request.pack,
        "seconds": request.duration_s,
        "warm_up_s": request.warm_up_s,
        "objectives": [str(each) for each in objectives],
        "limits_ms": {str(each): each.limit_ms for each in objectives},
        "start_per_s": bounds.start,
        "lowest_per_s": bounds.lowest,
        "highest_per_s": bounds.highest,
        "within": bounds.within,
    }


def step_line(step: Step) -> str:
    """A step for people."""
    found = step.document()
    failed = "does not hold" if step.known else "counts as one that does not hold"
    said = "holds" if step.holds else f"{failed}: {'; '.join(step.why)}"
    again = f" ({step.tries} tries, the last of {step.report['seconds']:.0f} s)" if step.tries > 1 else ""
    per_s = "" if found[SLOPE] is None else "/s"
    other = found["other_work_cores"]
    beside = f"; other work took {other:.1f} cores" if (other or 0.0) > MUCH_CORES else ""
    return (
        f"{step.rate:10,.0f}/s  scored p50 {_ms(found['scored_p50_ms'])}, p99 {_ms(found['scored_p99_ms'])}, "
        f"lag {slope_said(found)}{per_s}  {said}{again}{beside}"
    )


def verdict(document: Mapping[str, Any]) -> str:
    """What was found, as a sentence."""
    held, broke = document["capacity_per_s"], document["did_not_hold_per_s"]
    parts = []
    if held is not None:
        parts.append(f"{held:,.0f} records/s held")
    if broke is not None:
        said = "did not" if document["known"] else "counts as one that did not"
        parts.append(f"{broke:,.0f} {said} ({'; '.join(document['why'])})")
    if not parts:
        parts.append("no rate was tried")
    ending = _ENDINGS.get(document["ended"])
    return ", ".join(parts) + (f"; {ending}" if ending else "")


def markdown(document: Mapping[str, Any]) -> str:
    """The document as Markdown."""
    steps = sorted(document["steps"], key=lambda step: step["rate"])
    rows = [
        (*(_cell(step, name) for name, _ in _COLUMNS), "yes" if step["holds"] else "; ".join(step["why"]))
        for step in steps
    ]
    wanted = ", ".join([*document["objectives"], LAG_ALONE])
    return "\n".join(
        [
            f"# Capacity: {document['scenario']}",
            "",
            f"{document['sensors']} sensors, {document['pack']} record{'s' * (document['pack'] > 1)} a message, "
            f"{document['seconds']:g} s a step of which {document['warm_up_s']:g} do not count. Wanted: {wanted}.",
            "",
            f"{verdict(document)}.",
            "",
            *markdown_table((*(head for _, head in _COLUMNS), "holds"), rows),
            machine_line(document["machine"]),
            "",
        ]
    )


def drawn(title: str, steps: Sequence[Mapping[str, Any]], limits_ms: Mapping[str, float]) -> str:
    """Latency and the lag's slope by rate, as SVG, of steps' documents in any order; limits are lines across."""
    every = sorted(steps, key=lambda step: step["rate"])
    ends = [every[0]["rate"], every[-1]["rate"]] if every else []
    latencies: dict[str, Points] = {
        f"{shown_as} {percentile}": [
            (step["rate"], value) for step in every if (value := step[f"{place}_{percentile}_ms"]) is not None
        ]
        for place, shown_as in (("scored", "scored"), ("alert", "alert"))
        for percentile in ("p50", "p99")
    }
    latencies = {name: points for name, points in latencies.items() if points}
    limits = {f"limit {limit:g} ms": [(rate, limit) for rate in ends] for limit in limits_ms.values()}
    slopes = [(step["rate"], step[SLOPE]) for step in every if step[SLOPE] is not None]
    most = [(rate, MAX_SLOPE_SHARE * rate) for rate in ends]
    return picture(
        [
            Chart(f"{title}: due until ...", "records a second", "ms", {**latencies, **limits}, log_y=True),
            Chart("how fast the lag grows", "records a second", "records/s", {"slope": slopes, "allowed": most}),
        ]
    )


def write_capacity(document: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """Write capacity.json, capacity.md and capacity.svg; their paths by name."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "capacity.json": orjson.dumps(document, option=orjson.OPT_INDENT_2).decode() + "\n",
        "capacity.md": markdown(document),
        "capacity.svg": drawn(document["scenario"], document["steps"], document["limits_ms"]),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return {name: str(folder / name) for name in texts}


def _cell(step: Mapping[str, Any], name: str) -> str:
    if name == SLOPE:
        return slope_said(step)
    value = step[name]
    return shown(value if value is None or abs(value) < 100 else round(value))


def slope_said(step: Mapping[str, Any]) -> str:
    """By how many records a second the lag grows, and the standard error of that."""
    return "not known" if step[SLOPE] is None else f"{step[SLOPE]:+,.0f} ± {step['lag_slope_error_per_s'] or 0.0:,.0f}"


def _ms(value: float | None) -> str:
    return "none" if value is None else f"{value:,.0f} ms"
