"""`forebay rejects`: what ingest could not read, as it stands in the topic."""

import re
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.errors import Usage
from pipeline.tools.cli.output import Bootstrap, Json, Prefix, emit, people, say
from pipeline.tools.cli.progress import progress
from pipeline.tools.cli.settings_here import settings_here
from pipeline.tools.cli.table import table
from pipeline.tools.cli.time_spans import SPANS

if TYPE_CHECKING:
    from pipeline.tools.rejects.reading import RejectsReader
    from pipeline.tools.rejects.summary import Filter, Summary

app = typer.Typer(no_args_is_help=True, help="Records that ingest could not read: list, tail.")

Site = Annotated[str | None, typer.Option(help="Only of this site.")]
Sensor = Annotated[str | None, typer.Option(help="Only of this sensor.")]
Reason = Annotated[str | None, typer.Option(help="Only with this reason.")]
Since = Annotated[
    str | None, typer.Option(help="Only sent since then: 15m, 2h, 1d, ISO 8601, or epoch seconds.", show_default=False)
]
SPAN = re.compile(r"(\d{1,6})([smhd])")
SHOWN_GROUPS = 50


@app.command(name="list")
def list_rejects(
    site: Site = None,
    sensor: Sensor = None,
    reason: Reason = None,
    since: Since = None,
    limit: Annotated[int, typer.Option(min=0, max=1_000, help="How many of the last records to show.")] = 10,
    as_json: Json = False,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Count the rejects in the topic by site, sensor and reason, with what to do; then the last ones.

    Example: forebay rejects list --since 1h
    """
    from pipeline.runtime.kafka.clients import require_broker
    from pipeline.tools.rejects.lines import summary_document
    from pipeline.tools.rejects.reading import RejectsReader
    from pipeline.tools.rejects.summary import Summary, matching

    wanted = _filter(site, sensor, reason, since)
    settings = settings_here(bootstrap=bootstrap, topic_prefix=prefix)
    require_broker(settings)
    summary = Summary(limit)
    reader = RejectsReader(settings)
    try:
        with progress("rejects", as_json) as notify:
            for rejects in reader.stored(wanted.since_us, notify):
                summary.add(matching(rejects, wanted))
    finally:
        reader.close()
    if as_json:
        emit({**summary_document(summary), "unreadable": reader.unreadable})
        return
    _print(summary)
    _print_unreadable(reader)
    counts = {"rejects": summary.rejects, "groups": len(summary.groups()), "others": summary.others}
    emit({**counts, "unreadable": reader.unreadable})


@app.command()
def tail(
    site: Site = None,
    sensor: Sensor = None,
    reason: Reason = None,
    from_start: Annotated[bool, typer.Option("--from-start", help="Also the rejects there are already.")] = False,
    follow: Annotated[bool, typer.Option(help="Wait for further ones.")] = True,
    as_json: Json = False,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Show rejects as they come, a line each; with --json the records themselves, one a line, and a count as the last.

    Example: forebay rejects tail --sensor edge-1
    """
    from pipeline.runtime.kafka.clients import require_broker
    from pipeline.runtime.shutdown import Stop
    from pipeline.tools.rejects.lines import document, line
    from pipeline.tools.rejects.reading import RejectsReader
    from pipeline.tools.rejects.summary import matching

    wanted = _filter(site, sensor, reason, None)
    settings = settings_here(bootstrap=bootstrap, topic_prefix=prefix)
    require_broker(settings)
    stop, shown = Stop().listen(), 0
    reader = RejectsReader(settings)
    try:
        for rejects in _batches(reader, from_start, follow, stop):
            for reject in matching(rejects, wanted).to_pylist():
                if as_json:
                    emit(document(reject))
                else:
                    people.print(line(reject), soft_wrap=True, markup=False)
                shown += 1
            if stop.requested:
                break
    finally:
        reader.close()
    if not as_json:
        _print_unreadable(reader)
    emit({"rejects": shown, "unreadable": reader.unreadable})


def _batches(reader: "RejectsReader", from_start: bool, follow: bool, stop: Any) -> Any:
    if from_start:
        yield from reader.stored()
    if follow:
        yield from reader.following(stop, after_stored=from_start)


def _filter(site: str | None, sensor: str | None, reason: str | None, since: str | None) -> "Filter":
    from pipeline.ingest.reasons import REASONS
    from pipeline.tools.rejects.summary import Filter

    if reason is not None and not REASONS.get(reason):
        raise Usage(f"--reason: got {reason!r}, expected one of {', '.join(filter(None, REASONS))}")
    return Filter(site, sensor, reason, since_us(since, time.time_ns() // 1_000))


def since_us(text: str | None, now_us: int) -> int | None:
    """A time as typed, or so long before now, in microseconds; Usage where it is neither."""
    from pipeline.tools.cli.replay import event_us

    span = SPAN.fullmatch(text or "")
    if span is not None:
        return now_us - int(span[1]) * SPANS[span[2]] * 1_000_000
    try:
        return event_us(text, "--since")
    except Usage:
        raise Usage(
            f"--since {text!r}: expected so long ago as 15m, 2h or 1d, a time as 2023-03-10T10:00:00Z, or epoch seconds"
        ) from None


def _print(summary: "Summary") -> None:
    """What was counted, on stderr."""
    from pipeline.runtime.terminal import printable
    from pipeline.tools.rejects.lines import advice, group_rows, line

    groups = summary.groups()
    if not groups:
        say("no rejects")
        return
    shown = groups[:SHOWN_GROUPS]
    say(table(["rejects", "site", "sensor", "reason", "first sent (UTC)", "last", "the last one"], group_rows(shown)))
    rest = summary.others + sum(group.count for group in groups[SHOWN_GROUPS:])
    if rest:
        say(f"{rest} rejects of further sensors and reasons: --json lists them, --site, --sensor and --reason choose")
    for reason, expected, remedy in advice(groups):
        people.print(
            f"{printable(reason)}: expected {expected}; remedy: {remedy}", soft_wrap=True, markup=False, style="bold"
        )
    for reject in summary.last():
        people.print(line(reject), soft_wrap=True, markup=False)


def _print_unreadable(reader: "RejectsReader") -> None:
    from pipeline.runtime.terminal import printable

    if reader.unreadable:
        what = f"{reader.unreadable} messages are no rejects of ingest; the last: {reader.error}"
        people.print(printable(what), soft_wrap=True, markup=False)
