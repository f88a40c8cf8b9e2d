"""`forebay up`: Kafka, topics and all stages on this machine, supervised."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.settings import Settings, load_settings
from pipeline.tools.cli.broker import DATA
from pipeline.tools.cli.folders import require_writable
from pipeline.tools.cli.output import Bootstrap, Json, Prefix, emit, people, say

app = typer.Typer(
    add_completion=False, help="Run everything on this machine, supervised: Kafka, topics, the six stages."
)

RunFolder = Annotated[
    Path | None,
    typer.Option("--folder", help="The system's own folder. [env: FOREBAY_RUN_FOLDER]", show_default=False),
]


@app.command()
def up(
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return once all is ready; it runs on.")] = False,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    broker_data: Annotated[
        Path, typer.Option(help="Folder of the local Kafka, which is started where no other is named.")
    ] = DATA,
    folder: RunFolder = None,
    sources: Annotated[
        str | None,
        typer.Option(
            help="YAML file of sources: intake runs too, and a follower of files; FOREBAY_SOURCES by default."
        ),
    ] = None,
    systemd: Annotated[
        bool, typer.Option("--systemd", help="Print a systemd unit, and how to install it; nothing is started.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run Kafka, topics, the six stages and the page on this machine; what ends is started again. Ctrl-C ends all.

    Kafka is a local one, unless --bootstrap, FOREBAY_BOOTSTRAP or the settings file names one. Exits 73 where a system
    runs in the folder already.

    Example: forebay up --detach && forebay status
    """
    from pipeline.tools.system import control
    from pipeline.tools.system.supervise import Request

    settings = load_settings(bootstrap=bootstrap, topic_prefix=prefix, run_folder=folder, sources=sources)
    settings = settings.model_copy(update={"run_folder": settings.run_folder.absolute()})
    is_local = "bootstrap" not in settings.model_fields_set
    request = Request(settings.run_folder, broker_data.absolute() if is_local else None)
    if systemd:
        _print_unit(request, settings, prefix, bootstrap, as_json)
        return
    if control.running(request.folder) is not None:
        raise _already(request)
    require_writable(settings, "run_folder")
    if not detach:
        _say_waits(settings, as_json)
        from pipeline.tools.system.supervise import command

        # In place: this process becomes the supervisor, so signals from terminal and systemd reach it.
        words = command(request)
        os.execve(words[0], words, control.environment_of(settings))  # noqa: S606
    emit(_detached(request, settings, as_json))


def _already(request: Any) -> Exception:
    from pipeline.errors import AlreadyRunning
    from pipeline.tools.system.supervise import already_running

    return AlreadyRunning(already_running(request.folder))


def _detached(request: Any, settings: Settings, as_json: bool) -> dict[str, Any]:
    from pipeline.runtime.shutdown import Stop
    from pipeline.tools.system import control
    from pipeline.tools.system.record import State

    stop = Stop(second_leaves=False).listen()
    supervisor = control.launch(request, settings)
    with people.status("starting", spinner="dots") as line:
        shown: dict[str, str] = {}

        def show(system: Any) -> None:
            line.update(f"{system.phase}; {', '.join(f'{each.name} {each.state}' for each in system.workers)}")
            for worker in system.workers:
                if worker.state is State.READY and shown.get(worker.name) != worker.state:
                    say(f"{worker.name}: ready, pid {worker.process.pid}, port {worker.port}", quiet=as_json)
                shown[worker.name] = worker.state

        system = control.wait_settled(supervisor, request, show, lambda: not stop.requested)
    if system is None:
        control.stop(request.folder)
        say("interrupted; everything is stopped", quiet=as_json)
        raise typer.Exit(130)
    say(
        f"runs at {system.bootstrap}: `forebay status`, `forebay down`; logs in {request.folder / 'logs'}",
        quiet=as_json,
    )
    _say_page(system.page, settings, as_json)
    _say_waits(settings.model_copy(update={"bootstrap": system.bootstrap}), as_json, runs=True)
    if request.broker_data is not None and system.bootstrap != Settings.model_fields["bootstrap"].default:
        say(
            f"9092 was taken: tools write to {system.bootstrap}; for commands in another folder: export "
            f"FOREBAY_BOOTSTRAP={system.bootstrap}",
            quiet=as_json,
        )
    return {
        "running": True,
        "pid": system.supervisor.pid,
        "bootstrap": system.bootstrap,
        "folder": system.folder,
        "endpoint": f"http://{system.host}:{system.endpoint_port}" if system.endpoint_port else None,
        "page": system.page,
        "workers": {worker.name: worker.port for worker in system.workers},
    }


def _say_page(address: str | None, settings: Settings, as_json: bool) -> None:
    """Where the page is, or how to get one; nothing where none is wanted."""
    from pipeline.tools.system.worker_table import page_hint

    told = address or page_hint(settings)
    if told and not as_json:
        people.print(f"the page: {told}", markup=False, soft_wrap=True)  # the hint has brackets, to be copied


def _say_waits(settings: Settings, as_json: bool, runs: bool = False) -> None:
    """Why nothing comes yet of a log that has just begun; nothing where no source waits longer than others.

    runs: what holds at sensors that sent before is read from Kafka.
    """
    if as_json:
        return
    from pipeline.tools.sensors.late_flows import known_late_flows
    from pipeline.tools.sensors.wait_words import by_settings_words, wait_words
    from pipeline.tools.sensors.waits import waits

    seen = known_late_flows(settings) if runs else None
    found = waits(settings, seen)
    if words := wait_words(found):
        more = by_settings_words(found) if seen is None else ""
        people.print("; ".join(filter(None, (words, more))), markup=False, soft_wrap=True)


def _print_unit(request: Any, settings: Settings, prefix: str | None, bootstrap: str | None, as_json: bool) -> None:
    from pipeline.settings import cache_folder
    from pipeline.tools.cli.folders import FOLDERS
    from pipeline.tools.system import unit
    from pipeline.tools.system.worker_table import page_folder

    folders = [
        request.folder,
        page_folder(request.folder),
        cache_folder(),
        *([request.broker_data] if request.broker_data else []),
    ]
    folders += [Path(uri).absolute() for name in FOLDERS if "://" not in (uri := str(getattr(settings, name)))]
    here = Path.cwd()
    arguments = [f"--folder={request.folder}"]
    arguments += [f"--broker-data={request.broker_data}"] if request.broker_data else []
    arguments += [f"--bootstrap={bootstrap}"] if bootstrap else []
    arguments += [f"--prefix={prefix}"] if prefix else []
    outside = [each for each in folders if not each.is_relative_to(here)]
    text = unit.unit(arguments, unit.variables_in_force(settings), outside)
    say(
        f"as root: forebay up --systemd > /etc/systemd/system/{unit.NAME}, here and with the same options; then",
        as_json,
    )
    say(f"    systemctl daemon-reload && systemctl enable --now {unit.NAME}", quiet=as_json)
    say("    systemctl status forebay; journalctl -u forebay; `forebay status` works as before", quiet=as_json)
    if settings.security:
        say(
            "FOREBAY_SECURITY is not in it: put it into a file that only root reads; EnvironmentFile= names it",
            quiet=as_json,
        )
    if as_json:
        emit({"name": unit.NAME, "unit": text})
    else:
        sys.stdout.write(text)  # and no document after it: this is made to be put into a file
