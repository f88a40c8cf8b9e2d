"""One supervised worker: started, watched, started again."""

import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from pipeline.tools.broker.ports import free_port, is_free
from pipeline.tools.system import probes, restarts, starting, worker_logs
from pipeline.tools.system.identity import Identity, identity_of, send_signal
from pipeline.tools.system.record import State, WorkerRecord
from pipeline.tools.system.worker_table import WorkerRow

# A worker that starts is asked often, so that its readiness is reported at once; later rarely: an idle box is idle.
STARTING_PROBE_EVERY_S = 0.5
READY_PROBE_EVERY_S = 5.0
# Whether its loop turns is decided within minutes (telemetry/endpoint.py): no need to ask more often.
ALIVE_PROBE_EVERY_S = 30.0
# A worker that hangs is asked to stop; it may still save. Then it is killed: nothing is lost by it.
HUNG_GRACE_S = 10.0

Say = Callable[..., None]
Spawn = Callable[[WorkerRow, Mapping[str, str], int], starting.Process]


class SupervisedWorker:
    """A row of the table at work. Nothing here waits: `step` is called again and again.

    Parameters
    ----------
    spawn : starts the row's process with these variables and this log
    say : reports an event, in a sentence, with facts
    """

    def __init__(self, row: WorkerRow, host: str, logs: Path, spawn: Spawn, say: Say) -> None:
        self.row = row
        self.log = worker_logs.log_path(logs, row.name)
        self._host, self._spawn, self._say = row.host or host, spawn, say
        self.state = State.STARTING
        self._process: starting.Process | None = None
        self._identity: Identity | None = None
        self._port = row.port
        self._starts = 0
        self._ends_in_a_row = 0
        self._log_start = 0
        self._started_at = 0.0
        self._ready_at: float | None = None
        self._start_at = 0.0
        self._next_probe_at = 0.0
        self._next_alive_at = 0.0
        self._hung_at: float | None = None
        self._exit_code: int | None = None
        self._last_error = ""
        self._remedy = ""
        self._started_us = 0

    def record(self, now: float) -> WorkerRecord:
        """What others are told of it."""
        waits = self.state in (State.WAITING, State.FAILING) and self._process is None
        return WorkerRecord(
            self.row.name,
            self.row.is_stage,
            self.state,
            self._identity,
            self._port,
            max(0, self._starts - 1),
            self._started_us,
            time.time_ns() // 1000 + round(max(0.0, self._start_at - now) * 1e6) if waits else 0,
            self._exit_code,
            self._last_error,
            self._remedy,
            str(self.log),
            self.row.host,
            self.row.ready_path,
        )

    @property
    def runs(self) -> bool:
        """Whether it has a process."""
        return self._process is not None

    def step(self, environment: Mapping[str, str], now: float) -> bool:
        """Start it, collect it, ask it, as is due; whether anything has changed."""
        before = (self.state, self._identity)
        if self._process is not None:
            code = self._process.poll()
            if code is not None:
                self._ended(code, now)
            else:
                self._probe(now)
        elif self.state is not State.FAILED and now >= self._start_at:
            self._start(environment, now)
        return (self.state, self._identity) != before

    def stop(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self._identity is not None:
            send_signal(self._identity, number)

    def collect(self) -> bool:
        """Whether it has ended; for a system that stops."""
        if self._process is not None and self._process.poll() is not None:
            self._process = self._identity = None
            self.state = State.STOPPED
        return self._process is None

    def _start(self, environment: Mapping[str, str], now: float) -> None:
        try:
            self._process = self._spawned(environment)
        except OSError as error:  # no memory, processes or disk left: that ends no other worker, and may pass
            self._remedy = "free memory, processes or disk space; it is tried again meanwhile"
            self._wait_to_start(now, restarts.delay_s(1, self._ends_in_a_row + 1) or 0.0, f"cannot start: {error}")
            return
        self._identity = identity_of(self._process.pid)
        self._starts += 1
        self._started_at = self._next_probe_at = now
        self._next_alive_at = now + ALIVE_PROBE_EVERY_S
        self._started_us = time.time_ns() // 1000
        self._ready_at = self._hung_at = None
        if self.state is not State.FAILING:
            self.state = State.STARTING

    def _spawned(self, environment: Mapping[str, str]) -> starting.Process:
        # Its usual port, else the one it had: who looks at it need not look for it.
        self._port = next((port for port in (self.row.port, self._port) if port and is_free(port)), 0) or free_port()
        worker_logs.rotate(self.log)
        self._log_start = worker_logs.size_of(self.log)
        log = worker_logs.open_to_append(self.log)
        row = self.row.at_port(self._port)
        try:
            return self._spawn(row, {**environment, "FOREBAY_METRICS_PORT": str(self._port)}, log)
        finally:
            worker_logs.close(log)

    def _probe(self, now: float) -> None:
        if self._hung_at is not None and now - self._hung_at > HUNG_GRACE_S:
            self.stop(signal.SIGKILL)
        if now >= self._next_alive_at:
            self._next_alive_at = now + ALIVE_PROBE_EVERY_S
            if self._hung_at is None and probes.hangs(self._host, self._port):
                self._hung_at = now
                self._say("does not turn its loop any more; it is ended and started again", worker=self.row.name)
                self.stop(signal.SIGTERM)
            return  # a question a step: whoever stops the system waits for one answer at most
        if now < self._next_probe_at:
            return
        ready = probes.is_ready(self._host, self._port, self.row.ready_path)
        self._next_probe_at = now + (READY_PROBE_EVERY_S if ready else STARTING_PROBE_EVERY_S)
        if ready and self.state is not State.READY:
            self._say(
                "ready",
                worker=self.row.name,
                pid=self._process.pid if self._process else 0,
                port=self._port,
                after_s=round(now - self._started_at, 1),
            )
            self._ready_at = self._ready_at or now
            self.state, self._last_error, self._remedy = State.READY, "", ""
        elif not ready and self.state is State.READY:
            self.state = State.NOT_READY

    def _ended(self, code: int, now: float) -> None:
        self._process = self._identity = None
        self._exit_code = code
        was_stable = self._ready_at is not None and now - self._ready_at >= restarts.STABLE_S
        self._ends_in_a_row = 0 if was_stable else self._ends_in_a_row
        own = worker_logs.last_error(worker_logs.tail(self.log, self._log_start))
        error = f"{restarts.describe_end(code)}{f': {own}' if own else ''}"
        self._remedy = restarts.remedy_of(code)
        delay_s = restarts.delay_s(code, self._ends_in_a_row + 1)
        if delay_s is None and not is_free(self._port) and self._starts <= restarts.FAILING_AFTER:
            delay_s = 0.0  # somebody was faster than we at the port we chose for it: the next start takes another
        if delay_s is None:
            self.state, self._last_error = State.FAILED, error
            self._say("does not run", worker=self.row.name, error=error, remedy=self._remedy, log=str(self.log))
            return
        self._wait_to_start(now, delay_s, error)

    def _wait_to_start(self, now: float, delay_s: float, error: str) -> None:
        self._ends_in_a_row += 1
        self._last_error, self._start_at = error, now + delay_s
        failing = self._ends_in_a_row >= restarts.FAILING_AFTER
        self.state = State.FAILING if failing else State.WAITING
        self._say(
            "keeps failing; tried again" if failing else "ended; started again",
            worker=self.row.name,
            in_s=delay_s,
            error=self._last_error,
            **({"remedy": self._remedy} if failing else {}),
        )
