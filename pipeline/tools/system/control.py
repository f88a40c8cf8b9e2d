"""Starting and ending a system from elsewhere: `forebay up --detach`, `forebay down`, the demo."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import AlreadyRunning, Failed
from pipeline.settings import Settings, inherited_environment
from pipeline.tools.broker import local, process
from pipeline.tools.processes import die_with_parent, worker_environment
from pipeline.tools.system import leftovers, record, worker_logs
from pipeline.tools.system.identity import is_alive, send_signal
from pipeline.tools.system.record import State, SystemRecord, WorkerRecord
from pipeline.tools.system.supervise import Request, already_running, command

# Kafka takes seconds to start, the workers' modules too; a busy machine makes minutes of it.
SETTLED_WITHIN_S = 240.0
# Longer than the supervisor gives its workers and Kafka.
ENDS_WITHIN_S = 60.0
KILLED_WITHIN_S = 5.0
POLL_S = 0.1
# Arrow's jemalloc, which is loaded and not used, would start a thread in the background.
SINGLE_THREAD = {"JE_ARROW_MALLOC_CONF": "background_thread:false"}


class NotStarted(Failed):
    """A system that was to be started does not run, or not whole; it leaves with the exit code of what failed."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def running(folder: Path) -> SystemRecord | None:
    """The system whose supervisor lives; None where none does."""
    system = record.read(folder)
    return system if system is not None and is_alive(system.supervisor) else None


def elsewhere() -> list[Path]:
    """Folders in which supervisors of this user run."""
    return sorted({Path(folder) for folder in process.values_of("--run-folder=")})


def environment_of(settings: Settings) -> dict[str, str]:
    """What a supervisor starts with, set before it imports anything, so that it keeps one thread and may be forked."""
    return inherited_environment({**worker_environment(settings), **SINGLE_THREAD})


def launch(request: Request, settings: Settings) -> "subprocess.Popen[bytes]":
    """Start a supervisor in the background; AlreadyRunning where one runs in the folder."""
    if running(request.folder) is not None:
        raise AlreadyRunning(already_running(request.folder))
    logs = request.folder / record.LOGS
    log = worker_logs.open_to_append(logs / "supervisor.log")
    try:
        return subprocess.Popen(
            command(request),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment_of(settings),
            start_new_session=True,
            preexec_fn=die_with_parent if request.follows_parent else None,
        )
    finally:
        os.close(log)


def wait_settled(
    supervisor: "subprocess.Popen[bytes]",
    request: Request,
    show: Callable[[SystemRecord], None],
    keep_waiting: Callable[[], bool] = lambda: True,
) -> SystemRecord | None:
    """Until every worker is ready; None where waiting was ended.

    Raises NotStarted where a worker does not come up, where the supervisor ends, or where it takes too long.
    """
    log = request.folder / record.LOGS / "supervisor.log"
    log_start = worker_logs.size_of(log)
    deadline = time.monotonic() + SETTLED_WITHIN_S
    while keep_waiting():
        code = supervisor.poll()
        if code is not None:
            text = worker_logs.last_error(worker_logs.tail(log, log_start)) or worker_logs.last_error(
                worker_logs.tail(log)
            )
            raise NotStarted(text or f"the supervisor ended with {code}; its log is {log}", abs(code) or 1)
        system = record.read(request.folder)
        if system is not None and system.supervisor.pid == supervisor.pid:
            show(system)
            if system.failed:
                raise NotStarted(describe_failed(system.failed), system.failed[0].exit_code or 1)
            if system.is_ready:
                return system
        if time.monotonic() > deadline:
            raise NotStarted(f"not ready after {SETTLED_WITHIN_S:.0f} s: `forebay status`; logs are in {log.parent}", 1)
        time.sleep(POLL_S)
    return None


def describe_failed(failed: list[WorkerRecord]) -> str:
    """Who does not run, why, and what to do."""
    return "; ".join(
        f"{worker.name} {'keeps failing' if worker.state is State.FAILING else 'does not run'}: {worker.last_error}; "
        f"{worker.remedy}; its log is {worker.log}"
        for worker in failed
    )


@dataclass(frozen=True, slots=True)
class Ended:
    """What `down` has ended."""

    supervisor: bool
    workers: tuple[str, ...]
    """Those that the supervisor, being killed, had left."""
    broker: bool


def stop(folder: Path) -> Ended | None:
    """End the system of a folder, also one whose supervisor was killed; None where nothing of one runs.

    Raises Failed where a process cannot be ended. A pid that is not the system's own is left alone.
    """
    system = record.read(folder)
    if system is None:
        return None
    lived = send_signal(system.supervisor, signal.SIGTERM)
    if lived and not _gone(system, ENDS_WITHIN_S):
        send_signal(system.supervisor, signal.SIGKILL)
        if not _gone(system, KILLED_WITHIN_S):
            raise Failed(f"{folder}: supervisor {system.supervisor.pid} does not end; `ps {system.supervisor.pid}`")
    system = record.read(folder) or (None if lived else system)
    if system is None:
        return Ended(True, (), True)
    # It could not clean up: what it leaves is found by pid and start.
    workers = leftovers.end_workers(system)
    left = leftovers.find(system)
    if left.workers:
        pids = ", ".join(f"{worker.name} {worker.process.pid}" for worker in left.workers if worker.process)
        raise Failed(f"{folder}: do not end, even killed: {pids}; look at them with `ps`")
    broker = local.stop(Path(system.broker.data)) if left.broker is not None and system.broker is not None else None
    record.remove(folder)
    return Ended(lived, tuple(workers), broker is not None)


def _gone(system: SystemRecord, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while is_alive(system.supervisor):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True
