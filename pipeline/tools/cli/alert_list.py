"""`forebay alert list` and `forebay alert export`: the incidents there are, chosen and in order."""

import re
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.contracts.notices import LONE
from pipeline.runtime.terminal import printable
from pipeline.tools.cli.output import Bootstrap, Json, Prefix, emit, people
from pipeline.tools.cli.settings_here import settings_here
from pipeline.tools.cli.time_spans import SPANS

if TYPE_CHECKING:
    from pipeline.contracts.incident_joining import Alert
    from pipeline.settings import Settings
    from pipeline.tools.alerts.current import CurrentIncidents
    from pipeline.tools.alerts.filters import Filter
    from pipeline.tools.alerts.incidents import Document

AGO = re.compile(r"(\d{1,9})([smhd])")

OneSite = Annotated[str | None, typer.Option("--site", help="Only of this site.")]
OneSensor = Annotated[str | None, typer.Option("--sensor", help="Only those that this sensor saw.")]
Severity = Annotated[
    str | None, typer.Option(help="Only so grave ones and graver: informational, low, medium, high, critical.")
]
State = Annotated[str | None, typer.Option(help="open or ended.")]
Technique = Annotated[str | None, typer.Option(help="Only with this candidate technique: T0846, T0846.001.")]
Asset = Annotated[str | None, typer.Option(help="Only about this device: an address, or the plant's name of it.")]
Since = Annotated[
    str | None, typer.Option(help="Only what went on after this event time: 2026-03-10T09:00:00Z, or 2h, 3d ago.")
]
Until = Annotated[str | None, typer.Option(help="Only what began before this event time.")]


def list_alerts(
    site: OneSite = None,
    sensor: OneSensor = None,
    severity: Severity = None,
    state: State = None,
    technique: Technique = None,
    asset: Asset = None,
    since: Since = None,
    until: Until = None,
    review: Annotated[bool, typer.Option("--review", help="Also incidents for review, and suspects in none.")] = False,
    suppressed: Annotated[bool, typer.Option("--suppressed", help="Also those that a verdict suppresses.")] = False,
    settled: Annotated[bool, typer.Option("--settled", help="Also those that somebody judged.")] = False,
    notices: Annotated[bool, typer.Option("--notices", help="Also notices of sensors' baselines.")] = False,
    every: Annotated[bool, typer.Option("--all", help="All of these.")] = False,
    sort: Annotated[
        str, typer.Option(help="last_us, first_us, opened_us, severity or flows; - before it: the highest first.")
    ] = "-last_us",
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="So many lines at most.")] = 50,
    as_json: Json = False,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """List incidents, a line each: pages that nobody has judged; options show the others, which are counted.

    What several sensors of a site see is one incident, and any of its alerts' uids names it.

    Example: forebay alert list --review --severity high --since 2h
    """
    from pipeline.tools.alerts import filters
    from pipeline.tools.alerts.incidents import NOTICE

    chosen = filter_of(site, sensor, severity, state, technique, asset, since, until)
    asked = {filters.PAGE} | ({filters.REVIEW, LONE} if review else set())
    asked |= ({filters.SUPPRESSED} if suppressed else set()) | ({filters.SETTLED} if settled else set())
    asked |= {NOTICE} if notices else set()
    filters.ordered([], sort)
    settings, current = _read(bootstrap, prefix)
    taken = filters.ordered(filter(chosen.takes, current.documents()), sort)
    kinds = set(filters.KINDS) if every else asked
    listed = [document for document in taken if filters.kind_of(document) in kinds]
    counts = Counter(map(filters.kind_of, taken))
    if not as_json:
        print_list(listed[:limit], sort)
        print_counts(counts, kinds, len(listed[limit:]))
        print_not_read(current.not_read)
        if not current.incidents:
            _print_waits(settings)
    emit(
        {
            "incidents": listed[:limit] if as_json else len(listed[:limit]),
            "total": len(listed),
            "counts": {kind: counts[kind] for kind in filters.KINDS},
            "not_read": current.not_read,
        }
    )


def export(
    out: Annotated[Path, typer.Option("--out", help="The file to write; an existing one is replaced.")],
    format_name: Annotated[str, typer.Option("--format", help="jsonl: documents, one a line; or csv.")] = "jsonl",
    site: OneSite = None,
    sensor: OneSensor = None,
    severity: Severity = None,
    state: State = None,
    technique: Technique = None,
    asset: Asset = None,
    since: Since = None,
    until: Until = None,
    as_json: Json = False,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Write incidents and notices as a file, also those for review, judged or suppressed; newest first.

    Example: forebay alert export --format csv --out incidents.csv --since 7d
    """
    from pipeline.errors import Failed
    from pipeline.runtime.files import write_atomic
    from pipeline.tools.alerts import exports, filters

    chosen = filter_of(site, sensor, severity, state, technique, asset, since, until)
    exports.file_of([], format_name)
    _, current = _read(bootstrap, prefix)
    documents = filters.ordered(filter(chosen.takes, current.documents()), "-last_us")
    try:
        write_atomic(out, memoryview(exports.file_of(documents, format_name)), durable=False)
    except OSError as error:
        raise Failed(f"--out {out}: got {error}, expected a file that can be written; name another") from error
    if not as_json:
        people.print(printable(f"{len(documents):,} incidents and notices: {out}"), markup=False, soft_wrap=True)
        print_not_read(current.not_read)
    emit({"incidents": len(documents), "format": format_name, "out": str(out), "not_read": current.not_read})


def print_list(documents: "list[Document]", sort: str = "-last_us") -> None:
    """A line each, notices apart; on no terminal 120 columns."""
    from pipeline.tools.alerts import filters, lines
    from pipeline.tools.alerts.incidents import NOTICE

    width = people.width if people.is_terminal else lines.LINE_WIDTH
    notices = [document for document in documents if filters.kind_of(document) == NOTICE]
    incidents = [document for document in documents if filters.kind_of(document) != NOTICE]
    for line in lines.list_lines(incidents, width, by_day=sort.endswith("last_us")):
        people.print(line, soft_wrap=True)
    if notices:
        people.print("notices of sensors' baselines", style="bold")
    for line in lines.list_lines(notices, width, by_day=sort.endswith("last_us")):
        people.print(line, soft_wrap=True)


def print_incidents(documents: "list[Document]", review: bool) -> None:
    """A file's pages, its other incidents where they are asked for or there is no page, and the counts."""
    from pipeline.tools.alerts import filters

    counts = Counter(map(filters.kind_of, documents))
    for_review = {filters.PAGE, filters.REVIEW, LONE}
    kinds = for_review if review or not counts[filters.PAGE] else {filters.PAGE}
    listed = [document for document in documents if filters.kind_of(document) in kinds]
    print_list(listed)
    if listed:
        print_counts(counts, kinds, 0)
        people.print(f"one in full: --show {listed[0]['uid'][:12]}", markup=False, soft_wrap=True)


def print_incident(alerts: "Iterable[Alert]", uid: str) -> None:
    """One incident of a file in full; Usage where no uid begins so."""
    from pipeline.contracts.incident_joining import joined
    from pipeline.tools.alerts.incidents import document, named
    from pipeline.tools.alerts.lines import page

    incident = named(joined(alerts), uid)
    for part in page(incident, document(incident)):
        people.print(part)


def print_counts(counts: "Counter[str]", kinds: set[str], beyond: int) -> None:
    """What is listed, what is not, and by which option it is."""
    from pipeline.tools.alerts import filters
    from pipeline.tools.alerts.incidents import NOTICE

    titles = {
        filters.REVIEW: ("for review", "--review"),
        LONE: ("of suspects in no incident", "--review"),
        filters.SUPPRESSED: ("suppressed", "--suppressed"),
        filters.SETTLED: ("judged", "--settled"),
        NOTICE: ("notices", "--notices"),
    }
    listed = sum(counts[kind] for kind in kinds - {LONE})
    noun = "incident" if counts[filters.PAGE] == 1 and kinds == {filters.PAGE} else "incidents"
    more = [f"{beyond:,} of them beyond --limit"] if beyond else []
    for kind, (title, option) in titles.items():
        if counts[kind] and kind not in kinds:
            more.append(f"{counts[kind]:,} more {title}: {option}")
    pages = f", {counts[filters.PAGE]:,} of them pages" if kinds != {filters.PAGE} else " to look at now"
    people.print("; ".join([f"{listed:,} {noun}{pages}", *more]), markup=False, soft_wrap=True)


def filter_of(
    site: str | None,
    sensor: str | None,
    severity: str | None,
    state: str | None,
    technique: str | None,
    asset: str | None,
    since: str | None,
    until: str | None,
) -> "Filter":
    """The filter that options ask for; Usage where one cannot be meant."""
    from pipeline.tools.alerts import filters

    now_us = time.time_ns() // 1000
    times = event_time_us("--since", since, now_us), event_time_us("--until", until, now_us)
    return filters.filter_of(site, sensor, severity, state, technique, asset, *times)


def event_time_us(option: str, text: str | None, now_us: int) -> int | None:
    """An event time as typed, or so long ago as 90m, 2h, 3d, in microseconds; Usage where it is neither."""
    from pipeline.tools.cli.replay import event_us

    ago = AGO.fullmatch(text or "")
    return now_us - int(ago[1]) * SPANS[ago[2]] * 1_000_000 if ago is not None else event_us(text, option)


def _read(bootstrap: str | None, prefix: str | None) -> "tuple[Settings, CurrentIncidents]":
    from pipeline.runtime.kafka.clients import require_broker
    from pipeline.tools.alerts.current import read_current

    settings = settings_here(bootstrap=bootstrap, topic_prefix=prefix)
    require_broker(settings)
    return settings, read_current(settings)


def _print_waits(settings: "Settings") -> None:
    """Why there may be no incident yet: flows wait for others, where any do, and sensors learn first."""
    from pipeline.tools.sensors.late_flows import known_late_flows
    from pipeline.tools.sensors.wait_words import now_words

    words = now_words(settings, known_late_flows(settings) or {})
    learn = "`forebay sensor list` says which sensors have sent, and which learn still"
    people.print(printable(f"{words}; {learn}" if words else learn), markup=False, soft_wrap=True)


def print_not_read(not_read: Iterable[str]) -> None:
    """What could not be read, in sentences."""
    for text in not_read:
        people.print(printable(f"not read: {text}"), markup=False, soft_wrap=True, style="dim")
