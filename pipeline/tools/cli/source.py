"""`forebay source`: what other tools write, and what would come of it."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.errors import BadData, Usage
from pipeline.runtime.terminal import printable
from pipeline.settings import Settings
from pipeline.tools.cli.output import Bootstrap, Json, Prefix, emit, people, say
from pipeline.tools.cli.settings_here import settings_here
from pipeline.tools.cli.table import table

if TYPE_CHECKING:
    from pipeline.ingest.files.source_check import Checked, Disorder
    from pipeline.ingest.files.source_names import Suggestions
    from pipeline.tools.rejects.by_source import SourceRejects
    from pipeline.tools.source_states import SourceState

app = typer.Typer(no_args_is_help=True, help="What other tools write, and what would come of it.")

Sources = Annotated[str | None, typer.Option(help="YAML file of sources; FOREBAY_SOURCES by default.")]
DEFAULT_RECORDS = 1_000


@app.callback()
def source() -> None:
    """Sources: topics and files of other tools."""


@app.command()
def check(
    topic: Annotated[str | None, typer.Option(help="A topic: its last messages are read, without a group.")] = None,
    file: Annotated[str | None, typer.Option(help="A file: its head is read; - is stdin.")] = None,
    records: Annotated[int, typer.Option(min=1, help="Messages, or records of a file, to read.")] = DEFAULT_RECORDS,
    site: Annotated[str | None, typer.Option(help="Name of the site, instead of the source's.")] = None,
    sensor: Annotated[str | None, typer.Option(help="Name of the sensor, instead of the source's.")] = None,
    sources: Sources = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    as_json: Json = False,
) -> None:
    """Say what lies in a topic or file, what flows come of it, in which order, and the source to set; write nothing.

    Exits 64 where nothing of it would become a flow.

    Example: forebay source check --topic zeek
    """
    if (topic is None) == (file is None):
        raise Usage("source check: got both or none of --topic and --file, expected one of them")
    from pipeline.ingest.files.source_check import check as checked_of
    from pipeline.ingest.files.source_check import disorder
    from pipeline.ingest.files.source_names import yaml_of
    from pipeline.tools.source_to_check import of_file, of_topic

    _require_names(site, sensor)
    settings = settings_here(sources=sources, bootstrap=bootstrap, topic_prefix=prefix)
    if file is not None:
        found = of_file(file, records, settings, site, sensor)
    else:
        found = of_topic(topic or "", records, settings, site, sensor)
    checked = checked_of(found.samples, found.source, settings.max_future_us)
    disorders = disorder(checked.flows, checked.stated, settings.lateness_of)
    text = yaml_of(found.entry_with_needed(disorders))
    if not as_json:
        _print(topic or file or "", checked, found.proposed)
        for each in disorders:
            _print_disorder(each, found.is_set)
        say("of the settings:" if found.is_set else "to paste into the file of FOREBAY_SOURCES:")
        print_plain(text)
    document = _document(checked, found.proposed, text, found.is_set)
    emit({**document, "disorder": [each._asdict() for each in disorders]} if as_json else _counts(checked))
    if not checked.flows.num_rows:
        raise BadData(f"{topic or file}: got {checked.records} records and no flow, expected records of flows")


def _require_names(site: str | None, sensor: str | None) -> None:
    """Usage where an option names a site or sensor as none can be named."""
    from schemas.names import EXPECTED_NAME, is_name

    for option, name in (("--site", site), ("--sensor", sensor)):
        if name is not None and not is_name(name):
            raise Usage(f"{option}: got {printable(name, 80)!r}, expected {EXPECTED_NAME}")


def print_plain(text: str) -> None:
    """Lines for people, as they are but for what a terminal would obey."""
    from rich.text import Text

    for line in text.splitlines():
        people.print(Text(printable(line)), soft_wrap=True)  # a line that wraps cannot be pasted


def _print(what: str, checked: "Checked", proposed: "Suggestions") -> None:
    """What was read and what would come of it, on stderr."""
    from pipeline.ingest.files.source_check import remedy_of
    from schemas.sources import source_of

    print_plain(
        f"{what}: {checked.messages} messages with {checked.records} records, of which "
        f"{checked.flows.num_rows} are flows and {checked.rejected} would be rejects"
    )
    rows = [[f"{kind}: {source_of(kind).title}" if kind else "none is known", n] for kind, n in checked.formats.items()]
    rows += [
        [f"another log, left out: {name or 'without a name'}", count] for name, count in checked.other_logs.items()
    ]
    rows += [["in wrappers of shippers, looked through", checked.in_wrappers]] if checked.in_wrappers else []
    rows += [[f"not read: {sentence}", count] for sentence, count in checked.near_misses.items()]
    say(table(["what", "records"], rows))
    say(
        table(
            ["site", "sensor", "records"],
            [[each.site or "-", each.sensor or "-", each.records] for each in checked.origins],
        )
    )
    for kind, ways in (("site", proposed.site), ("sensor", proposed.sensor)):
        for way in ways:
            print_plain(f"may name the {kind}: {_plain(way.origin)} in {way.share:.0%}: {', '.join(way.names)}")
    if checked.flows.num_rows:
        present = [
            [each.field, each.origin or "-", each.rows]
            for each in checked.fields
            if each.rows and each.origin != "message"
        ]
        say(table(["field", "from", "flows"], present))
    for reject in checked.rejects:
        print_plain(f"{reject.count} rejects, {reject.reason}: {reject.detail}; remedy: {remedy_of(reject.reason)}")


def _print_disorder(found: "Disorder", is_set: bool) -> None:
    """How long a sensor's flows wait for others, and how far they are out of order; is_set: by the settings."""
    from pipeline.alert.wording import duration
    from pipeline.ingest.late import LONGEST_US
    from pipeline.tools.sensors.late_flows import TOO_FAR, lateness_gives

    print_plain(
        f"{found.site}/{found.sensor}: flows wait {duration(found.lateness_us)} for others that ended earlier and come "
        "later, and alerts on them as long: `lateness_us` of the source sets another"
    )
    print_plain(
        f"{found.site}/{found.sensor}: {found.late:,} of {found.flows:,} flows would come late "
        f"({found.late / found.flows:.1%}) by a lateness of {duration(found.lateness_us)}: 99% come within "
        f"{duration(found.within_us)} of a later one, all within {duration(found.most_us)}"
    )
    if found.is_much:
        at = "at its source" if is_set else "as in the source below"
        set_to = f"set lateness_us: {found.proposed_us} {at}, and start again (forebay down, forebay up)"
        print_plain(TOO_FAR if found.proposed_us > LONGEST_US else f"{set_to}: {lateness_gives()}")


def _plain(origin: Any) -> str:
    return ", ".join(f"{key} {value}" for key, value in origin.model_dump(exclude_none=True, by_alias=True).items())


def _counts(checked: "Checked") -> dict[str, int]:
    return {
        "messages": checked.messages,
        "records": checked.records,
        "flows": checked.flows.num_rows,
        "rejects": checked.rejected,
        "other_logs": sum(checked.other_logs.values()),
    }


def _document(checked: "Checked", proposed: "Suggestions", text: str, is_set: bool) -> dict[str, Any]:
    """The same for machines."""
    from pipeline.ingest.files.source_check import remedy_of

    return {
        **_counts(checked),
        "formats": checked.formats,
        "other_logs_by_name": checked.other_logs,
        "in_wrappers": checked.in_wrappers,
        "near_misses": checked.near_misses,
        "origins": [each._asdict() for each in checked.origins],
        "suggestions": {
            kind: [
                {**way.origin.model_dump(exclude_none=True, by_alias=True), "share": way.share, "names": way.names}
                for way in ways
            ]
            for kind, ways in proposed._asdict().items()
        },
        "fields": checked.fields,
        "rejects_by_reason": [
            {"reason": each.reason, "count": each.count, "detail": each.detail, "remedy": remedy_of(each.reason)}
            for each in checked.rejects
        ],
        "is_set": is_set,
        "yaml": text,
    }


@app.command(name="list")
def list_sources(
    since: Annotated[str, typer.Option(help="Count rejects sent since then: 15m, 2h, 1d, or ISO 8601.")] = "1h",
    sources: Sources = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    as_json: Json = False,
) -> None:
    """List every source of the settings: rate, what lies behind, last record, rejects; then its topics or files.

    Example: forebay source list --sources sources.yaml
    """
    from pipeline.tools.cli import source_table
    from pipeline.tools.cli.rejects import since_us
    from pipeline.tools.last_flows import last_flows
    from pipeline.tools.sensors.late_flows import known_late_flows
    from pipeline.tools.source_states import states

    now_us = time.time_ns() // 1_000
    rejects_since_us = since_us(since, now_us) or 0
    settings = settings_here(sources=sources, bootstrap=bootstrap, topic_prefix=prefix)
    found = states(settings, now_us) if settings.sources else []
    rejects = _rejects(settings, found, rejects_since_us, as_json) if found else None
    last = last_flows(found, settings, now_us, known_late_flows(settings) if found else None)
    if not as_json:
        if not found:
            say("no sources are set: name a YAML file with --sources or FOREBAY_SOURCES (docs/sources.md)")
        overview = source_table.overview_rows(found, rejects, since)
        for columns, rows in (overview, source_table.topic_rows(found), source_table.file_rows(found)):
            if rows:
                say(table(columns, rows))
        for line in [*source_table.last_lines(last), *source_table.remarks(rejects)]:
            print_plain(line)
    emit(source_table.document(found, rejects, rejects_since_us, last))


def _rejects(
    settings: Settings, found: "Sequence[SourceState]", since_us: int, as_json: bool
) -> "tuple[list[SourceRejects], int] | None":
    """The rejects of each source since then, and of none; None where there is no such topic yet."""
    from pipeline.errors import Failed
    from pipeline.tools.cli.progress import progress
    from pipeline.tools.rejects.by_source import rejects_by_source
    from pipeline.tools.rejects.reading import RejectsReader
    from pipeline.tools.rejects.summary import Filter, Summary, matching

    summary = Summary(0)
    try:
        reader = RejectsReader(settings)
    except Failed:
        return None
    try:
        with progress("rejects", as_json) as notify:
            for rejects in reader.stored(since_us, notify):
                summary.add(matching(rejects, Filter(since_us=since_us)))
    finally:
        reader.close()
    topics = [[state.topic for state in each.topics] for each in found]
    by_source, others = rejects_by_source([each.source for each in found], topics, summary.groups())
    return by_source, others + summary.others
