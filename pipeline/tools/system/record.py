"""What the supervisor writes down for everybody else: `system.json`, whole or not at all, in the run's folder."""

from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import orjson

from pipeline.errors import RefusedState
from pipeline.runtime.files import write_atomic
from pipeline.tools.system.identity import Identity, is_alive

NAME = "system.json"
LOCK = ".supervisor"
LOGS = "logs"
FORMAT = 1
EVENT_TIME = ("lateness_us", "site_lateness_us", "idle_us")
"""Settings of a running system by which late flows are judged."""
PAGE = "triage"
"""The name of the worker that serves the page."""


class Phase(StrEnum):
    """What the supervisor is about."""

    KAFKA = "starting Kafka"
    TOPICS = "creating topics"
    RUNNING = "running"
    STOPPING = "stopping"


class State(StrEnum):
    """What a worker is about."""

    STARTING = "starting"
    READY = "ready"
    NOT_READY = "not ready"
    """It was ready, and is not any more: Kafka is away, or its partitions are being moved."""
    WAITING = "waiting"
    """It ended, and starts again in a moment."""
    FAILING = "failing"
    """It ends again and again; it is tried on."""
    FAILED = "failed"
    """It ended for a reason that stays: it is not started again."""
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    """One worker."""

    name: str
    is_stage: bool
    state: State
    process: Identity | None = None
    port: int = 0
    restarts: int = 0
    started_us: int = 0
    next_start_us: int = 0
    exit_code: int | None = None
    last_error: str = ""
    remedy: str = ""
    log: str = ""
    host: str = ""
    """Where it listens; empty: where the system does."""
    ready_path: str = "/readyz"


@dataclass(frozen=True, slots=True)
class BrokerRecord:
    """The local Kafka that this system runs on."""

    data: str
    is_ours: bool
    """Whether this system started it, and therefore ends it."""
    restarts: int = 0
    last_error: str = ""


@dataclass(frozen=True, slots=True)
class SystemRecord:
    """One running system."""

    supervisor: Identity
    folder: str
    phase: Phase
    started_us: int
    bootstrap: str = ""
    topic_prefix: str = ""
    sources: str = "[]"
    """Of intake and of the follower, as JSON."""
    host: str = "127.0.0.1"
    endpoint_port: int = 0
    broker: BrokerRecord | None = None
    workers: tuple[WorkerRecord, ...] = field(default_factory=tuple)
    event_time: dict[str, Any] = field(default_factory=dict)
    """Its settings of event time: what `forebay doctor` reckons late flows with."""

    @property
    def stages(self) -> list[WorkerRecord]:
        """The workers that take part in the flow."""
        return [worker for worker in self.workers if worker.is_stage]

    @property
    def page(self) -> str | None:
        """The address of the page; None where none is served."""
        served = (worker for worker in self.workers if worker.name == PAGE and worker.process is not None)
        return next((f"http://{worker.host}:{worker.port}" for worker in served), None)

    @property
    def processes(self) -> list[Identity]:
        """Every process of a worker."""
        return [worker.process for worker in self.workers if worker.process is not None]

    @property
    def chosen(self) -> dict[str, Any]:
        """What commands beside it are to have as it has: settings by name."""
        choice = {"bootstrap": self.bootstrap, "topic_prefix": self.topic_prefix, "sources": self.sources}
        return choice | {name: value for name, value in self.event_time.items() if name in EVENT_TIME}

    @property
    def failed(self) -> list[WorkerRecord]:
        """Workers that are not started again, or that end as often as they are."""
        return [worker for worker in self.workers if worker.state in (State.FAILED, State.FAILING)]

    @property
    def is_ready(self) -> bool:
        """Whether all workers are."""
        return bool(self.workers) and all(worker.state is State.READY for worker in self.workers)

    @property
    def has_settled(self) -> bool:
        """Whether every worker is ready, or does not come up."""
        settled = (State.READY, State.FAILED, State.FAILING)
        return bool(self.workers) and all(worker.state in settled for worker in self.workers)


def write(folder: Path, record: SystemRecord) -> None:
    """Write the record; after a power cut no process of it lives, so it need not survive one."""
    document = {"format": FORMAT, **asdict(record)}
    write_atomic(folder / NAME, orjson.dumps(document, option=orjson.OPT_INDENT_2), durable=False)


def read(folder: Path) -> SystemRecord | None:
    """The record of a folder; None where there is none, or what a power cut left. RefusedState where it is damaged."""
    path = folder / NAME
    try:
        payload = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not payload.strip(b"\0"):
        return None  # its name was on the disk before its bytes were (`write`): nothing of it runs any more
    try:
        return _record(orjson.loads(payload))
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise RefusedState(
            f"{path}: got {type(error).__name__}: {error}, expected what `forebay up` of this version writes; "
            "look with `ps -ef | grep forebay` for what still runs, end it by its pid, and delete the file"
        ) from error


def running_beside(folder: Path) -> list[Path]:
    """The folders of systems that run now: this one, and those beside it."""
    found = []
    for each in sorted(folder.parent.glob(f"*/{NAME}")):
        try:
            system = read(each.parent)
        except (RefusedState, OSError):  # damaged, or somebody else's: `status` of that folder says so
            continue
        if system is not None and is_alive(system.supervisor):
            found.append(each.parent)
    return found


def remove(folder: Path) -> None:
    """Take the record away: nothing of it runs any more."""
    (folder / NAME).unlink(missing_ok=True)


def _record(document: dict[str, Any]) -> SystemRecord:
    fields = dict(document)
    if fields.pop("format") != FORMAT:
        raise ValueError(f"format {document['format']}, expected {FORMAT}")
    workers = tuple(
        replace(WorkerRecord(**each), state=State(each["state"]), process=_identity(each["process"]))
        for each in fields.pop("workers")
    )
    broker = fields.pop("broker")
    supervisor = _identity(fields.pop("supervisor"))
    if supervisor is None:
        raise ValueError("no supervisor")
    record = SystemRecord(
        **fields, supervisor=supervisor, workers=workers, broker=BrokerRecord(**broker) if broker else None
    )
    return replace(record, phase=Phase(record.phase))


def _identity(document: dict[str, Any] | None) -> Identity | None:
    if document is None:
        return None
    identity = Identity(**document)
    # A pid of 0 or below means a whole group of processes to the system.
    if not isinstance(identity.pid, int) or identity.pid <= 1 or not isinstance(identity.started, str):
        raise ValueError(f"process {document}")
    return identity
