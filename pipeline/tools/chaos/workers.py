"""The stages of a round: one worker each, started again whenever it ends, as an orchestrator would."""

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from pipeline.errors import Failed
from pipeline.settings import Settings
from pipeline.tools.processes import CLI, STAGES, Processes, StartedProcess, worker_environment

READY_S = 120.0
POLL_S = 0.05
GONE_S = 20.0
MAX_RESTARTS = 25
"""A worker that ends so often in a row without having been ready will not come up by itself."""

Made = TypeVar("Made")


class Workers:
    """Each stage's worker; a fault holds its stage's lock while it is carried out."""

    def __init__(self, settings: Settings, logs: Path) -> None:
        logs.mkdir(parents=True, exist_ok=True)
        self._processes = Processes(logs, worker_environment(settings))
        # A child gets its parent's-death signal when the thread that started it ends: one thread starts them all.
        self._starter = ThreadPoolExecutor(1, "starter")
        self._numbers = dict.fromkeys(STAGES, 0)
        self._of: dict[str, StartedProcess] = {}
        self.locks = {stage: threading.RLock() for stage in STAGES}
        self.ended_by_fault: set[int] = set()
        self.ended: list[str] = []
        """Workers that ended without having been made to: `worker: exit code: last line of its log`."""

    def start(
        self,
        stage: str,
        environment: Mapping[str, str] | None = None,
        file_bytes: int | None = None,
        program: Sequence[str] = CLI,
        main: bool = True,
    ) -> StartedProcess:
        """Start a worker of a stage; with `main` it is from now on the stage's own."""

        def begin() -> StartedProcess:
            self._numbers[stage] += 1
            name = f"{stage}-{self._numbers[stage]}"
            return self._processes.start(
                name, stage, "run", environment=environment, file_bytes=file_bytes, program=program
            )

        started = self._starter.submit(begin).result()
        if main:
            self._of[stage] = started
        return started

    def run(self, name: str, *arguments: str) -> StartedProcess:
        """Start another command beside the stages: a sender."""
        return self._starter.submit(lambda: self._processes.start(name, *arguments)).result()

    def of(self, stage: str) -> StartedProcess:
        """The stage's worker."""
        return self._of[stage]

    def kill(self, worker: StartedProcess) -> None:
        """SIGKILL, and wait for its end."""
        if worker.process.poll() is None:
            self.ended_by_fault.add(worker.process.pid)
            os.kill(worker.process.pid, signal.SIGKILL)
        worker.process.wait(GONE_S)

    def signal(self, worker: StartedProcess, number: int) -> None:
        """Send a signal, if it still runs."""
        if worker.process.poll() is None:
            os.kill(worker.process.pid, number)

    def wait_gone(self, worker: StartedProcess, timeout_s: float) -> bool:
        """Whether it ends by itself within the time; that is then expected."""
        self.ended_by_fault.add(worker.process.pid)
        return _until(lambda: worker.process.poll() is not None, timeout_s)

    def wait_ready(self, worker: StartedProcess, timeout_s: float = READY_S) -> bool:
        """Whether it says that it is ready within the time, or ends."""
        return _until(lambda: worker.ready or worker.process.poll() is not None, timeout_s) and worker.ready

    def revive(self, stage: str, program: Sequence[str] = CLI) -> StartedProcess:
        """The stage's worker, started again (as `program`) where it has ended; ready."""
        for _attempt in range(MAX_RESTARTS):
            worker = self._of[stage]
            code = worker.process.poll()
            if code is not None:
                if worker.process.pid not in self.ended_by_fault:
                    self.ended.append(f"{worker.name}: exit {code}: {_last_error(worker)}")
                worker = self.start(stage, program=program)
            if self.wait_ready(worker):
                return worker
            if worker.process.poll() is None:
                raise Failed(f"{worker.name} is not ready after {READY_S:.0f} s; its log is {worker.log}")
            time.sleep(0.5)
        worker = self._of[stage]
        raise Failed(f"{stage} does not stay up: ended {MAX_RESTARTS} times; {worker.log} ends:\n{worker.last_words()}")

    def revive_all(self) -> None:
        """Revive every stage on which no fault is being carried out."""
        for stage in STAGES:
            if self.locks[stage].acquire(blocking=False):
                try:
                    if self._of[stage].process.poll() is not None:
                        self.revive(stage)
                finally:
                    self.locks[stage].release()

    def memory_mib(self) -> dict[str, float]:
        """Resident memory of each stage's worker now."""
        return {stage: mib for stage, worker in self._of.items() if (mib := worker.memory_mib)}

    def finish(self, grace_s: float = 30.0) -> None:
        """Let all stop in order; what does not is killed."""
        for worker in self._processes.running:
            self.signal(worker, signal.SIGCONT)
        self._processes.stop(grace_s)

    def close(self) -> None:
        """Nothing is left running."""
        self.finish(5.0)
        self._starter.shutdown()


def _until(true: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def _last_error(worker: StartedProcess) -> str:
    lines = worker.last_words().splitlines()
    return lines[-1][:300] if lines else "it said nothing"
