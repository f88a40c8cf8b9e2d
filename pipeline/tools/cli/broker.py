"""`forebay broker`: the local single-node Kafka for the demo and the tests."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.errors import KafkaUnreachable, Misconfigured
from pipeline.runtime.kafka import security
from pipeline.settings import load_settings
from pipeline.tools.broker import answer, local
from pipeline.tools.broker.local import Status, Step
from pipeline.tools.broker.state import Running
from pipeline.tools.cli.output import Bootstrap, Json, emit, people, say

app = typer.Typer(no_args_is_help=True, help="The local single-node Kafka: up, status, down.")

DEFAULT_PORT = 9092  # what FOREBAY_BOOTSTRAP says where nobody set it, so that other commands find this broker

DATA = Path("var/broker")
Data = Annotated[Path, typer.Option("--data", help="The broker's folder, made on first use.")]
RunningData = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="The broker's folder; by default that of the one FOREBAY_BOOTSTRAP names if it is ours, else var/broker.",
        show_default=False,
    ),
]


@app.command()
def up(
    data: Data = DATA,
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            help="Port on 127.0.0.1; by default the one it had the last time, else 9092. 0: that one, else a free one.",
            show_default=False,
        ),
    ] = None,
    bootstrap: Bootstrap = None,
    as_json: Json = False,
) -> None:
    """Start Kafka in the background, or say where it runs already.

    With --bootstrap nothing is started: it is only asked whether that Kafka answers. Else Kafka comes from KAFKA_HOME
    if that is set, else from jars pinned by their SHA-256 and fetched once (about 40 MB).
    """
    if bootstrap is not None:
        existing(bootstrap, as_json)
        return
    started_s = time.monotonic()
    before = local.status(data)
    with steps(quiet=as_json) as step:
        running = local.start(data, _port(port, before, local.last_port(data)), step)
    already = before.state is not None and before.state.run_id == running.run_id
    took_s = time.monotonic() - started_s
    say(f"{'runs already' if already else f'started in {took_s:.1f} s'}: {describe(running)}", quiet=as_json)
    if running.port != DEFAULT_PORT and not already:
        say(f"for other commands: export FOREBAY_BOOTSTRAP={running.bootstrap}", quiet=as_json)
    emit({**document(running), "already_running": already, "elapsed_s": round(took_s, 3)})


def existing(bootstrap: str, as_json: bool) -> None:
    """Ask a Kafka that somebody else runs; KafkaUnreachable unless it answers."""
    settings = load_settings(bootstrap=bootstrap)
    cluster = answer.ask(bootstrap, 10.0, settings.security)
    if cluster is None and (contradiction := security.contradiction(settings)):
        raise Misconfigured(contradiction)
    if cluster is None:
        raise KafkaUnreachable(
            f"--bootstrap {bootstrap}: no Kafka answered within 10 s; "
            "correct the address, start that Kafka, or leave --bootstrap out to start a local one"
        )
    say(f"Kafka answers at {bootstrap}: {cluster.brokers} broker(s), {cluster.topics} topics", quiet=as_json)
    emit({"bootstrap": bootstrap, "running": True, "external": True, "cluster_id": cluster.cluster_id})


@app.command()
def status(data: RunningData = None, as_json: Json = False) -> None:
    """Whether it runs, where, and how much it keeps; exit 1 if it does not run."""
    folder, _ = folder_of(data)
    broker_status = local.status(folder)
    say(summary(broker_status, folder), quiet=as_json)
    emit(
        {
            "running": broker_status.running,
            "answering": broker_status.answering,
            **(document(broker_status.state) if broker_status.state is not None else {}),
            "topics": broker_status.cluster.topics if broker_status.cluster is not None else None,
            "data": str(folder),
            "data_bytes": broker_status.data_bytes,
        }
    )
    raise typer.Exit(0 if broker_status.answering else 1)


@app.command()
def down(data: RunningData = None, as_json: Json = False) -> None:
    """Stop it and wait until it is gone; fine if none runs. Its messages and its port stay in the folder."""
    started_s = time.monotonic()
    folder, looked = folder_of(data)
    stopped = local.stop(folder)
    took_s = time.monotonic() - started_s
    said = (
        f"no broker of ours runs; looked {' and '.join(looked)}; name another folder with --data"
        if stopped is None
        else f"stopped {describe(stopped)} in {took_s:.1f} s; its messages stay in {folder}"
    )
    say(said, quiet=as_json)
    emit(
        {
            "stopped": stopped is not None,
            "pid": stopped.pid if stopped else None,
            "data": str(folder),
            "looked": looked,
            "elapsed_s": round(took_s, 3),
        }
    )


@contextmanager
def steps(quiet: bool) -> Iterator[Step]:
    """Show what is being done: a line that changes on a terminal, one line a second elsewhere."""
    if quiet:
        yield lambda _text: None
        return
    with people.status("looking at the broker") as line:
        shown_at = 0.0

        def step(text: str) -> None:
            nonlocal shown_at
            line.update(text)
            if not people.is_terminal and time.monotonic() - shown_at > 1:
                shown_at = time.monotonic()
                say(text)

        yield step


def _port(asked: int | None, before: Status, last_port: int | None) -> int:
    if asked is not None:
        return asked
    # A broker that runs already is what the caller wants, whatever its port.
    return 0 if before.running else last_port or DEFAULT_PORT


def folder_of(data: Path | None) -> tuple[Path, list[str]]:
    """The folder of the broker that is meant, and where it was looked for, in words."""
    if data is not None:
        return data, [str(data)]
    settings, looked = load_settings(), []
    if "bootstrap" in settings.model_fields_set:
        looked.append(f"at {settings.bootstrap} (FOREBAY_BOOTSTRAP)")
        folder = local.find(settings.bootstrap)
        if folder is not None:
            return folder, looked
        looked[0] += ", where no broker of ours runs"
    return DATA, [*looked, f"in {DATA.absolute()}"]


def document(running: Running) -> dict[str, Any]:
    """A running broker for machines."""
    return {
        "bootstrap": running.bootstrap,
        "pid": running.pid,
        "kafka_version": running.kafka_version,
        "source": running.source,
        "cluster_id": running.cluster_id,
        "started_us": running.started_us,
    }


def describe(running: Running) -> str:
    """A running broker in words."""
    return f"Kafka {running.kafka_version} at {running.bootstrap} (pid {running.pid})"


def summary(broker_status: Status, data: Path) -> str:
    """A status in words."""
    size = f"{broker_status.data_bytes / 1e6:.1f} MB in {data}"
    if broker_status.state is None:
        return f"no broker runs; {size}; start it with `forebay broker up`"
    if broker_status.cluster is None:
        return f"{describe(broker_status.state)} runs but does not answer; {size}; see {data / 'broker.log'}"
    return f"{describe(broker_status.state)} answers; {broker_status.cluster.topics} topics; {size}"
