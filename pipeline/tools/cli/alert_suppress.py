"""`forebay alert suppress`, `maintenance`, `verdicts`: what is suppressed without an incident; and the list."""

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.errors import Usage
from pipeline.tools.cli.alert_verdict import By, DryRun, Note, Sensor, Yes, give, reached, say_lines
from pipeline.tools.cli.output import Bootstrap, Json, Prefix, emit, people
from pipeline.tools.cli.replay import event_us

if TYPE_CHECKING:
    from pipeline.contracts.verdicts import Record
    from pipeline.settings import Settings

Site = Annotated[str, typer.Option(help="The plant.", metavar="SITE")]
Since = Annotated[
    str | None, typer.Option("--from", help="Incidents that began then or later (UTC, event time). Default: now.")
]
STATES = ("active", "expired", "overruled", "undone")


def suppress(
    site: Site,
    by: By,
    asset: Annotated[str | None, typer.Option(help="What this address does or is done to it.")] = None,
    edge: Annotated[str | None, typer.Option(help="What one does with another.", metavar="SOURCE,TARGET")] = None,
    service: Annotated[
        str | None, typer.Option(help="Use of a service.", metavar="PORT/PROTO[,TARGET[,SOURCE]]")
    ] = None,
    technique: Annotated[str | None, typer.Option(help="All incidents of a technique.", metavar="ID")] = None,
    sensor: Sensor = None,
    since: Since = None,
    until: Annotated[str | None, typer.Option(help="Incidents that begin before (UTC, event time).")] = None,
    span: Annotated[str | None, typer.Option("--for", help="Instead of --until: for so long, 8h or 30d.")] = None,
    up_to: Annotated[str, typer.Option("--up-to", help="No incident of a higher severity.")] = "high",
    note: Note = "",
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: Json = False,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Suppress incidents that lie wholly in a scope, until a time: they are listed and counted, and no pages.

    Example: forebay alert suppress --site dam --asset 10.0.0.7 --for 30d --by kim --note "vulnerability scanner"
    """
    from pipeline.alert.techniques import SEVERITY
    from pipeline.tools.alerts.scope_text import scope_meant, seconds_meant
    from pipeline.tools.alerts.verdicts import rule_of

    named = {"asset": asset, "edge": edge, "service": service, "technique": technique}
    given = [f"{kind}:{value}" for kind, value in named.items() if value is not None]
    if len(given) != 1:
        raise Usage(f"alert suppress: got {len(given)} scopes, expected one of --asset, --edge, --service, --technique")
    if up_to not in SEVERITY:
        raise Usage(f"--up-to: got {up_to!r}, expected one of {', '.join(SEVERITY)}")
    if (until is None) == (span is None):
        raise Usage("alert suppress: got both or neither of --until and --for, expected one of them")
    at_us = time.time_ns() // 1000
    from_us = _event_us(since, "--from", at_us)
    until_us = _event_us(until, "--until", at_us)
    if span is not None:
        until_us = max(at_us, from_us) + seconds_meant(span, "--for") * 1_000_000
    scope = scope_meant(given[0], None, sensor) or {}
    record = rule_of(site, scope, "benign", by, at_us, note, from_us, until_us, SEVERITY[up_to])
    _give(reached(bootstrap, prefix), record, yes, dry_run, as_json)


def maintenance(
    site: Site,
    since: Annotated[str, typer.Option("--from", help="When it begins (UTC, event time): 2026-12-01T06:00Z.")],
    until: Annotated[str, typer.Option("--to", help="When it ends.")],
    by: By,
    asset: Annotated[str | None, typer.Option(help="Only incidents that are all about this address.")] = None,
    sensor: Sensor = None,
    note: Note = "",
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: Json = False,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Announce a maintenance: incidents that begin and end in it are suppressed, of whatever severity, and listed.

    One that goes on after it is shown again. An attack in it is judged as ever: forebay alert verdict UID --verdict tp

    Example: forebay alert maintenance --site dam --from 2026-12-01T06:00Z --to 2026-12-01T10:00Z --by kim
    """
    from pipeline.tools.alerts.verdicts import HIGHEST_SEVERITY, rule_of

    from_us, to_us = _event_us(since, "--from", 0), _event_us(until, "--to", 0)
    scope: dict[str, Any] = {"kind": "window", "from_us": from_us, "to_us": to_us}
    scope |= {"address": asset} if asset else {}
    scope |= {"sensor": sensor} if sensor else {}
    at_us = time.time_ns() // 1000
    record = rule_of(site, scope, "maintenance", by, at_us, note, from_us, to_us, HIGHEST_SEVERITY)
    _give(reached(bootstrap, prefix), record, yes, dry_run, as_json)


def verdicts(
    site: Annotated[str | None, typer.Option(help="Only of this site.")] = None,
    state: Annotated[str | None, typer.Option(help=f"Only those that are {', '.join(STATES)}.")] = None,
    as_json: Json = False,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """List the verdicts, newest first: what each suppresses, until when, and how many incidents that are now."""
    from pipeline.tools.alerts.current import read_current
    from pipeline.tools.alerts.verdict_effects import listed_verdicts

    if state is not None and state not in STATES:
        raise Usage(f"--state: got {state!r}, expected one of {', '.join(STATES)}")
    now = read_current(reached(bootstrap, prefix))
    answer = listed_verdicts(now.records, now.documents(), time.time_ns() // 1000)
    chosen = [
        each
        for each in answer["verdicts"]
        if (site is None or each["site"] == site) and (state is None or each["state"] == state)
    ]
    if not as_json:
        _print(chosen)
        states = ", ".join(f"{answer[each]} {each}" for each in STATES)
        say_lines([*now.not_read, f"{states}; {answer['suppressed']} incidents suppressed"], as_json)
    emit({**answer, "verdicts": chosen})


def _print(listed: list[dict[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    from pipeline.contracts.notice_words import minute
    from pipeline.runtime.terminal import printable
    from pipeline.tools.alerts.scope_text import scope_words

    columns = ("id", "state", "verdict", "site", "suppresses", "until (UTC)", "now", "by", "note")
    table = Table(*columns, box=None, padding=(0, 2, 0, 0), header_style="dim")
    for each in listed:
        until = minute(each["expires_us"]) if each["expires_us"] is not None else "-"
        cells = [each["id"][:12], each["state"], each["verdict"], each["site"], scope_words(each["scope"]), until]
        cells += [each["suppresses"], each["by"], each["note"]]
        table.add_row(*(Text(printable(str(cell), 80)) for cell in cells))
    people.print(table)


def _event_us(text: str | None, option: str, otherwise_us: int) -> int:
    meant = event_us(text, option)
    return otherwise_us if meant is None else meant


def _give(settings: "Settings", record: "Record", yes: bool, dry_run: bool, as_json: bool) -> None:
    from pipeline.tools.alerts.current import read_current

    now = read_current(settings)
    give(settings, record, now, None, yes, dry_run, as_json)
