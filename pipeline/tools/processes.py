"""Processes of one run: started, waited for, stopped, and gone afterwards."""

import ctypes
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.errors import Failed
from pipeline.settings import Settings, inherited_environment

STAGES = ("ingest", "featurize", "score", "alert", "archive", "retrain")
READY = '"event": "ready"'
PR_SET_PDEATHSIG = 1
CLI = ("-m", "pipeline.tools.cli")


def worker_environment(settings: Settings) -> dict[str, str]:
    """The settings as a worker's environment; small batches on few cores: more threads only fight each other."""
    return {**settings.variables(), "OMP_NUM_THREADS": "1"}


def die_with_parent() -> None:
    """Linux: the kernel ends this child when its starter dies, even by SIGKILL. Elsewhere `Processes.stop` must do."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _within(file_bytes: int | None) -> Callable[[], None]:
    """What a child does before it starts: none of its files may grow beyond `file_bytes`."""

    def prepare() -> None:
        die_with_parent()
        if file_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))

    return prepare


@dataclass(slots=True)
class StartedProcess:
    """A process that was started, its log, and the file that its stdout goes to."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    out: Path

    @property
    def ready(self) -> bool:
        """Whether the process has logged that it is."""
        return READY in self.log.read_text(encoding="utf-8", errors="replace")

    @property
    def memory_mib(self) -> float:
        """Resident memory now, in MiB; 0 once the process has ended."""
        try:
            pages = int(Path(f"/proc/{self.process.pid}/statm").read_text(encoding="ascii").split()[1])
        except (OSError, IndexError, ValueError):
            return 0.0
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def last_words(self) -> str:
        """The end of its log, for an error message."""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-12:])


@dataclass(slots=True)
class Processes:
    """Every process of one run; `stop` ends them all."""

    logs: Path
    environment: Mapping[str, str]
    running: list[StartedProcess] = field(default_factory=list)

    def start(
        self,
        name: str,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        file_bytes: int | None = None,
        program: Sequence[str] = CLI,
    ) -> StartedProcess:
        """Start `forebay ARGUMENTS` with its log in `<name>.log`; the thread that starts it must outlive it.

        environment: variables beside those of all processes; file_bytes: the largest file it may write; program: what
        runs in place of `forebay`.
        """
        log, out = self.logs / f"{name}.log", self.logs / f"{name}.out"
        with log.open("wb") as errors, out.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, *program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                env=inherited_environment({**self.environment, **(environment or {})}),
                # A session of its own: Ctrl-C reaches the starter alone, which then stops the workers in order.
                start_new_session=True,
                preexec_fn=_within(file_bytes),
            )
        started = StartedProcess(name, process, log, out)
        self.running.append(started)
        return started

    def check(self) -> None:
        """Failed, with the end of its log, where a process has ended that should not have."""
        for each in self.running:
            code = each.process.poll()
            if code not in (None, 0):
                raise Failed(f"{each.name} ended with {code}; its log {each.log} ends:\n{each.last_words()}")

    def wait_ready(self, processes: list[StartedProcess], timeout_s: float) -> None:
        """Until every one of `processes` has logged `ready`; Failed after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while waiting := [each for each in processes if not each.ready]:
            self.check()
            if time.monotonic() > deadline:
                names = ", ".join(each.name for each in waiting)
                raise Failed(f"not ready after {timeout_s:.0f} s: {names}; logs are in {self.logs}")
            time.sleep(0.05)

    def stop(self, grace_s: float = 10.0) -> None:
        """Ask all to stop, wait, and kill what does not."""
        for each in self.running:
            if each.process.poll() is None:
                each.process.terminate()
        deadline = time.monotonic() + grace_s
        for each in self.running:
            try:
                each.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                each.process.kill()
                each.process.wait()
        self.running.clear()
