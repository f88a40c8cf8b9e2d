"""`forebay flow`: files of flow records, checked, sent, and run through the stages' functions without Kafka."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from pipeline.contracts.date_order import DateOrder
from pipeline.errors import BadData, Usage
from pipeline.runtime.terminal import printable
from pipeline.settings import Settings, load_settings
from pipeline.tools.cli import flow_follow
from pipeline.tools.cli.flow_follow import zone_of
from pipeline.tools.cli.output import Bootstrap, Json, Prefix, emit, say
from pipeline.tools.cli.progress import positive_or_max, sending_progress
from pipeline.tools.cli.settings_here import settings_here

if TYPE_CHECKING:
    from pipeline.ingest.files.offline_rows import Decoded
    from pipeline.ingest.files.send import Plan

app = typer.Typer(no_args_is_help=True, help="Flow records: check, send, featurize or score a file.")

File = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        help="Flow records in a known format (docs/sources.md), packed or not, or a sensor's folder; - is stdin.",
    ),
]
Format = Annotated[str | None, typer.Option("--format", help="Content-type; guessed from the file where not given.")]
Site = Annotated[str, typer.Option("--site", help="Plant the sensor belongs to.")]
Sensor = Annotated[
    str | None, typer.Option("--sensor", help="Sensor; the file's or folder's name without endings by default.")
]
Dates = Annotated[
    DateOrder | None,
    typer.Option("--date-order", help="What comes first in dates as 11/3/2023, where no row of the file proves it."),
]
TimeZone = flow_follow.TimeZone
ArrivalOrder = Annotated[bool, typer.Option("--arrival-order", help="In the file's order, not sorted by end time.")]


def decode(
    file: str,
    format_name: str | None,
    site: str,
    sensor: str | None,
    arrival_order: bool,
    date_order: DateOrder | None,
    time_zone: str | None,
) -> Decoded:
    """Decode a file as ingest would now."""
    from pipeline.ingest.files.offline_rows import decode_file

    settings = load_settings()
    return decode_file(
        file,
        content_type=format_name,
        site=site,
        sensor=sensor,
        arrival_order=arrival_order,
        ingest_ts_us=time.time_ns() // 1000,
        max_future_us=settings.max_future_us,
        max_bytes=settings.file_max_bytes,
        date_order=date_order,
        time_zone=zone_of(time_zone),
    )


def say_notes(notes: Sequence[str], quiet: bool) -> None:
    """What there is to know about a file as a whole, each once."""
    for note in notes:
        say(f"[yellow]note:[/] {escape(printable(note))}", quiet=quiet)


def counts(decoded: Decoded, late: int) -> dict[str, int]:
    """In the last line of every command that reads a file: accepted + rejected + late = read."""
    return {
        "read": decoded.records,
        "accepted": decoded.flows.num_rows - late,
        "rejected": decoded.rejects.num_rows,
        "late": late,
    }


@app.callback()
def flow() -> None:
    """Flow records: check, send, featurize or score a file."""


@app.command()
def check(
    file: File,
    format_name: Format = None,
    site: Site = "default",
    sensor: Sensor = None,
    arrival_order: ArrivalOrder = False,
    date_order: Dates = None,
    time_zone: TimeZone = None,
    fields: Annotated[bool, typer.Option("--fields", help="Also what each field came from, and its values.")] = False,
    as_json: Json = False,
) -> None:
    """Decode a file without Kafka: its format, time span and counts, what is rejected and why.

    With --json the document holds the report too: `notes`, `fields`, and `rejects` by reason. A file with records and
    no flow ends with 64.
    """
    from pipeline.ingest.late import late_rows
    from pipeline.tools.cli.flow_summary import print_fields, print_rejects, print_summary, report

    decoded = decode(file, format_name, site, sensor, arrival_order, date_order, time_zone)
    lateness_us = load_settings().lateness_of(site)
    late = int(late_rows(decoded.flows["end_ts_us"].to_numpy(), lateness_us).sum())
    if not as_json:
        print_summary(decoded)
        print_rejects(decoded)
        if fields:
            print_fields(decoded)
    emit({**counts(decoded, late), **(report(decoded) if as_json else {})})
    decoded.require_flows()


Out = Annotated[Path | None, typer.Option("--out", help="Parquet file: one row per accepted record.")]
FEATURE_SETS_HELP = "forebay-ics-1, full, online, kdd-extractor or kdd-nsl; FOREBAY_FEATURE_SET's by default."


@app.command()
def features(
    file: File,
    out: Annotated[Path, typer.Option("--out", help="Parquet file: one row per accepted record.")],
    feature_set: Annotated[str | None, typer.Option("--feature-set", help=FEATURE_SETS_HELP)] = None,
    format_name: Format = None,
    site: Site = "default",
    sensor: Sensor = None,
    arrival_order: ArrivalOrder = False,
    date_order: Dates = None,
    time_zone: TimeZone = None,
    as_json: Json = False,
) -> None:
    """Compute the features of a file's flows, without Kafka: the functions the live flow runs."""
    from pipeline.featurize.feature_sets import named
    from pipeline.tools.offline import flow_file

    settings = load_settings()
    chosen_set = named(settings.feature_set) if feature_set is None else named(feature_set, Usage)
    decoded = decode(file, format_name, site, sensor, arrival_order, date_order, time_zone)
    decoded.require_flows()
    done = flow_file.featurize(decoded, settings, chosen_set)
    say_notes(done.decoded.notes, as_json)
    flow_file.write_parquet(done.on_time, out, chosen_set)
    say(f"{done.on_time.num_rows:,} flows with {chosen_set.width} features ({chosen_set.name}) in {out}", quiet=as_json)
    emit(counts(done.decoded, done.late))


@app.command()
def score(
    file: File,
    out: Out = None,
    format_name: Format = None,
    site: Site = "default",
    sensor: Sensor = None,
    arrival_order: ArrivalOrder = False,
    date_order: Dates = None,
    time_zone: TimeZone = None,
    model: Annotated[str | None, typer.Option(help="Id in the registry, or a folder; else the shipped one.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda.")] = None,
    quiet: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="Flows of the same sensor that are usual, learnt first; may be repeated."),
    ] = None,
    alerts: Annotated[
        Path | None, typer.Option("--alerts", help="File for the incidents as OCSF events, one a line.")
    ] = None,
    review: Annotated[bool, typer.Option("--review", help="Also list those for review.")] = False,
    show: Annotated[
        str | None, typer.Option(metavar="UID", help="Show this incident in full instead of the list.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Score a file's flows and group the suspects into incidents, without Kafka.

    Where the model is not calibrated for the site, the sensor learns what is usual from the file itself, or from files
    given with --quiet. What a short file shows once is listed, without a verdict. With --json `listed` has all
    incidents, as `alert list` has them.
    """
    from pipeline.featurize.feature_sets import named
    from pipeline.tools.alerts.incidents import documents
    from pipeline.tools.cli.alert_list import print_incident, print_incidents
    from pipeline.tools.cli.flow_learnt import print_learnt
    from pipeline.tools.offline import flow_file

    settings = load_settings(model=model, device=device)
    decoded = decode(file, format_name, site, sensor, arrival_order, date_order, time_zone)
    decoded.require_flows()
    usual = [decode(each, format_name, site, decoded.sensor, False, date_order, time_zone) for each in quiet or ()]
    for each in usual:
        each.require_flows()
    done = flow_file.score(flow_file.featurize(decoded, settings, named(settings.feature_set), usual), settings)
    if out is not None:
        flow_file.write_parquet(done.on_time, out, done.feature_set)
    if alerts is not None:
        flow_file.write_alerts([*done.incidents, *done.lone], alerts)
    say_notes(decoded.notes, as_json)
    listed, number = documents([*done.incidents, *done.lone]), len(documents(done.incidents))
    pages = sum(incident["page"] for incident in listed)
    flows = f"{_several(done.rows.num_rows, 'flow')}, {_several(done.suspects, 'suspect')}, "
    flows += f"{_several(number, 'incident')}, {_several(pages, 'page')}"
    if not as_json:
        if show is not None:
            print_incident([*done.incidents, *done.lone], show)
        else:
            print_incidents(listed, review)
        say(flows + (f"; scores in {out}" if out else ""))
    if done.suspects:
        say(f"suspects by class: {_counted(done.classes)}", quiet=as_json)
    if done.alone:
        lists = ", ".join(f"--show {notice['finding_info']['uid'][:12]}" for notice in done.lone[:3])
        say(f"in no incident, each alone: {_several(done.alone, 'suspect')}; {lists} lists them", quiet=as_json)
    if done.nearest_classes and not (done.uncalibrated and done.learnt):
        say(f"the unknown ones are nearest to: {_counted(done.nearest_classes)}", quiet=as_json)
    print_learnt(done, as_json)
    emit(
        {
            **counts(decoded, done.late),
            "suspects": done.suspects,
            "incidents": number,
            "pages": pages,
            **({"listed": listed} if as_json else {}),
            "classes": done.classes,
            "learning": done.learnt and done.learnt.document(),
            "not_back": done.not_back,
            "more_not_back": done.more_not_back,
        }
    )


def _several(count: int, noun: str) -> str:
    """`1 incident`, `1,024 incidents`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _counted(classes: Mapping[str, int]) -> str:
    """Classes with their numbers of flows, for people."""
    return ", ".join(f"{escape(printable(name))} {count:,}" for name, count in classes.items())


@app.command()
def send(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Files of flow records, or folders; - is stdin.")
    ],
    format_name: Format = None,
    speed: Annotated[str, typer.Option(help="max, or N times as fast as it happened.")] = "max",
    shift_to_now: Annotated[
        bool, typer.Option("--shift-to-now", help="Move event times so that they begin now.")
    ] = False,
    pack: Annotated[int, typer.Option(min=1, max=65_536, help="Records a message.")] = 1,
    site: Site = "default",
    sensor: Sensor = None,
    arrival_order: ArrivalOrder = False,
    date_order: Dates = None,
    time_zone: TimeZone = None,
    start_at_us: Annotated[
        int | None, typer.Option(help="Event time that is due at once: the same for senders that belong together.")
    ] = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    as_json: Json = False,
) -> None:
    """Send files into `raw`, a sensor's merged in order of time, followed by an end-of-source mark.

    Files that share --sensor, and those of a folder, are one sensor's: a log of operations (modbus.log) then comes when
    its flow (conn.log) does. Sensors are sent one after another.

    A pipe alone (tail -F conn.log | forebay flow send -) is sent as it comes, sorted within each second at most, with
    the mark when it ends. With --speed, --shift-to-now or --start-at-us, or packed, it is read to its end first.
    """
    from pipeline.ingest.files import send as sending
    from pipeline.ingest.files import send_stream
    from pipeline.ingest.files.interim import without_interim
    from pipeline.ingest.files.offline_rows import stem
    from pipeline.ingest.files.reading import read_source
    from pipeline.ingest.files.source_set import SourceSet
    from pipeline.runtime.shutdown import Stop
    from pipeline.runtime.telemetry import start

    pace = positive_or_max("--speed", speed)
    zone = zone_of(time_zone)
    if zone and shift_to_now:
        raise Usage("--time-zone: got it beside --shift-to-now, expected one: times that are moved are written in UTC")
    settings = settings_here(bootstrap=bootstrap, topic_prefix=prefix)
    sources: dict[str, list[tuple[str, SourceSet]]] = {}
    left = settings.file_max_bytes
    at_once = pace == 0 and not shift_to_now and start_at_us is None
    if files == ["-"] and at_once and send_stream.comes_as_it_is_written():
        plan = sending.Plan(site, sensor or stem("-"), pack=pack, arrival_order=arrival_order)
        _send_stream(settings, plan, format_name, zone, as_json)
        return
    for file in files:
        source = read_source(file, format_name, left, date_order, zone)
        left -= source.size_bytes
        sources.setdefault(sensor or stem(file), []).append((file, source))
    joined = {
        name: without_interim(SourceSet.joined([source for _, source in parts])) for name, parts in sources.items()
    }
    sending.require_topic(settings)
    stop = Stop().listen()
    # A sender is no stage: it serves no metrics of its own.
    telemetry = start("send", settings.model_copy(update={"metrics_port": -1}))
    results = []
    try:
        for name, source in joined.items():
            plan = sending.Plan(site, name, pace, pack, shift_to_now, arrival_order, start_at_us)
            with sending_progress(f"{plan.site}/{plan.sensor}", len(source), as_json) as progress:
                sent = sending.send(settings, telemetry, stop, source, plan, progress)
            results.append((name, source, sent))
            if not sent.finished:
                break
    finally:
        telemetry.close()
    for source in joined.values():
        say_notes(source.notes, as_json)
        for file in source.unread:
            say(f"not sent: {escape(file)}", quiet=as_json)
    document = _sent_document(site, sources, results)
    document["records"] = sum(map(len, joined.values()))
    document["finished"] = len(results) == len(joined) and all(sent.finished for *_, sent in results)
    stopped = ", stopped" if stop.requested else ""
    say(f"{document['sent']} records sent in {document['seconds']:.1f} s{stopped}", quiet=as_json)
    emit(document)
    if stop.requested:
        raise typer.Exit(130)


def _send_stream(settings: Settings, plan: Plan, format_name: str | None, zone: str, as_json: bool) -> None:
    """Send standard input while it comes."""
    from pipeline.contracts.raw import CONTENT_TYPES
    from pipeline.ingest.files import send as sending
    from pipeline.ingest.files.send_stream import RecordStream, send_stream
    from pipeline.runtime.shutdown import Stop
    from pipeline.runtime.telemetry import start

    if format_name is not None and format_name not in CONTENT_TYPES:
        raise BadData(f"format: got {format_name}, expected one of {', '.join(CONTENT_TYPES)}")
    sending.require_topic(settings)
    stop = Stop().listen()
    telemetry = start("send", settings.model_copy(update={"metrics_port": -1}))
    stream = RecordStream(format_name, zone)
    try:
        sent = send_stream(settings, telemetry, stop, stream, plan, lambda _done: None)
    finally:
        telemetry.close()
    document = _sent_document(plan.site, {plan.sensor: [("-", stream)]}, [(plan.sensor, stream, sent)])
    document |= {"records": len(stream), "finished": sent.finished}
    say_notes(stream.notes, as_json)
    stopped = ", stopped" if stop.requested else ""
    say(f"{document['sent']} records sent in {document['seconds']:.1f} s{stopped}", quiet=as_json)
    emit(document)
    if stop.requested:
        raise typer.Exit(130)
    stream.require_records()


def _sent_document(
    site: str, files: dict[str, list[tuple[str, Any]]], results: list[tuple[str, Any, Any]]
) -> dict[str, Any]:
    """What was sent: in all, and of each sensor; `files` are those of each sensor."""
    records, seconds = sum(sent.records for *_, sent in results), sum(sent.seconds for *_, sent in results)
    return {
        "sent": records,
        "messages": sum(sent.messages for *_, sent in results),
        "seconds": round(seconds, 3),
        "records_per_s": round(records / seconds) if seconds > 0 else 0,
        "sensors": [
            {
                "files": [file for file, _ in files[name]],
                "content_types": source.content_types,
                "site": site,
                "sensor": name,
                "sent": sent.records,
                "skipped": source.skipped,
                "unread": source.unread,
                "notes": source.notes,
            }
            for name, source, sent in results
        ],
    }


app.command()(flow_follow.follow)
app.command()(flow_follow.followed)
