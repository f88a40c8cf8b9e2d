"""`forebay flow follow`: files that grow, into `raw` as they grow."""

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.errors import Misconfigured, Usage
from pipeline.runtime.terminal import printable
from pipeline.settings import Settings, load_settings
from pipeline.tools.cli.output import Bootstrap, Json, Prefix, emit, say
from pipeline.tools.cli.settings_here import settings_here

if TYPE_CHECKING:
    from pipeline.ingest.follow.names import FileSource

Paths = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PATH...",
        help="Files that grow, or globs in quotes, there already or to come: logs/current/conn.log. Without any, the "
        "file entries of --sources.",
        show_default=False,
    ),
]
TimeZone = Annotated[
    str | None,
    typer.Option("--time-zone", help="Zone of times that have no offset, as Europe/Vienna; UTC by default."),
]
LatenessUs = Annotated[
    int | None,
    typer.Option(
        "--lateness-us",
        min=0,
        max=86_400_000_000,
        help="How long later flows may overtake earlier ones; five minutes of Zeek's conn.log by default, of others as "
        "FOREBAY_LATENESS_US has it.",
    ),
]
DEFAULT_SITE = "default"
Site = Annotated[str, typer.Option("--site", help="Plant the sensor belongs to.")]
OwnSite = Annotated[str | None, typer.Option("--site", help=f"Plant the sensor belongs to; {DEFAULT_SITE} by default.")]
Sensor = Annotated[str | None, typer.Option("--sensor", help="Sensor; the name of this machine by default.")]
Name = Annotated[
    str | None,
    typer.Option(
        "--name",
        help="What it is known by; SITE/SENSOR by default, of --sources `sources`. Of two with one name the later one "
        "runs.",
    ),
]


def follow(
    paths: Paths = None,
    site: OwnSite = None,
    sensor: Sensor = None,
    format_name: Annotated[
        str | None, typer.Option("--format", help="Content-type; recognised file by file where not given.")
    ] = None,
    rotated: Annotated[
        list[str] | None,
        typer.Option("--rotated", help="Glob of rotated files that lie neither beside PATH nor in dated folders."),
    ] = None,
    time_zone: TimeZone = None,
    lateness_us: LatenessUs = None,
    name: Name = None,
    once: Annotated[bool, typer.Option("--once", help="Send what is there, then end: for cron and tests.")] = False,
    sources: Annotated[
        str | None, typer.Option(help="YAML file of sources: its files are followed; FOREBAY_SOURCES by default.")
    ] = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    as_json: Json = False,
) -> None:
    """Send files into `raw` as they grow, through rotation, each whole record exactly once, until stopped.

    Where it stopped, or was killed, it goes on, also in files that were rotated and packed meanwhile.
    """
    from pipeline.contracts.raw import WITH_LOCAL_TIMES
    from pipeline.ingest.follow import worker
    from pipeline.ingest.follow.names import SOURCES_FOLLOWER, file_sources

    if paths:
        if sources is not None:
            raise Usage("--sources: got it beside PATH, expected one of them; a path can be an entry of the file")
        settings = settings_here(bootstrap=bootstrap, topic_prefix=prefix)
        source = _source(paths, site or DEFAULT_SITE, sensor, format_name, rotated or [], zone_of(time_zone))
        source = replace(source, lateness_us=lateness_us)
        followed_files, name = [source], name or f"{source.site}/{source.sensor}"
    else:
        given = {"--site": site, "--sensor": sensor, "--format": format_name, "--rotated": rotated}
        given |= {"--time-zone": time_zone, "--lateness-us": None if lateness_us is None else str(lateness_us)}
        if beside := [option for option, value in given.items() if value]:
            raise Usage(f"{beside[0]}: got it without PATH, expected it in each file entry of --sources, or a PATH")
        settings = load_settings(sources=sources, bootstrap=bootstrap, topic_prefix=prefix)
        _require_files(settings)
        followed_files, name = file_sources(settings.file_sources), name or SOURCES_FOLLOWER
    for each in followed_files:
        if each.time_zone and each.content_type not in (None, *WITH_LOCAL_TIMES):
            say(f"the time zone {each.time_zone} changes nothing: {each.content_type} has no times without an offset")
    sent = worker.run(settings, followed_files, name, once)
    say(f"{sent.records:,} records sent in {sent.messages:,} messages", quiet=as_json)
    emit({"sent": sent.records, "messages": sent.messages, "transactions": sent.transactions, "gaps": sent.gaps})


def zone_of(option: str | None) -> str:
    """The zone that --time-zone names, "" for none."""
    from schemas.time_zones import EXPECTED_ZONE, is_time_zone

    if option is not None and not is_time_zone(option):
        raise Usage(f"--time-zone: got {printable(option, 80)!r}, expected {EXPECTED_ZONE}")
    return option or ""


def _source(
    paths: list[str], site: str, sensor: str | None, format_name: str | None, rotated: list[str], zone: str
) -> "FileSource":
    """What the options say, checked."""
    from pipeline.contracts.raw import KNOWN_TYPES
    from pipeline.ingest.follow.names import FileSource
    from pipeline.ingest.follow.records import known_type
    from schemas.names import EXPECTED_NAME, is_name

    if format_name is not None and not known_type(format_name):
        raise Usage(f"--format: got {printable(format_name, 80)}, expected one of {KNOWN_TYPES}")
    sensor = sensor or os.uname().nodename
    for option, text in (("--site", site), ("--sensor", sensor)):
        if not is_name(text):
            raise Usage(f"{option}: got {printable(text, 80)!r}, expected {EXPECTED_NAME}")
    return FileSource(_absolute(paths), site, sensor, format_name, _absolute(rotated), zone)


def _require_files(settings: Settings) -> None:
    """The settings name files; what else they name is said: it is not read here."""
    topics = [source.title for source in settings.topic_sources]
    if not settings.file_sources:
        if topics:
            raise Misconfigured(
                f"FOREBAY_SOURCES: got topics alone ({printable(', '.join(topics), 80)}), expected an entry with "
                "`file:` or `files:`; `forebay intake run` reads topics"
            )
        raise Usage("PATH: got none, expected files, or --sources and entries with `file:` (docs/sources.md)")
    if topics:
        say(f"topics are not read here: {printable(', '.join(topics), 80)}; `forebay intake run` reads them")


def _absolute(paths: list[str]) -> tuple[str, ...]:
    """Positions name files; the follower may be started in another folder the next time."""
    if "-" in paths:
        raise Usage("PATH: got -, expected files; `forebay flow send -` sends standard input as it comes")
    return tuple(str(Path(path).absolute()) for path in paths)


def followed(
    site: Site = DEFAULT_SITE,
    sensor: Sensor = None,
    name: Name = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    as_json: Json = False,
) -> None:
    """Show how far a follower is in its files, by what it has committed."""
    from rich.markup import escape

    from pipeline.ingest.follow.worker import identity
    from pipeline.tools.followed_files import file_states

    settings = settings_here(bootstrap=bootstrap, topic_prefix=prefix)
    follower = identity(settings, name or f"{site}/{sensor or os.uname().nodename}")
    files = file_states(settings, follower, time.time_ns() // 1_000)
    if not files:
        say(
            f"nothing sent yet by {printable(follower)}: give --site and --sensor, or --name, as the follower "
            "has them; of a file of sources `forebay source list` shows the files",
            quiet=as_json,
        )
    rows = [each.document() for each in files]
    shown = [each for each in files if each.state != "done"] or files[-1:]
    for each in shown:
        behind = "?" if each.behind_bytes is None else f"{each.behind_bytes:,}"
        path = escape(printable(each.path))
        say(f"{path}: {each.records:,} records, {behind} bytes behind, {each.state}", quiet=as_json)
    emit({"follower": follower, "files": rows, "records": sum(each.records for each in files)})
