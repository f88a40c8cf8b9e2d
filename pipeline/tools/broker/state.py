"""What `broker up` leaves behind for `status` and `down`: one small file in the data folder."""

from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from pipeline.runtime.files import write_atomic

NAME = "state.json"


@dataclass(frozen=True, slots=True)
class Running:
    """A broker that was started: where it answers, and how to know its process again."""

    bootstrap: str
    pid: int
    port: int
    controller_port: int
    run_id: str
    cluster_id: str
    kafka_version: str
    source: str
    started_us: int


def write(data: Path, running: Running) -> None:
    """Write the state file, whole or not at all."""
    write_atomic(data / NAME, orjson.dumps(asdict(running), option=orjson.OPT_INDENT_2), durable=False)


def read(data: Path) -> Running | None:
    """The state file's content; None where there is none, or where it is not one of ours.

    A damaged file counts as none: whether a broker runs is asked of the processes and of the port, not of this file.
    """
    try:
        document = orjson.loads((data / NAME).read_bytes())
    except (FileNotFoundError, NotADirectoryError, orjson.JSONDecodeError):
        return None
    kinds = {name: kind for name, kind in Running.__annotations__.items() if kind in (int, str)}
    if not isinstance(document, dict) or set(document) != set(kinds):
        return None
    if any(type(document[name]) is not kind for name, kind in kinds.items()):
        return None
    return Running(**document)


def remove(data: Path) -> None:
    """Take the state file away, if it is there."""
    (data / NAME).unlink(missing_ok=True)
