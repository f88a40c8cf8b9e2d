"""A run's report: one document, and the same as Markdown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from loadtest.workload.findings import attacks_of, incident_line, incidents_of
from loadtest.workload.finished import Finished
from loadtest.workload.histogram import Histogram
from loadtest.workload.objectives import Objective
from loadtest.workload.watcher import ALERTS, FEATURES, FLOWS, REJECTS, SCORED, SUSPECTS, Seen

BEHIND_P99_MS = 10.0
"""A generator that is later than that with one message in a hundred says so."""
SLOPE_STRETCHES = 8
"""So many stretches of a run say how sure the slope of its lag is."""
SHORTEST_US = 1_000_000
"""Of a run that was stopped earlier no rate is said."""
FEW_RECORDS = 100
"""What fewer records cost each is no figure: the processes' own work beside is most of it."""
NOT_MEASURED = "not measured"
LATENCIES = (
    ("raw_to_flows", "flows", FLOWS),
    ("raw_to_features", "features", FEATURES),
    ("raw_to_scored", "scored", SCORED),
    ("raw_to_suspects", "suspects", SUSPECTS),
    ("raw_to_alert", "alert", ALERTS),
)
"""Names in the document, in Markdown, and of the topic; those between are there where every hop was watched."""


@dataclass(frozen=True, slots=True)
class Lag:
    """How many acknowledged records had not come out. times_s: of `records`, from the run's start on."""

    times_s: list[float]
    records: list[int]
    slope_per_s: float | None = None
    """By how many records a second it grew after the warm-up, while records were due; None where that was too short."""
    slope_error_per_s: float | None = None
    """The standard error of that: lag goes up and down with every message."""

    def document(self) -> dict[str, Any]:
        """First, most and last while sending, and the slope."""
        while_sending = self.records or [0]
        return {
            "start": while_sending[0],
            "max": max(while_sending),
            "end": while_sending[-1],
            "slope_per_s": _rounded(self.slope_per_s),
            "slope_error_per_s": _rounded(self.slope_error_per_s),
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def lag_of(run: Finished) -> Lag:
    """The lag of a run from the two series, at the watcher's samples while records were sent."""
    start_us, end_us = run.schedule.start_us, run.sent.ended_us
    points = [(at, seen) for at, seen in run.seen.series if start_us <= at <= end_us]
    if not points or not run.acknowledged:
        return Lag([], [])
    at, seen = np.array(points, np.int64).T
    clock, taken = np.array(run.acknowledged, np.int64).T
    lag = np.maximum(np.interp(at, clock, taken, left=0) - seen, 0)
    times = (at - start_us) / 1e6
    later = times >= run.warm_up_us / 1e6
    slope, error = _slope(times[later], lag[later])
    return Lag(times.round(3).tolist(), lag.astype(int).tolist(), slope, error)


def _slope(times_s: Any, lag: Any) -> tuple[float | None, float | None]:
    """The slope of (n,) values over (n,) times, and its standard error by the means of eight stretches.

    Values that follow each other depend on each other, what stretches have on average hardly does. Of fewer than two
    values a stretch neither is said.
    """
    if len(times_s) < 2 * SLOPE_STRETCHES:
        return None, None
    slope, at_0 = np.polyfit(times_s, lag, 1)
    middles, means = (
        np.array([part.mean() for part in np.array_split(values, SLOPE_STRETCHES)]) for values in (times_s, lag)
    )
    beside = means - (slope * middles + at_0)
    spread = ((middles - middles.mean()) ** 2).sum()
    return float(slope), float(np.sqrt((beside**2).sum() / (SLOPE_STRETCHES - 2) / spread))


def report_of(run: Finished, objectives: Sequence[Objective], resources: dict[str, Any]) -> dict[str, Any]:
    """The document of a run. resources: by process, what it used; empty where no process was known."""
    sent, seen, schedule = run.sent, run.seen, run.schedule
    lag, behind = lag_of(run).document(), sent.behind.document()
    if run.ran_us < SHORTEST_US:
        lag["slope_per_s"] = lag["slope_error_per_s"] = None
    held = [
        {"objective": str(each), "value_ms": each.value_ms(seen.latencies), "holds": each.holds(seen.latencies)}
        for each in objectives
    ]
    counts = _counts(run)
    kept = all(each["holds"] for each in held)
    return {
        "scenario": run.scenario.name,
        "title": run.scenario.title,
        "sensors": len(run.streams),
        "seconds": round(run.ran_us / 1e6, 3),
        "planned_seconds": round(schedule.duration_us / 1e6, 3),
        "warm_up_s": run.warm_up_us / 1e6,
        "event_time_speed": round(schedule.speed, 3),
        **counts,
        "kafka_away_at_s": round((sent.kafka_away_us - schedule.start_us) / 1e6, 1) if sent.kafka_away_us else None,
        "generator_behind_ms": behind,
        "generator_fell_behind": (behind["p99"] or 0) > BEHIND_P99_MS,
        "latency_ms": {
            name: seen.latencies[topic].document()
            for name, _until, topic in LATENCIES
            if seen.latencies[topic].count or topic not in (FEATURES, SUSPECTS)
        },
        "lag_records": lag,
        "drain_s": round(max(seen.last_us - sent.ended_us, 0) / 1e6, 3) if seen.last_us else None,
        "rows_a_message": {name: _fill(seen, topic) for name, topic in (("flows", FLOWS), ("scored", SCORED))},
        "resources": resources or NOT_MEASURED,
        "attacks": attacks_of(run),
        "objectives": held,
        "ok": kept and counts["out"]["lost"] == 0 and seen.doubled == 0 and sent.finished,
    }


def _counts(run: Finished) -> dict[str, Any]:
    """What was offered, sent and came out."""
    sent, seen = run.sent, run.seen
    took_s = max((sent.ended_us - run.schedule.start_us) / 1e6, 1e-6)
    out_per_s, taken_per_s, over_s = _after_warm_up(run)
    return {
        "offered": {
            "records": sent.planned,
            "records_per_s": round(sent.planned / (run.schedule.duration_us / 1e6), 1),
        },
        "sent": {
            "records": sent.records,
            "messages": sent.messages,
            "bytes": sent.bytes,
            "records_per_s": round(sent.records / took_s, 1) if run.ran_us >= SHORTEST_US else None,
            "records_per_s_after_warm_up": taken_per_s,
            "finished": sent.finished,
            "refused": sent.refused,
        },
        "out": {
            "rows": seen.rows[SCORED],
            "merged_records": seen.merged,
            "rejected": seen.rows[REJECTS],
            "suspects": seen.suspects,
            **incidents_of(run),
            # Of a run that was stopped, what has not come out is under way.
            "lost": sent.records - (seen.records - seen.doubled) if sent.finished else None,
            "doubled": seen.doubled,
            "records_per_s": out_per_s,
            "over_s": over_s,
        },
    }


def _fill(seen: Seen, topic: str) -> float | None:
    messages = seen.messages[topic]
    return round(seen.rows[topic] / messages, 1) if messages else None


def _after_warm_up(run: Finished) -> tuple[float | None, float | None, float | None]:
    """Records a second that came out while records were sent, the warm-up left aside; those that Kafka took; seconds.

    None where the time is too short to say.
    """
    from_us = run.schedule.start_us + run.warm_up_us
    points = [(at, records) for at, records in run.seen.series if from_us <= at <= run.sent.ended_us]
    if len(points) < 2 or not run.acknowledged or (over_us := points[-1][0] - points[0][0]) < SHORTEST_US // 2:
        return None, None, None
    clock, taken = np.array(run.acknowledged, np.int64).T
    first, last = np.interp((points[0][0], points[-1][0]), clock, taken, left=0)
    over_s = over_us / 1e6
    return round((points[-1][1] - points[0][1]) / over_s, 1), round(float(last - first) / over_s, 1), round(over_s, 1)


def markdown(report: dict[str, Any]) -> str:
    """A report as Markdown."""
    offered, sent, out = report["offered"], report["sent"], report["out"]
    came = out["rows"] + out["merged_records"] + out["rejected"]
    counts = [
        ("offered" if sent["finished"] else "planned", shown(offered["records"]), shown(offered["records_per_s"])),
        ("taken by Kafka", shown(sent["records"]), shown(sent["records_per_s"])),
        ("scored or rejected", shown(came), ""),
        ("lost", shown(out["lost"]), ""),
        ("doubled", shown(out["doubled"]), ""),
    ]
    return "\n".join(
        [
            f"# {report['scenario']}: {report['title']}",
            "",
            f"{report['sensors']} sensors for {_seconds(report)}, {report['warm_up_s']:g} s of it a warm-up that "
            f"does not count; event time ran {report['event_time_speed']:,.1f} times as fast as the clock. "
            f"{_verdict(report)}",
            "",
            *markdown_table(("", "records", "a second"), counts),
            *_after_warm_up_lines(report),
            *_latencies(report),
            _lag_line(report),
            "",
            incident_line(out),
            "",
            *_attack_lines(report["attacks"]),
            *_resource_lines(report["resources"]),
            *_objective_lines(report["objectives"]),
            *_machine_lines(report),
        ]
    )


def _lag_line(report: dict[str, Any]) -> str:
    lag, fill = report["lag_records"], report["rows_a_message"]
    slope = "" if lag["slope_per_s"] is None else f", {lag['slope_per_s']:+,} ± {lag['slope_error_per_s']:,} a second"
    return (
        f"Lag in records: {lag['start']:,} at the start, {lag['max']:,} at most, {lag['end']:,} when the last was "
        f"sent{slope}; drained in {shown(report['drain_s'])} s. Rows a message: flows {shown(fill['flows'])}, scored "
        f"{shown(fill['scored'])}."
    )


def _seconds(report: dict[str, Any]) -> str:
    ran = f"{report['seconds']:g}"
    return f"{ran} s" if report["sent"]["finished"] else f"{ran} of {report['planned_seconds']:g} s"


def _after_warm_up_lines(report: dict[str, Any]) -> list[str]:
    """The rates that compare: of what Kafka took and of what came out in the same seconds."""
    sent, out = report["sent"], report["out"]
    if out["over_s"] is None:
        return []
    return [
        f"In {out['over_s']:g} s after the warm-up, until the last was sent: {shown(out['records_per_s'])} records a "
        f"second were scored or rejected, {shown(sent['records_per_s_after_warm_up'])} taken by Kafka.",
        "",
    ]


def _machine_lines(report: dict[str, Any]) -> list[str]:
    if "machine" not in report:
        return []
    cores = report.get("other_work_cores")
    beside = "" if cores is None else f" Everything else on this machine took {cores:.2f} cores meanwhile."
    return [machine_line(report["machine"]) + beside, ""]


def _verdict(report: dict[str, Any]) -> str:
    said = "NOT in order."
    if report["ok"]:
        held = "All objectives hold" if report["objectives"] else "No objective was asked for (--slo)"
        said = f"{held}; nothing is lost or doubled."
    if not report["sent"]["finished"]:
        said = "Stopped before its end: what is lost was not counted, and what was under way is not in it."
    if report["kafka_away_at_s"] is not None:
        said += (
            f" Kafka could not be reached at {report['kafka_away_at_s']:g} s, for a moment at least: the figures are "
            "of a run with that in it."
        )
    if report["generator_fell_behind"]:
        said += f" The generator itself fell behind its schedule: p99 {report['generator_behind_ms']['p99']} ms."
    return said


def _latencies(report: dict[str, Any]) -> list[str]:
    names = [(name, until) for name, until, _ in LATENCIES if name in report["latency_ms"]]
    columns = ("count", "p50", "p90", "p95", "p99", "p99.9", "max")
    rows = [(until, *(shown(report["latency_ms"][name][column]) for column in columns)) for name, until in names]
    behind = report["generator_behind_ms"]
    rows.append(("the generator's own delay", *(shown(behind[column]) for column in columns)))
    return [*markdown_table(("intended send time until, ms", *columns), rows)]


def _attack_lines(attacks: list[dict[str, Any]]) -> list[str]:
    columns = ("attack", "sent", "while_learning", "found", "recall", "delay_ms_median", "delay_ms_max")
    heads = tuple(column.replace("_", " ") for column in columns)
    return (
        markdown_table(heads, [tuple(shown(each[column]) for column in columns) for each in attacks]) if attacks else []
    )


def _resource_lines(resources: Any) -> list[str]:
    if isinstance(resources, str):
        return [f"CPU and memory of the stages: {resources}.", ""]
    rows = [(name, shown(each["cpu_us_a_record"]), shown(each["rss_max_mib"])) for name, each in resources.items()]
    return markdown_table(("process", "CPU µs a record", "most RSS, MiB"), rows)


def _objective_lines(objectives: list[dict[str, Any]]) -> list[str]:
    rows = [(each["objective"], shown(each["value_ms"]), "yes" if each["holds"] else "NO") for each in objectives]
    return markdown_table(("objective", "ms", "holds"), rows) if objectives else []


def machine_line(machine: Mapping[str, Any]) -> str:
    """Where and when a run was, as a sentence."""
    when = datetime.fromtimestamp(machine["started_us"] / 1e6, UTC)
    return (
        f"{when:%Y-%m-%d %H:%M} UTC, {machine['cores']} cores for the generator, {shown(machine['memory_gib'])} GiB, "
        f"load {machine['load_before']} before the run, Forebay {machine['forebay']}, Python {machine['python']}."
    )


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table's lines, its first column words and the others figures; an empty one after them."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return ["| " + " | ".join(line) + " |" for line in lines] + [""]


def shown(value: Any) -> str:
    """A figure as people read it; a dash for none."""
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, (int, float)) else str(value)


MAX_NINES = 4
"""Of a percentile in a picture: p99.99."""


def curves_of(latencies: dict[str, Histogram]) -> dict[str, list[tuple[float, float]]]:
    """Latency in ms of each topic that had any by nines of the percentile: 1 is p90, 2 p99, 3 p99.9."""
    nines = [number / 20 for number in range(20 * MAX_NINES + 1)]
    percents = [100 * (1 - 10.0**-number) for number in nines]
    named = (("flows", FLOWS), ("scored", SCORED), ("alerts", ALERTS))
    return {
        name: [(number, latency) for number, (_, latency) in zip(nines, curve, strict=True)]
        for name, topic in named
        if (curve := latencies[topic].curve(percents))
    }
