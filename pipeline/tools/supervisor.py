"""The rooms as processes of their own: started, waited for, stopped, and gone afterwards."""

import ctypes
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.errors import Failed
from pipeline.settings import inherited_environment

ROOMS = ("ingest", "featurize", "score", "alert", "archive", "retrain")
READY = '"event": "ready"'
PR_SET_PDEATHSIG = 1
CLI = ("-m", "pipeline.tools.cli")


def _die_with_parent() -> None:
    """Linux: the kernel ends this child when the demo dies, even by SIGKILL. Elsewhere the demo's own stop must do."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _within(file_bytes: int | None) -> Callable[[], None]:
    """What a child does before it begins: no file of its may grow beyond so many bytes."""

    def begin() -> None:
        _die_with_parent()
        if file_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))

    return begin


@dataclass(slots=True)
class Room:
    """A running process, where it logs, and what it printed as its last stdout line."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    out: Path

    @property
    def ready(self) -> bool:
        """Whether the process has said that it is."""
        return READY in self.log.read_text(encoding="utf-8", errors="replace")

    def last_words(self) -> str:
        """The end of its log, for an error message."""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-12:])


@dataclass(slots=True)
class Processes:
    """Every process of one run; `stop` ends them all."""

    logs: Path
    environment: Mapping[str, str]
    running: list[Room] = field(default_factory=list)

    def start(
        self,
        name: str,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        file_bytes: int | None = None,
        program: Sequence[str] = CLI,
    ) -> Room:
        """Start `forebay ARGUMENTS` with its log in `<name>.log`; the thread that starts it must outlive it.

        environment: beside that of all; file_bytes: no file of its may grow beyond; program: what runs in place of
        `forebay`.
        """
        log, out = self.logs / f"{name}.log", self.logs / f"{name}.out"
        with log.open("wb") as errors, out.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, *program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                env=inherited_environment({**self.environment, **(environment or {})}),
                # Its own session: Ctrl-C reaches the demo alone, which then lets the rooms finish in order.
                start_new_session=True,
                preexec_fn=_within(file_bytes),
            )
        room = Room(name, process, log, out)
        self.running.append(room)
        return room

    def check(self) -> None:
        """Failed, with the end of its log, where a process has ended that should not have."""
        for room in self.running:
            code = room.process.poll()
            if code not in (None, 0):
                raise Failed(f"{room.name} ended with {code}; its log {room.log} ends:\n{room.last_words()}")

    def wait_ready(self, rooms: list[Room], timeout_s: float) -> None:
        """Until every one of `rooms` has said so; Failed after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while waiting := [room for room in rooms if not room.ready]:
            self.check()
            if time.monotonic() > deadline:
                names = ", ".join(room.name for room in waiting)
                raise Failed(f"not ready after {timeout_s:.0f} s: {names}; logs are in {self.logs}")
            time.sleep(0.05)

    def stop(self, grace_s: float = 10.0) -> None:
        """Ask all to stop, wait, and kill what does not."""
        for room in self.running:
            if room.process.poll() is None:
                room.process.terminate()
        deadline = time.monotonic() + grace_s
        for room in self.running:
            try:
                room.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                room.process.kill()
                room.process.wait()
        self.running.clear()
