"""`forebay alert verdict`, `undo`: judge an incident, and take that back; retraining and baselines learn of it."""

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.errors import Usage
from pipeline.tools.cli.output import Bootstrap, Json, Prefix, emit, people
from pipeline.tools.cli.settings_here import settings_here

if TYPE_CHECKING:
    from pipeline.contracts.incident_joining import JoinedIncident
    from pipeline.contracts.verdicts import Record
    from pipeline.settings import Settings
    from pipeline.tools.alerts.baseline_requests import Asked
    from pipeline.tools.alerts.current import CurrentIncidents

Uid = Annotated[str, typer.Argument(help="The incident's uid, or its first characters.", metavar="UID")]
By = Annotated[str, typer.Option(help="Who judged.", metavar="NAME")]
Note = Annotated[str, typer.Option(help="Why, in words.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it without asking.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what it would do.")]
Sensor = Annotated[str | None, typer.Option(help="Suppress only what this sensor alone saw.", metavar="SENSOR")]


def verdict(
    uid: Uid,
    verdict: Annotated[str, typer.Option(help="tp, fp, benign, maintenance, test or duplicate.")],
    by: By,
    note: Note = "",
    scope: Annotated[
        str | None,
        typer.Option(
            help="What it suppresses too: incident (the same again), none, asset, edge, service, function or "
            "technique, of the incident or as said: asset:10.0.0.7, edge:A,B, service:502/tcp,TARGET,SOURCE. "
            "Without it: fp, benign and maintenance incident, the others none.",
        ),
    ] = None,
    sensor: Sensor = None,
    expires: Annotated[
        str | None, typer.Option(help="Suppress for so long: 8h, 30d. 30d where not given.", metavar="SPAN")
    ] = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: Json = False,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Judge an incident: it is settled, and the same again is suppressed: listed and counted, but no page.

    It says first what it will do. The verdict goes to the topic `feedback`, where retraining finds it too. With tp, an
    attack, nothing is suppressed, and what its sources did anew never becomes usual at the sensor.

    Example: forebay alert verdict 36cc6136 --verdict benign --scope asset --expires 14d --by kim --note "our scanner"
    """
    from pipeline.tools.alerts import verdicts
    from pipeline.tools.alerts.current import read_current
    from pipeline.tools.alerts.scope_text import NONE, scope_meant, seconds_meant

    verdicts.require_verdict(verdict, by, note)
    settings = reached(bootstrap, prefix)
    expires_s = seconds_meant(expires, "--expires") if expires is not None else None
    now = read_current(settings)
    incident = now.named(uid)
    document = now.document(incident)
    text = scope if scope is not None else verdicts.DEFAULT_SCOPES.get(verdict, NONE)
    meant = scope_meant(text, document, sensor)
    record = verdicts.verdict_of(document, incident.alerts, verdict, by, time.time_ns() // 1000, note, meant, expires_s)
    give(settings, record, now, incident, yes, dry_run, as_json)


def undo(
    name: Annotated[str, typer.Argument(help="The verdict's id, or its first characters.", metavar="ID")],
    by: By,
    note: Note = "",
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: Json = False,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Take a verdict back: what it suppressed is shown, it labels nothing, and an attack's bar at the sensor is lifted.

    Example: forebay alert undo 9f31c2 --by kim --note "wrong incident"
    """
    from pipeline.tools.alerts.current import read_current
    from pipeline.tools.alerts.verdicts import undo_of

    settings = reached(bootstrap, prefix)
    now = read_current(settings)
    _, record = undo_of(now.records, name, by, time.time_ns() // 1000, note)
    give(settings, record, now, None, yes, dry_run, as_json)


def give(
    settings: "Settings",
    record: "Record",
    now: "CurrentIncidents",
    incident: "JoinedIncident | None",
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Say what a verdict will do, ask where it suppresses something, send it, and say what it did."""
    from pipeline.tools.alerts import verdicts
    from pipeline.tools.alerts.attacks import says_for_baseline
    from pipeline.tools.alerts.baseline_requests import asked_of_baselines, overruled_by
    from pipeline.tools.alerts.verdict_effects import effect

    of_site = [now.document(each) for each in reversed(now.incidents) if each.site == record["site"]]
    does = effect(record, of_site, now.records)
    asked, says = asked_of_baselines(settings, record, overruled_by(record, now.records), incident)
    say_lines([*now.not_read, f"{does['says']}.", *says, says_for_baseline(record)], as_json)
    commands = [command.document() for _, command in asked]
    uids = {name: [each["uid"] for each in does[name]] for name in ("matches", "released")}
    if as_json:
        answer = {**record, "says": does["says"], **uids, "commands": commands}
    else:
        counts = {name: len(each) for name, each in uids.items()}
        answer = {**{name: record[name] for name in ("id", "uid", "verdict")}, **counts, "commands": commands}
    if dry_run:
        emit({**answer, "sent": False})
        return
    if record["scope"] is not None and not yes and not _agreed(as_json):
        emit({**answer, "sent": False})
        raise typer.Exit(1)
    verdicts.send(settings, record)
    _ask_baselines(settings, asked)
    back = f"`forebay alert undo {record['id'][:12]} --by NAME` takes it back" if record["undoes"] is None else ""
    say_lines([f"done: {verdicts.words(record)}", back], as_json)
    emit({**answer, "sent": True})


def _ask_baselines(settings: "Settings", asked: "Asked") -> None:
    from pipeline.tools.sensors import commands

    for history, command in asked:
        commands.send(settings, history, command)


def _agreed(as_json: bool) -> bool:
    """Whether somebody says yes; Usage where there is nobody to ask."""
    if as_json or not sys.stdin.isatty():
        raise Usage("alert: got no --yes, and nobody to ask, expected --yes, or --dry-run to see what it would do")
    return typer.confirm("Do it?", err=True)


def reached(bootstrap: str | None, prefix: str | None) -> "Settings":
    """The settings, once the broker they name answers."""
    from pipeline.runtime.kafka.clients import require_broker

    settings = settings_here(bootstrap=bootstrap, topic_prefix=prefix)
    require_broker(settings)
    return settings


def say_lines(texts: list[str], quiet: bool) -> None:
    """Lines for people; names in them come from the network."""
    from pipeline.runtime.terminal import printable

    for text in filter(None, texts if not quiet else ()):
        people.print(printable(text), soft_wrap=True, markup=False)
