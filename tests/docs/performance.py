"""The tables of performance.md, load.md and inference.md in docs/ and of the README, from files of docs/performance.

The benches of record write those files (`python -m tests.bench.record`, `.peers`, `.bench_scale`, `.latencies`,
`.capacity`, `.bench_load`, `.engines`, `.flames`, `.rates`, `.disk`, `.soak`); where one is missing the table says that
it was not measured.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import orjson

from pipeline.tools.load.capacity_report import slope_said
from pipeline.tools.load.machine import said_load
from pipeline.tools.processes import STAGES
from tests.contract.tree import ROOT

FOLDER = ROOT / "docs" / "performance"
PROCESSES = ("broker", *STAGES)
PARTITIONS = (12, 96)
"""Of a projection."""
COMMANDS = {
    "flow": "python -m tests.bench.record",
    "peers": "python -m tests.bench.peers",
    "scale": "python -m tests.bench.bench_scale",
    "latencies": "python -m tests.bench.latencies",
    "capacity": "python -m tests.bench.capacity",
    "flames": "python -m tests.bench.flames",
    "rates": "python -m tests.bench.rates",
    "soak": "python -m tests.bench.soak",
    "generator": "python -m tests.bench.bench_load",
    "engines": "python -m tests.bench.engines",
    "disk": "python -m tests.bench.disk",
}
Document = dict[str, Any]
FEW_CALLS = 100
"""Of so many calls or fewer the 99th percentile is the longest."""
_ENDS = ("capacity_per_s", "did_not_hold_per_s")


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(_cell(value) for value in line) + " |\n" for line in lines)


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def read(name: str, folder: Path = FOLDER) -> Document | None:
    """What a bench wrote; None where there is no such file."""
    path = folder / f"{name}.json"
    return orjson.loads(path.read_bytes()) if path.exists() else None


def said(document: Document) -> str:
    """Where a file's figures are from, as a sentence's end."""
    machine = document["machine"]
    kafka = " that also run Kafka" if document.get("kafka", True) else ""
    return (
        f"`{document['command']}`, {machine['cores']} cores{kafka}, {machine['memory_gib']:.0f} GiB, "
        f"{document['date']}, version {document['commit']}{said_load(machine['load_before'])}"
    )


def _from(name: str, instead: str = "") -> Callable[[Callable[[Document], str]], Callable[[], str]]:
    """A table of a file, or of the one `instead`, and where that is from; without both, that it was not measured."""

    def decorator(made: Callable[[Document], str]) -> Callable[[], str]:
        @wraps(made)
        def whole() -> str:
            document = read(name) or read(instead)
            if document is None:
                return f"Not measured yet: `{COMMANDS[name]}`.\n"
            return f"{made(document)}\n{said(document)}.\n"

        return whole

    return decorator


def _budget_row(label: str, run: Document) -> list[object]:
    used = run["cpu_us_per_record"]
    total = sum(used.values())
    return [
        label,
        _millions(run),
        f"{run['records_per_s']:,}",
        f"{run['archived_per_s']:,}",
        *(f"{used[name]:.1f}" for name in PROCESSES),
        f"{total:.1f}",
    ]


def _millions(run: Document) -> str:
    """How many records a run had."""
    return f"{run['records'] / 1e6:g} million"


def _both(document: Document) -> dict[str, Document]:
    """The runs before and those of the document, by date."""
    before = read("before")
    return {each["date"]: each["runs"] for each in (before, document) if each is not None}


@_from("flow", "before")
def flow(document: Document) -> str:
    """Rates and CPU a record, before and now."""
    dates = _both(document)
    rows = [
        _budget_row(f"{name}, {date}", runs[name])
        for name in document["runs"]
        for date, runs in dates.items()
        if name in runs
    ]
    head = (
        "records",
        "in all",
        "records/s to `archive`",
        "to closed files",
        "CPU µs a record: Kafka",
        *STAGES,
        "all",
    )
    picture = "![What a record costs, by process, before and now](performance/budget.svg)"
    return table(head, rows) + (f"\n{picture}\n" if len(dates) > 1 else "")


@_from("flow")
def ratios(document: Document) -> str:
    """The whole flow beside the loop by hand, of the same run."""
    found, hand = document["ratios"], document["hand_loop"]
    before = (read("before") or {"ratios": {}})["ratios"]
    rows = [
        (
            "one a message, to the loop by hand",
            f"{found['one_a_message_to_hand_loop']:.2f}",
            before.get("one_a_message_to_hand_loop", "–"),
            "1.0",
        ),
        ("packed, to the same loop", f"{found['packed_to_hand_loop']:.2f}", "–", "1.8"),
        ("packed, to that loop reading packed messages", f"{found['packed_to_packed_hand_loop']:.2f}", "–", "–"),
        (
            "every row a suspect, to the calm flow",
            f"{found['flood_to_calm']:.2f}",
            before.get("flood_to_calm", "–"),
            "0.8",
        ),
    ]
    loops = ", ".join(f"{run['records_per_s']:,} records/s {name}" for name, run in hand.items())
    return table(("the whole flow", "ratio", "before", "aim"), rows) + f"\nThe loop by hand: {loops}.\n"


@_from("flow", "before")
def memory(document: Document) -> str:
    """Most resident memory of each process, before and now."""
    rows = [
        [
            f"{name}, {date}",
            _millions(runs[name]),
            *(f"{runs[name]['memory_peak_mib'][process]:,}" for process in PROCESSES),
        ]
        for name in document["runs"]
        for date, runs in _both(document).items()
        if name in runs
    ]
    return table(("MiB at most", "records in all", "Kafka", *STAGES), rows)


@_from("peers")
def peers(document: Document) -> str:
    """Every peer with its rates, the ratio to the loop by hand, and what it leaves out."""
    found = document["peers"]
    hand = found["hand"]["runs"][0]["records_per_s"]
    rows = []
    for peer in found.values():
        cells: list[object] = [f"{peer['title']} ({peer['version']})" if peer["version"] != "here" else peer["title"]]
        for run in peer["runs"]:
            rate = run["records_per_s"]
            cells.append(f"{rate:,} ({rate / hand:.2f})" if rate else "did not end")
        cpu = [sum(run["cpu_us_per_record"].values()) for run in peer["runs"]]
        rows.append([*cells, "; ".join(f"{each:.1f}" for each in cpu), peer["guarantee"], peer["leaves_out"]])
    head = ("who", "records/s one a message", "100 a message", "CPU µs a record, Kafka's too", "safety", "leaves out")
    return table(head, rows)


def projected(used: Mapping[str, float], partitions: int) -> Document:
    """A projection, not a measurement: a worker for each partition with a core to itself, cost a record unchanged.

    used: µs of CPU a record, by process. The slowest stage's workers set the rate.
    """
    stages = {stage: us for stage, us in used.items() if stage != "broker"}
    slowest = max(stages, key=lambda stage: stages[stage])
    million_per_s = partitions / stages[slowest]
    return {
        "slowest": slowest,
        "million_per_s": million_per_s,
        "cores_of_the_stages": million_per_s * sum(stages.values()),
        "cores_of_kafka": million_per_s * used["broker"],
    }


def _projection(workers: Sequence[Document]) -> str:
    """What follows for many partitions from what a record cost with each number of workers."""
    every = {count: [projected(run["cpu_us_per_record"], count) for run in workers] for count in PARTITIONS}

    def between(found: Sequence[Document], name: str, digits: str) -> str:
        ends = dict.fromkeys(f"{end([each[name] for each in found]):{digits}}" for end in (min, max))
        return " to ".join(ends)

    said = "; ".join(
        f"{count} partitions {between(found, 'million_per_s', '.3g')} million records/s on "
        f"{between(found, 'cores_of_the_stages', '.0f')} cores and {between(found, 'cores_of_kafka', '.0f')} of Kafka's"
        for count, found in every.items()
    )
    limits = " or ".join(dict.fromkeys(each["slowest"] for found in every.values() for each in found))
    counts = " or ".join(str(run["workers"]) for run in workers)
    return (
        f"**A projection, not a measurement**, of a worker of each stage for every partition, each with a core to "
        f"itself, where a record costs what it cost with {counts} pinned above: {said}. {limits.capitalize()} is what "
        "limits it. Whether a record costs more still with more workers was not measured.\n"
    )


@_from("scale")
def scale(document: Document) -> str:
    """CPU a record by sensors, senders and workers."""
    rows = [
        *((f"{run['sensors']:,} sensor{'s' * (run['sensors'] > 1)}", run) for run in document["sensors"]),
        *((f"1 sensor, {run['addresses']:,} senders in a flood", run) for run in document["senders"]),
        *((f"{run['workers']} pinned worker{'s' * (run['workers'] > 1)} a stage", run) for run in document["workers"]),
    ]
    budget = [
        [
            label,
            f"{run['records_per_s']:,}",
            *(f"{run['cpu_us_per_record'][name]:.1f}" for name in PROCESSES),
            f"{sum(run['cpu_us_per_record'].values()):.1f}",
            f"{run['suspects'] / run['records']:.0%}",
        ]
        for label, run in rows
    ]
    head = ("", "records/s", "CPU µs a record: Kafka", *STAGES, "all", "suspects")
    alone = ", ".join(f"{each['hosts']:,} hosts {each['ns'] / 1000:.1f}" for each in document["hosts"])
    return (
        f"{table(head, budget)}\nFeaturize alone in a process, µs of CPU a record: {alone}.\n\n"
        f"{_projection(document['workers'])}"
    )


@_from("latencies")
def latencies(document: Document) -> str:
    """From when a record was due until it was scored, and until its alert was there, by rate."""
    rows = [
        [
            f"{step['rate']:,.0f}",
            step["scenario"],
            f"{step['event_time_speed']:,.0f}",
            *(
                f"{each['p50']:,.0f} / {each['p99']:,.0f} / {each['max']:,.0f}" if each["count"] else "none"
                for each in (step["latency_ms"][name] for name in ("raw_to_flows", "raw_to_scored", "raw_to_alert"))
            ),
            f"{step['latency_ms']['raw_to_alert']['count']:,}",
            "yes" if step["generator_fell_behind"] else "no",
        ]
        for step in document["steps"]
    ]
    ms = ("until in `flows`, ms p50 / p99 / max", "until scored", "until its alert")
    head = ("records/s", "scenario", "event time, times as fast", *ms, "alerts", "generator late")
    return f"{table(head, rows)}\n![Latency by rate](performance/latencies.svg)\n"


def quietest(runs: Sequence[Document]) -> list[Document]:
    """Of each rate the longest run, of several as long that of the lowest p99: other work makes none quicker."""
    by_rate: dict[float, Document] = {}
    for run in sorted(runs, key=lambda run: (round(run["seconds"]), -(run["scored_p99_ms"] or 0))):
        by_rate[run["rate"]] = run
    return [by_rate[rate] for rate in sorted(by_rate)]


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


@_from("capacity")
def capacity(document: Document) -> str:
    """The highest rate that held each objective, and what was measured at each rate."""
    answers = [
        (
            ", ".join(answer["objectives"]) or "the lag does not grow",
            *("none" if (rate := answer[name]) is None else f"{rate:,.0f}" for name in _ENDS),
            "; ".join(answer["why"]) or answer["ended"],
        )
        for answer in document["answers"]
    ]
    rows = [
        (
            f"{run['rate']:,.0f}",
            f"{_ms(run['scored_p50_ms'])} / {_ms(run['scored_p99_ms'])}",
            f"{_ms(run['alert_p50_ms'])} / {_ms(run['alert_p99_ms'])}",
            run["alerts"],
            slope_said(run),
            run["lag"],
            f"{run['seconds']:.0f}",
            _ms(run["generator_behind_p99_ms"]),
            "–" if run["other_work_cores"] is None else f"{run['other_work_cores']:.2f}",
        )
        for run in quietest(document["runs"])
    ]
    head = (
        *("records/s", "until scored, ms p50 / p99", "until its alert", "alerts", "lag grows, records/s"),
        *("so it", "in s"),
        *("generator late, ms p99", "other work, cores"),
    )
    return (
        f"{table(('wanted', 'held, records/s', 'did not hold', 'what did not'), answers)}\n"
        f"{table(head, rows)}\n![Latency and growth of the lag by rate](performance/capacity.svg)\n"
    )


@_from("generator")
def generator(document: Document) -> str:
    """What a record costs its sender: encoded alone, and with Kafka's client."""
    rows = [
        (
            f"{run['scenario']}, {run['sensors']}",
            run["pack"],
            f"{1e6 / run['encoded']['cpu_us_a_record']:,.0f}",
            *(f"{run[way]['cpu_us_a_record']:.2f}" for way in ("encoded", "at_once", "due")),
            f"{run['at_once']['records_per_s']:,}",
        )
        for run in document["runs"]
    ]
    due = f"with Kafka's client, when due at {document['due_rate']:,} a second"
    head = ("scenario, sensors", "records a message", "encoded, records/s a core", "µs of CPU a record: encoded")
    return table((*head, "with Kafka's client, all at once", due, "all at once, records/s by the clock"), rows)


@_from("engines")
def engines(document: Document) -> str:
    """Rows a second and how long a call takes, by rows a call and engine."""
    rows = [
        (
            f"{each['rows_a_call']:,}",
            f"`{name}`" if " " not in (name := each["engine"]) else name,
            f"{each['rows_per_s']:,}",
            f"{each['rows_per_cpu_s']:,}",
            f"{each['p50_ms']:,.2f}",
            f"{each['p99_ms']:,.2f}" + (f", the longest of {each['calls']}" if each["calls"] <= FEW_CALLS else ""),
        )
        for each in sorted(document["engines"], key=lambda each: int(each["rows_a_call"]))
    ]
    head = ("rows a call", "engine", "rows/s", "rows/s of a CPU", "p50 of a call, ms", "p99, ms")
    left_out = ", ".join(f"`{name}`" for name in document["not_run"])
    return table(head, rows) + (f"\nNot measured: {left_out}.\n" if left_out else "")


@_from("rates")
def rates(document: Document) -> str:
    """What each process uses at a steady rate."""
    rows = [
        [
            f"{step['rate']:,.0f}",
            *(f"{step['cores'][name]:.3f}" for name in PROCESSES),
            f"{sum(step['cores'].values()):.2f}",
            f"{sum(step['cores'].values()) / step['rate'] * 1e6:,.0f}",
            f"{sum(step['kafka_bytes_a_record'].values()):,.0f}",
        ]
        for step in document["steps"]
    ]
    head = ("records/s", "cores: Kafka", *STAGES, "all", "µs of CPU a record", "bytes a record in Kafka")
    return table(head, rows)


@_from("disk")
def disk(document: Document) -> str:
    """What a record holds on disk, calm and where every row is a suspect."""
    names = list(next(iter(document["runs"].values()))["kafka_bytes_a_record"])
    rows = [
        [
            name,
            _millions(run),
            *(f"{run['kafka_bytes_a_record'][topic]:,.1f}" for topic in names),
            f"{run['archive_bytes_a_row']:,.1f}",
            f"{run['state_bytes_a_sensor'] / 1000:,.0f} kB",
            f"{run['sample_bytes_a_row']:,.0f}",
        ]
        for name, run in document["runs"].items()
    ]
    head = ("records", "in all", "bytes a record in Kafka: " + names[0], *names[1:], "a row in closed files")
    return table((*head, "a sensor's state", "a sample"), rows)


@_from("flames")
def flames(document: Document) -> str:
    """What takes the most of each stage, with its picture."""
    rows = [
        (
            f"[{stage}](performance/flame-{stage}.svg)",
            ", ".join(f"{name} {share:.0%}" for name, share in found["top"]),
        )
        for stage, found in document["stages"].items()
    ]
    return table(("stage", "innermost functions, share of its CPU"), rows)


@_from("soak")
def soak(document: Document) -> str:
    """Memory over time."""
    series, growth = document["rows"], document["growth_mib_per_hour"]
    middle = series[len(series) // 2]
    rows = [
        [name, *(f"{row['rss_mib'][name]:,}" for row in (series[0], middle, series[-1])), f"{growth.get(name, 0):+.0f}"]
        for name in series[-1]["rss_mib"]
    ]
    head = ("MiB resident", "at first", "half way", "at last", "growth of the second half, MiB an hour")
    return (
        f"![Memory and rates over time](performance/soak.svg)\n\n{table(head, rows)}\n"
        f"{document['minutes']:g} minutes at {document['rate']:,.0f} records/s: {series[-1]['sent']:,} records sent, "
        f"{series[-1]['archived']:,} in the archive at last.\n"
    )


@_from("flow", "before")
def headline(document: Document) -> str:
    """What the README says of speed."""
    one, packed, found = document["runs"]["one a message"], document["runs"]["packed"], document["ratios"]
    ratios = [found[name] for name in ("one_a_message_to_hand_loop", "packed_to_hand_loop") if name in found]
    costs = [f"{sum(run['cpu_us_per_record'].values()):.1f}" for run in (one, packed)]
    closed = [f"{run['archived_per_s']:,}" for run in (one, packed)]
    return (
        f"Two cores that also run Kafka work off a backlog of {one['records']:,} records at "
        f"**{one['records_per_s']:,} records/s** one a message and **{packed['records_per_s']:,}** in messages of "
        f"{packed['pack']}: all six stages, exactly once, {' and '.join(costs)} µs of a core a record. Until the last "
        f"lies in a closed file it is {' and '.join(closed)}; the files are verified. The first two are "
        f"{' and '.join(f'{each:.2f}' for each in ratios)} times the rate of a loop written by hand around "
        "confluent-kafka that does a fraction of the job, with nothing safe about it "
        f"([performance](docs/performance.md)).{_held_live()}\n"
    )


def _held_live() -> str:
    """The highest rate of records that are sent when they are due, as a sentence; empty where none was measured."""
    answers = (read("capacity") or {"answers": []})["answers"]
    found = next((each for each in answers if not each["objectives"] and each["capacity_per_s"]), None)
    if found is None:
        return ""
    broke = found["did_not_hold_per_s"]
    said = "do" if found["known"] else "may: the run was too short to tell"
    above = f"; {broke:,.0f} {said}" if broke else ""
    return (
        f" Sent when they are due, with their generator on the same cores, {found['capacity_per_s']:,.0f} a second do "
        f"not pile up{above} ([capacity](docs/load.md#capacity))."
    )


TABLES: dict[str, Callable[[], str]] = {
    f"performance {made.__name__}": made
    for made in (
        *(flow, ratios, memory, peers, scale, rates, latencies, capacity, flames, soak, headline),
        *(generator, engines, disk),
    )
}
