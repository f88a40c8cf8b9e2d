"""A run's report: one document, and the same as Markdown."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from loadtest.workload.histogram import Histogram
from loadtest.workload.objectives import Objective
from loadtest.workload.scenario import LoadScenario
from loadtest.workload.schedule import Schedule
from loadtest.workload.sender import SentLoad
from loadtest.workload.streams import Stream
from loadtest.workload.watcher import ALERTS, FEATURES, FLOWS, REJECTS, SCORED, SUSPECTS, AttackSeen, Seen

BEHIND_P99_MS = 10.0
"""A generator that is later than that with one message in a hundred says so."""
SLOPE_STRETCHES = 8
"""So many stretches of a run say how sure the slope of its lag is."""
NOT_MEASURED = "not measured"
LATENCIES = (
    ("raw_to_flows", "flows", FLOWS),
    ("raw_to_features", "features", FEATURES),
    ("raw_to_scored", "scored", SCORED),
    ("raw_to_suspects", "suspects", SUSPECTS),
    ("raw_to_alert", "alert", ALERTS),
)
"""Names in the document, in Markdown, and of the topic; those between are there where every hop was watched."""
Series = Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that is over. acknowledged: (clock in us, records that Kafka had taken)."""

    scenario: LoadScenario
    streams: list[Stream]
    schedule: Schedule
    sent: SentLoad
    seen: Seen
    acknowledged: Series
    warm_up_us: int = 0


@dataclass(frozen=True, slots=True)
class Lag:
    """How many acknowledged records had not come out. times_s: of `records`, from the run's start on."""

    times_s: list[float]
    records: list[int]
    slope_per_s: float
    """By how many records a second it grew after the warm-up, while records were due."""
    slope_error_per_s: float = 0.0
    """The standard error of that: lag goes up and down with every message."""

    def document(self) -> dict[str, Any]:
        """First, most and last while sending, and the slope."""
        while_sending = self.records or [0]
        return {
            "start": while_sending[0],
            "max": max(while_sending),
            "end": while_sending[-1],
            "slope_per_s": round(self.slope_per_s, 1),
            "slope_error_per_s": round(self.slope_error_per_s, 1),
        }


def lag_of(run: Finished) -> Lag:
    """The lag of a run from the two series, at the watcher's samples while records were sent."""
    start_us, end_us = run.schedule.start_us, run.sent.ended_us
    points = [(at, seen) for at, seen in run.seen.series if start_us <= at <= end_us]
    if not points or not run.acknowledged:
        return Lag([], [], 0.0)
    at, seen = np.array(points, np.int64).T
    clock, taken = np.array(run.acknowledged, np.int64).T
    lag = np.maximum(np.interp(at, clock, taken, left=0) - seen, 0)
    times = (at - start_us) / 1e6
    later = times >= run.warm_up_us / 1e6
    slope, error = _slope(times[later], lag[later])
    return Lag(times.round(3).tolist(), lag.astype(int).tolist(), slope, error)


def _slope(times_s: Any, lag: Any) -> tuple[float, float]:
    """The slope of (n,) values over (n,) times, and its standard error by the means of eight stretches.

    Values that follow each other depend on each other, what stretches have on average hardly does.
    """
    if len(times_s) < 3:
        return 0.0, 0.0
    slope, at_0 = np.polyfit(times_s, lag, 1)
    if len(times_s) < 2 * SLOPE_STRETCHES:
        return float(slope), 0.0
    middles, means = (
        np.array([part.mean() for part in np.array_split(values, SLOPE_STRETCHES)]) for values in (times_s, lag)
    )
    beside = means - (slope * middles + at_0)
    spread = ((middles - middles.mean()) ** 2).sum()
    return float(slope), float(np.sqrt((beside**2).sum() / (SLOPE_STRETCHES - 2) / spread))


def report_of(run: Finished, objectives: Sequence[Objective], resources: dict[str, Any]) -> dict[str, Any]:
    """The document of a run. resources: by process, what it used; empty where no process was known."""
    sent, seen, schedule = run.sent, run.seen, run.schedule
    took_s = max((sent.ended_us - schedule.start_us) / 1e6, 1e-6)
    lag, behind = lag_of(run), sent.behind.document()
    # Of a run that was stopped, what has not come out is under way.
    lost = sent.records - (seen.records - seen.doubled) if sent.finished else None
    held = [
        {"objective": str(each), "value_ms": each.value_ms(seen.latencies), "holds": each.holds(seen.latencies)}
        for each in objectives
    ]
    kept = all(each["holds"] for each in held)
    return {
        "scenario": run.scenario.name,
        "title": run.scenario.title,
        "sensors": len(run.streams),
        "seconds": round(schedule.duration_us / 1e6, 3),
        "warm_up_s": run.warm_up_us / 1e6,
        "event_time_speed": round(schedule.speed, 3),
        "offered": {
            "records": sent.planned,
            "records_per_s": round(sent.planned / (schedule.duration_us / 1e6), 1),
        },
        "sent": {
            "records": sent.records,
            "messages": sent.messages,
            "bytes": sent.bytes,
            "records_per_s": round(sent.records / took_s, 1),
            "finished": sent.finished,
            "refused": sent.refused,
        },
        "generator_behind_ms": behind,
        "generator_fell_behind": (behind["p99"] or 0) > BEHIND_P99_MS,
        "out": {
            "rows": seen.rows[SCORED],
            "merged_records": seen.merged,
            "rejected": seen.rows[REJECTS],
            "suspects": seen.suspects,
            "incidents": seen.incidents,
            "lost": lost,
            "doubled": seen.doubled,
            "records_per_s": round(_come_out_per_s(run), 1),
        },
        "latency_ms": {
            name: seen.latencies[topic].document()
            for name, _until, topic in LATENCIES
            if seen.latencies[topic].count or topic not in (FEATURES, SUSPECTS)
        },
        "lag_records": lag.document(),
        "drain_s": round(max(seen.last_us - sent.ended_us, 0) / 1e6, 3) if seen.last_us else None,
        "rows_a_message": {name: _fill(seen, topic) for name, topic in (("flows", FLOWS), ("scored", SCORED))},
        "resources": resources or NOT_MEASURED,
        "attacks": attacks_of(run),
        "objectives": held,
        "ok": kept and lost == 0 and seen.doubled == 0 and sent.finished,
    }


def _fill(seen: Seen, topic: str) -> float | None:
    messages = seen.messages[topic]
    return round(seen.rows[topic] / messages, 1) if messages else None


def _come_out_per_s(run: Finished) -> float:
    """Records a second that came out while records were sent, the warm-up left aside."""
    from_us = run.schedule.start_us + run.warm_up_us
    points = [(at, records) for at, records in run.seen.series if from_us <= at <= run.sent.ended_us]
    if len(points) < 2 or points[-1][0] == points[0][0]:
        return 0.0
    return (points[-1][1] - points[0][1]) / ((points[-1][0] - points[0][0]) / 1e6)


def attacks_of(run: Finished) -> list[dict[str, Any]]:
    """Each kind of attack: how many were sent, how many of them an alert holds, and how long that took.

    Recall is of attacks that were not scored while their sensor was learning. A delay is from when the attack's first
    record was due, by the clock.
    """
    kinds: dict[str, list[tuple[AttackSeen, int]]] = defaultdict(list)
    for stream in run.streams:
        events = stream.tapes.attacked.events
        if stream.tapes.attacked.attack_start_us is None:
            continue
        numbers = np.arange(stream.sent_before(run.schedule.event_span_us))
        event_us = run.schedule.event_start_us + stream.event_us(numbers)
        numbers = numbers[~run.schedule.never(event_us, stream.sensor)]
        attacks = stream.attacks(numbers)
        for attack in np.unique(attacks[attacks >= 0]).tolist():
            first = numbers[attacks == attack][:1]
            due = run.schedule.due_us(run.schedule.event_start_us + stream.event_us(first), stream.sensor)
            seen = run.seen.attacks.get((stream.sensor, attack), AttackSeen())
            kinds[events[attack % len(events)]].append((seen, int(due[0])))
    return [_attack(name, every) for name, every in sorted(kinds.items())]


def _attack(name: str, every: list[tuple[AttackSeen, int]]) -> dict[str, Any]:
    could = [(seen, due) for seen, due in every if seen.scored > seen.learning or not seen.scored]
    delays = [(seen.alert_us - due) / 1e3 for seen, due in could if seen.alert_us is not None]
    return {
        "attack": name,
        "sent": len(every),
        "while_learning": len(every) - len(could),
        "found": len(delays),
        "recall": round(len(delays) / len(could), 3) if could else None,
        "delay_ms_median": round(float(np.median(delays)), 1) if delays else None,
        "delay_ms_max": round(max(delays), 1) if delays else None,
    }


def markdown(report: dict[str, Any]) -> str:
    """A report as Markdown."""
    offered, sent, out = report["offered"], report["sent"], report["out"]
    came = out["rows"] + out["merged_records"] + out["rejected"]
    counts = [
        ("offered", shown(offered["records"]), shown(offered["records_per_s"])),
        ("taken by Kafka", shown(sent["records"]), shown(sent["records_per_s"])),
        ("scored or rejected", shown(came), shown(out["records_per_s"])),
        ("lost", shown(out["lost"]), ""),
        ("doubled", shown(out["doubled"]), ""),
    ]
    return "\n".join(
        [
            f"# {report['scenario']}: {report['title']}",
            "",
            f"{report['sensors']} sensors for {report['seconds']:g} s, {report['warm_up_s']:g} s of it a warm-up that "
            f"does not count; event time ran {report['event_time_speed']:,.1f} times as fast as the clock. "
            f"{_verdict(report)}",
            "",
            *markdown_table(("", "records", "a second"), counts),
            *_latencies(report),
            _lag_line(report),
            "",
            *_attack_lines(report["attacks"]),
            *_resource_lines(report["resources"]),
            *_objective_lines(report["objectives"]),
            *([machine_line(report["machine"]), ""] if "machine" in report else []),
        ]
    )


def _lag_line(report: dict[str, Any]) -> str:
    lag, fill, out = report["lag_records"], report["rows_a_message"], report["out"]
    return (
        f"Lag in records: {lag['start']:,} at the start, {lag['max']:,} at most, {lag['end']:,} when the last was "
        f"sent, {lag['slope_per_s']:+,} a second; drained in {shown(report['drain_s'])} s. Rows a message: flows "
        f"{shown(fill['flows'])}, scored {shown(fill['scored'])}. {out['suspects']:,} suspects, "
        f"{out['incidents']:,} incidents."
    )


def _verdict(report: dict[str, Any]) -> str:
    said = "All objectives hold, nothing is lost or doubled." if report["ok"] else "NOT in order."
    if not report["sent"]["finished"]:
        said = "Stopped before its end: what is lost was not counted."
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
