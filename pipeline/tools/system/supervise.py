"""The supervisor of one box: `python -m pipeline.tools.system.supervise`, started by `forebay up`.

One process with one thread. It starts Kafka and creates topics (each in a child), imports what the workers import,
forks them, and then waits: for the end of a worker, for a signal, for the next time to ask whether all are ready. What
it knows it writes into the record (record.py), which `forebay status`, `forebay down` and the endpoint read.
"""

import argparse
import os
import select
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

from pipeline.errors import AlreadyRunning, Failed, ForebayError
from pipeline.runtime.locks import exclusive
from pipeline.runtime.terminal import printable
from pipeline.settings import Settings, load_settings
from pipeline.tools.broker import local, process
from pipeline.tools.broker import state as broker_state
from pipeline.tools.broker.ports import is_free
from pipeline.tools.processes import worker_environment
from pipeline.tools.system import leftovers, notify, probes, record, starting, worker_logs
from pipeline.tools.system.events import Events
from pipeline.tools.system.identity import identity_of
from pipeline.tools.system.record import BrokerRecord, Phase, SystemRecord
from pipeline.tools.system.restarts import FIRST_DELAY_S, MAX_DELAY_S
from pipeline.tools.system.tasks import Task, TaskFailed, wait_for
from pipeline.tools.system.worker import SupervisedWorker
from pipeline.tools.system.worker_table import (
    ENDPOINT_NAME,
    ENDPOINT_PORT,
    WorkerRow,
    endpoint_row,
    page_hint,
    rows_for,
)

# Nothing waits longer to be noticed than this; the end of a worker and a signal are noticed at once.
TICK_S = 0.5
IDLE_TICK_S = 2.0
ROTATE_EVERY_S = 60.0
BROKER_CHECK_EVERY_S = 2.0
# Ctrl-C ends all within 10 s: workers get most of it, then they are killed (nothing is lost by that), then Kafka.
INTERRUPT_WORKERS_S, INTERRUPT_BROKER_S = 5.0, 3.0
# `forebay down` and systemd give time to save: as long as a worker takes for it when Kafka is slow (faust/worker.py).
STOP_WORKERS_S, STOP_BROKER_S = 30.0, 15.0
DEFAULT_BROKER_PORT = 9092


@dataclass(frozen=True, slots=True)
class Request:
    """What is to run: the workers of these settings, on a local Kafka in `broker_data` or on the one they name."""

    folder: Path
    broker_data: Path | None
    broker_port: int | None = None
    """0: where it was, else a free one; None: where it was, else 9092 if it is free."""
    follows_parent: bool = False
    """In the background: whether it ends with whoever started it, even by SIGKILL, as the demo's does."""


class Supervisor:
    """Runs a request until a signal asks to stop."""

    def __init__(self, request: Request, settings: Settings, lock: int) -> None:
        self._request, self._settings = request, settings
        self._logs = request.folder / record.LOGS
        self._events = Events(self._logs / "supervisor.log")
        self._stop_number: int | None = None
        self._impatient = False
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wake = wake_read
        self._inherited = (lock, wake_read, wake_write, *self._events.descriptors)
        self._listen(wake_write)
        identity = identity_of(os.getpid())
        if identity is None:
            raise Failed("the system does not say when this process was started; expected /proc or ps")
        self._record = SystemRecord(
            identity,
            str(request.folder),
            Phase.KAFKA,
            time.time_ns() // 1000,
            settings.bootstrap,
            settings.topic_prefix,
            settings.variables()["FOREBAY_SOURCES"],
            settings.metrics_host,
            event_time={name: getattr(settings, name) for name in record.EVENT_TIME},
        )
        self._host = probes.reachable_host(settings.metrics_host)
        self._previous: SystemRecord | None = None
        """Of a supervisor that was killed in this folder."""
        self._workers: list[SupervisedWorker] = []
        self._environment: dict[str, str] = {}
        self._broker: broker_state.Running | None = None
        self._broker_start: Task | None = None
        self._broker_start_at = 0.0
        self._broker_failures = 0
        self._broker_check_at = 0.0
        self._settled = False
        self._unwritten = False
        """Whether the record on the disk is an older one."""

    # ---- from start to end

    def run(self) -> None:
        """Start everything, supervise it, stop everything; TaskFailed where Kafka or topics are not to be had."""
        self._previous = leftovers.take_over(self._request.folder, self._events.say)
        record.write(self._request.folder, self._record)  # without it `down` would not find what is started here
        try:
            if self._prepare():
                self._supervise()
        finally:
            self._stop()

    def _prepare(self) -> bool:
        """Kafka, topics, imports; False where a signal came meanwhile."""
        if self._request.broker_data is not None:
            self._events.say("starting Kafka", data=str(self._request.broker_data))
            if not self._start_broker(self._request.broker_data):
                return False
        environment = worker_environment(self._settings)
        environment["FOREBAY_BOOTSTRAP"] = self._record.bootstrap
        self._environment = environment
        self._write(phase=Phase.TOPICS)
        task = Task(["topic", "create"], environment)
        # Most of what follows is this: while Kafka makes topics, the modules of all workers are read.
        rows = (*rows_for(self._settings), endpoint_row(str(self._request.folder), 0, self._settings.metrics_host))
        starting.preload(rows)
        created = wait_for(task, self._wait)
        if created is None:
            return False
        self._events.say("topics are there", created=len(created["created"]), existing=len(created["existing"]))
        return True

    def _start_broker(self, data: Path) -> bool:
        before = local.process_of(data)
        previous = self._previous.broker if self._previous is not None else None
        taken_over = previous is not None and previous.is_ours and previous.data == str(data)
        # Written first: whoever ends a start that is under way ends this Kafka too.
        self._write(broker=BrokerRecord(str(data), is_ours=before is None or taken_over))
        port = self._broker_port(data, before)
        task = Task(["broker", "up", "--data", str(data), "--port", str(port)], {})
        if wait_for(task, self._wait) is None:
            return False
        self._broker = broker_state.read(data)
        if self._broker is None:
            raise Failed(f"{data}: Kafka was started and its state.json is gone; `forebay broker up --data {data}`")
        self._events.say("Kafka answers", bootstrap=self._broker.bootstrap, pid=self._broker.pid)
        self._write(bootstrap=self._broker.bootstrap)
        return True

    def _broker_port(self, data: Path, running: broker_state.Running | None) -> int:
        if self._request.broker_port == 0 or running is not None or local.last_port(data) is not None:
            return 0  # where it is, or where it was, else a free one
        return DEFAULT_BROKER_PORT if is_free(DEFAULT_BROKER_PORT) else 0

    def _supervise(self) -> None:
        rows = list(rows_for(self._settings))
        if self._settings.metrics_port != -1:
            port = ENDPOINT_PORT if self._settings.metrics_port is None else self._settings.metrics_port
            rows.append(endpoint_row(str(self._request.folder), port, self._settings.metrics_host))
        self._workers = [SupervisedWorker(row, self._host, self._logs, self._spawn, self._events.say) for row in rows]
        self._write(phase=Phase.RUNNING)
        rotate_at = 0.0
        while self._stop_number is None:
            now = time.monotonic()
            # Each may wait for an answer, and Ctrl-C waits for one of them at most.
            changed = [self._stop_number is None and worker.step(self._environment, now) for worker in self._workers]
            changed.append(self._check_broker(now))
            if any(changed) or self._unwritten:
                self._write()
            if now >= rotate_at:
                rotate_at = now + ROTATE_EVERY_S
                for log in (*(worker.log for worker in self._workers), self._events.log):
                    with suppress(OSError):  # a full disk: tried again, and said by who cannot write data
                        worker_logs.rotate(log)
            self._report_settled()
            self._wait(IDLE_TICK_S if self._record.is_ready else TICK_S)

    def _spawn(self, row: WorkerRow, environment: Mapping[str, str], log: int) -> starting.Process:
        return starting.start(row, environment, log, self._inherited)

    def _report_settled(self) -> None:
        if self._settled or not self._record.has_settled:
            return
        self._settled = True
        failed = ", ".join(worker.name for worker in self._record.failed)
        self._events.say(
            f"runs, without {failed}" if failed else "everything is ready",
            bootstrap=self._record.bootstrap,
            metrics=self._endpoint(),
            page=self._record.page or page_hint(self._settings) or "none",
            logs=str(self._logs),
        )
        notify.send("READY=1", f"STATUS={f'runs without {failed}' if failed else 'all workers are ready'}")

    def _endpoint(self) -> str:
        port = self._record.endpoint_port
        return f"http://{self._settings.metrics_host}:{port}" if port else "none"

    # ---- Kafka, watched

    def _check_broker(self, now: float) -> bool:
        """Start the local Kafka again where it has ended; whether the record changes."""
        data = self._request.broker_data
        if data is None or self._broker is None or self._record.broker is None or now < self._broker_check_at:
            return False
        self._broker_check_at = now + BROKER_CHECK_EVERY_S
        if self._broker_start is not None:
            return self._broker_started(data, self._record.broker, now)
        if process.is_ours(self._broker.pid, self._broker.run_id):
            return False
        if now >= self._broker_start_at:
            self._events.say("Kafka has ended; started again", data=str(data))
            # At its old address: that is where workers look for it.
            self._broker_start = Task(["broker", "up", "--data", str(data), "--port", str(self._broker.port)], {})
        return False

    def _broker_started(self, data: Path, broker: BrokerRecord, now: float) -> bool:
        task = self._broker_start
        if task is None or task.running:
            return False
        self._broker_start = None
        try:
            task.result()
        except TaskFailed as error:
            self._broker_failures += 1
            delay_s = min(MAX_DELAY_S, FIRST_DELAY_S * 2.0**self._broker_failures)
            self._broker_start_at = now + delay_s
            self._events.say("Kafka does not start; tried again", error=str(error), in_s=delay_s)
            self._record = replace(self._record, broker=replace(broker, last_error=str(error)))
            return True
        self._broker_failures = 0
        self._broker = broker_state.read(data) or self._broker
        self._record = replace(self._record, broker=replace(broker, restarts=broker.restarts + 1, last_error=""))
        return True

    # ---- signals and waiting

    def _listen(self, wake_write: int) -> None:
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # else started by nohup
                signal.signal(number, self._signalled)

    def _signalled(self, number: int, _frame: FrameType | None) -> None:
        # A second Ctrl-C, not a second `forebay down`.
        self._impatient = self._impatient or (self._stop_number is not None and number == signal.SIGINT)
        self._stop_number = self._stop_number or number

    def _wait(self, seconds: float = TICK_S) -> bool:
        """Wait for a signal or the end of a child, no longer than `seconds`; False where a signal asks to stop."""
        if self._stop_number is None:
            readable, _, _ = select.select([self._wake], [], [], seconds)
            if readable:
                os.read(self._wake, 4096)
        return self._stop_number is None

    # ---- the end

    def _stop(self) -> None:
        """Workers and the page, then the endpoint, then Kafka if it was ours; what does not end is killed."""
        interrupted = self._stop_number == signal.SIGINT
        workers_s = INTERRUPT_WORKERS_S if interrupted else STOP_WORKERS_S
        broker_s = INTERRUPT_BROKER_S if interrupted else STOP_BROKER_S
        if self._workers:
            self._events.say("stopping")
        notify.send("STOPPING=1")
        self._write(phase=Phase.STOPPING)
        self._impatient = False
        last = [worker for worker in self._workers if worker.row.name == ENDPOINT_NAME]
        killed = self._end([worker for worker in self._workers if worker not in last], workers_s)
        killed += self._end(last, 1.0)
        if killed:
            self._events.say("killed: what they had not saved is done again", workers=", ".join(killed))
        if self._broker_start is not None:
            self._broker_start.stop()
        if self._record.broker is not None and self._record.broker.is_ours:
            local.stop(Path(self._record.broker.data), 0.5 if self._impatient else broker_s)
        record.remove(self._request.folder)
        self._events.say("stopped")

    def _end(self, workers: list[SupervisedWorker], within_s: float) -> list[str]:
        """End workers; the names of those that had to be killed."""
        for worker in workers:
            worker.stop(signal.SIGTERM)
            worker.stop(signal.SIGCONT)  # one that is stopped would not hear
        deadline = time.monotonic() + within_s
        while not all([worker.collect() for worker in workers]):
            if time.monotonic() > deadline or self._impatient:
                break
            select.select([self._wake], [], [], 0.1)
            self._drain()
        late = [worker for worker in workers if worker.runs]
        for worker in late:
            worker.stop(signal.SIGKILL)
        while not all([worker.collect() for worker in late]):
            time.sleep(0.01)
        return [worker.row.name for worker in late]

    def _drain(self) -> None:
        try:
            os.read(self._wake, 4096)
        except BlockingIOError:
            return

    def _write(
        self, phase: Phase | None = None, bootstrap: str | None = None, broker: BrokerRecord | None = None
    ) -> None:
        now = time.monotonic()
        workers = tuple(worker.record(now) for worker in self._workers)
        endpoints = (worker for worker in workers if worker.name == ENDPOINT_NAME and worker.process is not None)
        port = next((worker.port for worker in endpoints), 0)
        self._record = replace(
            self._record,
            workers=workers,
            endpoint_port=port,
            phase=phase or self._record.phase,
            bootstrap=bootstrap or self._record.bootstrap,
            broker=broker or self._record.broker,
        )
        try:
            record.write(self._request.folder, self._record)
        except OSError as error:  # a full disk ends nobody who runs: written when there is space again
            if not self._unwritten:
                self._events.say("the record cannot be written; tried again", error=error.strerror)
            self._unwritten = True
        else:
            self._unwritten = False


def supervise(request: Request, settings: Settings) -> None:
    """Run a request in its folder; AlreadyRunning where another supervisor does."""
    request.folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            lock = stack.enter_context(exclusive(request.folder / record.LOCK, 0.0, "busy"))
        except Failed:
            raise AlreadyRunning(already_running(request.folder)) from None
        Supervisor(request, settings, lock).run()


def already_running(folder: Path) -> str:
    """What a second `forebay up` is told."""
    system = record.read(folder)
    where = f"{folder.absolute()}"
    if system is None:
        return f"{where}: a system is starting or ending here; `forebay status`"
    names = ", ".join(f"{worker.name} {worker.state}" for worker in system.workers)
    return (
        f"{where}: a system runs here already: supervisor pid {system.supervisor.pid}, {system.phase}, Kafka "
        f"{system.bootstrap}; {names or 'no workers yet'}; `forebay status` says more, `forebay down` ends it, another "
        "FOREBAY_RUN_FOLDER, topic prefix and folders make a second one"
    )


def command(request: Request) -> list[str]:
    """The command line that runs a request; the settings travel in the environment."""
    broker = [] if request.broker_data is None else [f"--broker-data={request.broker_data.absolute()}"]
    port = [] if request.broker_port is None else [f"--broker-port={request.broker_port}"]
    folder = f"--run-folder={request.folder.absolute()}"
    return [sys.executable, "-m", "pipeline.tools.system.supervise", folder, *broker, *port]


def main() -> None:
    """The supervisor's process."""
    parser = argparse.ArgumentParser(prog="forebay up")
    parser.add_argument("--run-folder", type=Path, required=True)
    parser.add_argument("--broker-data", type=Path)
    parser.add_argument("--broker-port", type=int, choices=(0,))
    options = parser.parse_args()
    try:
        settings = load_settings()
        supervise(Request(options.run_folder, options.broker_data, options.broker_port), settings)
    except ForebayError as error:
        sys.stderr.write(f"error: {printable(str(error))}\n")
        raise SystemExit(error.exit_code) from None


if __name__ == "__main__":
    main()
