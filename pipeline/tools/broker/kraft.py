"""A KRaft node's folder: its files, its one-time format, and the command that runs it."""

import base64
import re
import subprocess
import uuid
from pathlib import Path

from pipeline.errors import Failed, RefusedState
from pipeline.tools.broker import configuration
from pipeline.tools.broker.java import Distribution

LOGS = "kafka"


def write_files(data: Path, port: int, controller_port: int) -> None:
    """Write the files the broker reads; they are ours, made anew at every start."""
    text = configuration.server_properties(data / LOGS, port, controller_port)
    (data / "server.properties").write_text(text, encoding="utf-8")
    (data / "log4j2.properties").write_text(configuration.LOGGING, encoding="utf-8")
    if (data / "broker.log").exists():
        # So that what `log_tail` shows is of this run.
        (data / "broker.log").replace(data / "broker.previous.log")


def last_port(data: Path) -> int | None:
    """The port that the folder's broker had the last time it was started; None before that."""
    try:
        text = (data / "server.properties").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return None
    match = re.search(r"^listeners=BROKER://[^:,]+:(\d{1,5}),", text, re.MULTILINE)
    return int(match[1]) if match else None


def is_formatted(data: Path) -> bool:
    """Whether the folder holds a formatted log directory."""
    return (data / LOGS / "meta.properties").exists()


def cluster_id(data: Path) -> str | None:
    """The cluster id the folder was formatted with; None before that."""
    if not is_formatted(data):
        return None
    meta = (data / LOGS / "meta.properties").read_text(encoding="utf-8")
    for line in meta.splitlines():
        name, _, value = line.partition("=")
        if name == "cluster.id" and value:
            return value
    raise RefusedState(
        f"{data / LOGS / 'meta.properties'}: got no cluster.id; the folder is damaged: name another with --data, "
        "or delete it if its messages are not needed"
    )


def new_cluster_id() -> str:
    """A cluster id as Kafka makes them: a random UUID in URL-safe base64, never starting with a dash."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):
            return text


def format_folder(data: Path, cluster: str, kafka: Distribution) -> None:
    """Format the log directory (once); Failed carries what Kafka's tool said."""
    command = [
        str(kafka.java),
        *("-Xmx256m", *configuration.ALIKE),
        *("-cp", kafka.class_path, "kafka.tools.StorageTool"),
        *("format", "--cluster-id", cluster, "--config", str(data / "server.properties")),
    ]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, cwd=data)
    if done.returncode != 0 or not is_formatted(data):
        said = (done.stderr or done.stdout).strip()[-2000:]
        raise Failed(f"{data}: Kafka's format failed (exit {done.returncode}): {said}")


def broker_command(data: Path, run_id: str, kafka: Distribution) -> list[str]:
    """The command that runs the broker in the foreground."""
    options = configuration.java_options(data, run_id)
    return [str(kafka.java), *options, "-cp", kafka.class_path, "kafka.Kafka", str(data / "server.properties")]


def log_tail(data: Path, lines: int = 15) -> str:
    """The last lines of the broker's log and of what Java printed."""
    tails = []
    for name in ("broker.log", "console.log"):
        path = data / name
        if path.exists():
            tails += path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
    return "\n".join(tails)
