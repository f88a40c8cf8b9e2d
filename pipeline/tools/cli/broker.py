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

Data = Annotated[Path, typer.Option("--data", help="The broker's folder, made on first use.")]
DATA = Path("var/broker")


@app.command()
def up(
    data: Data = DATA,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0: a free one.")] = DEFAULT_PORT,
    bootstrap: Bootstrap = None,
    json: Json = False,
) -> None:
    """Start Kafka in the background, or say where it runs already.

    With --bootstrap nothing is started: only whether that Kafka answers is looked at. Else Kafka comes from KAFKA_HOME
    if that is set, else from jars pinned by their SHA-256 and fetched once (about 40 MB).
    """
    if bootstrap is not None:
        existing(bootstrap, json)
        return
    began = time.monotonic()
    before = local.status(data)
    with steps(quiet=json) as step:
        running = local.start(data, _port(port, before), step)
    already = before.state is not None and before.state.run_id == running.run_id
    took_s = time.monotonic() - began
    say(f"{'runs already' if already else f'started in {took_s:.1f} s'}: {describe(running)}", quiet=json)
    if running.port != DEFAULT_PORT and not already:
        say(f"for other commands: export FOREBAY_BOOTSTRAP={running.bootstrap}", quiet=json)
    emit({**document(running), "already_running": already, "elapsed_s": round(took_s, 3)})


def existing(bootstrap: str, json: bool) -> None:
    """Look at a Kafka somebody else runs; KafkaUnreachable unless it answers."""
    settings = load_settings(bootstrap=bootstrap)
    cluster = answer.ask(bootstrap, 10.0, settings.security)
    if cluster is None and (contradiction := security.contradiction(settings)):
        raise Misconfigured(contradiction)
    if cluster is None:
        raise KafkaUnreachable(
            f"--bootstrap {bootstrap}: no Kafka answered within 10 s; "
            "correct the address, start that Kafka, or leave --bootstrap out to start a local one"
        )
    say(f"Kafka answers at {bootstrap}: {cluster.brokers} broker(s), {cluster.topics} topics", quiet=json)
    emit({"bootstrap": bootstrap, "running": True, "external": True, "cluster_id": cluster.cluster_id})


@app.command()
def status(data: Data = DATA, json: Json = False) -> None:
    """Whether it runs, where, and how much it keeps; exit 1 if it does not run."""
    found = local.status(data)
    say(summary(found, data), quiet=json)
    emit(
        {
            "running": found.running,
            "answering": found.answering,
            **(document(found.state) if found.state is not None else {}),
            "topics": found.cluster.topics if found.cluster is not None else None,
            "data": str(data),
            "data_bytes": found.data_bytes,
        }
    )
    raise typer.Exit(0 if found.answering else 1)


@app.command()
def down(data: Data = DATA, json: Json = False) -> None:
    """Stop it and wait until it is gone; fine if none runs. Its messages stay in the folder."""
    began = time.monotonic()
    stopped = local.stop(data)
    took_s = time.monotonic() - began
    said = f"no broker runs on {data}" if stopped is None else f"stopped in {took_s:.1f} s (pid {stopped.pid})"
    say(said, quiet=json)
    emit({"stopped": stopped is not None, "pid": stopped.pid if stopped else None, "elapsed_s": round(took_s, 3)})


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


def _port(asked: int, before: Status) -> int:
    # A broker that runs on another port is what the caller wants, unless that port was asked for by name.
    return 0 if asked == DEFAULT_PORT and before.running else asked


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


def summary(found: Status, data: Path) -> str:
    """A status in words."""
    size = f"{found.data_bytes / 1e6:.1f} MB in {data}"
    if found.state is None:
        return f"no broker runs; {size}; start it with `forebay broker up`"
    if found.cluster is None:
        return f"{describe(found.state)} runs but does not answer; {size}; look at {data / 'broker.log'}"
    return f"{describe(found.state)} answers; {found.cluster.topics} topics; {size}"
