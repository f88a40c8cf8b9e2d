"""How a worker's process comes into being: forked from the supervisor, which has imported all modules, or started anew.

Imports are most of an idle worker's memory. Forked workers share those of the supervisor, and are up in a moment.
Forking a process of several threads may leave a lock held for ever in the child; so it is done only on Linux and
while the supervisor has one thread. Else every worker is an interpreter of its own, and costs more memory.
"""

import ctypes
import importlib
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NoReturn, Protocol

from pipeline.runtime import collector
from pipeline.runtime.terminal import printable
from pipeline.settings import change_environment, inherited_environment
from pipeline.tools.processes import die_with_parent
from pipeline.tools.system.worker_table import WorkerRow

PR_SET_NAME = 15
# Fields of /proc/self/stat: where the command line lies in memory (proc(5)), counted from field 3.
ARGUMENTS_START, ARGUMENTS_END = 48 - 3, 49 - 3


class Process(Protocol):
    """A child process, however it was started."""

    pid: int

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""


class Forked:
    """A child that was forked."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._exit_code: int | None = None

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        if self._exit_code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._exit_code = os.waitstatus_to_exitcode(status)
        return self._exit_code


def preload(rows: Iterable[WorkerRow]) -> None:
    """Import what the workers import; what is not installed is for the worker to complain about."""
    for row in rows:
        for name in (row.main_module, *row.imports):
            with suppress(ModuleNotFoundError):
                importlib.import_module(name)
    collector.freeze_loaded()


def can_fork() -> bool:
    """Whether this process may be forked safely: on Linux, with one thread."""
    if sys.platform != "linux":
        return False
    threads = len(list(Path("/proc/self/task").iterdir()))
    return threads == 1


def start(row: WorkerRow, environment: Mapping[str, str], log: int, inherited: Iterable[int]) -> Process:
    """Start a worker, its output into `log`; a forked one closes the descriptors `inherited`."""
    if not can_fork():
        return _start_anew(row, environment, log)
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(row, environment, log, inherited, parent)
    return Forked(pid)


def _start_anew(row: WorkerRow, environment: Mapping[str, str], log: int) -> Process:
    return subprocess.Popen(
        [sys.executable, "-m", row.module, *row.arguments],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env=inherited_environment(environment),
        start_new_session=True,
        preexec_fn=die_with_parent,
    )


def _become(
    row: WorkerRow, environment: Mapping[str, str], log: int, inherited: Iterable[int], parent: int
) -> NoReturn:
    """Be the worker, in the child; never returns into the supervisor's code."""
    code = 1
    try:
        _leave_parent(log, inherited, parent)
        change_environment(environment)
        sys.argv = ["forebay", *row.arguments]
        # What starts the process anew in place (pipeline/runtime/kafka/watchdog.py) starts the worker by it.
        sys.orig_argv = [sys.executable, "-m", row.module, *row.arguments]
        _set_title(f"forebay {row.name}")
        importlib.import_module(row.main_module).main()
        code = 0
    except SystemExit as leaving:
        code = _exit_code(leaving)
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        # No exit handlers: those of the supervisor are not ours. A worker closes what it opened before it returns.
        os._exit(code)


def _leave_parent(log: int, inherited: Iterable[int], parent: int) -> None:
    """Session, signals and descriptors of its own."""
    die_with_parent()
    if os.getppid() != parent:
        os._exit(1)  # it died before the kernel knew that we follow it
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    os.setsid()
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    for descriptor in {null, log, *inherited} - {0, 1, 2}:
        os.close(descriptor)


def _exit_code(leaving: SystemExit) -> int:
    if leaving.code is None:
        return 0
    if isinstance(leaving.code, int):
        return leaving.code & 0xFF
    sys.stderr.write(f"{printable(str(leaving.code))}\n")
    return 1


def _set_title(title: str) -> None:
    """Show the worker under its name in `ps` and `top`, not under its parent's command line."""
    with suppress(OSError, AttributeError, ValueError, IndexError):
        library = ctypes.CDLL(None)
        library.prctl(PR_SET_NAME, title.replace("forebay ", "fb-").encode()[:15], 0, 0, 0)
        fields = Path("/proc/self/stat").read_text(errors="replace").rpartition(")")[2].split()
        first, end = int(fields[ARGUMENTS_START]), int(fields[ARGUMENTS_END])
        if 0 < first < end:
            ctypes.memset(first, 0, end - first)
            ctypes.memmove(first, title.encode()[: end - first - 1], min(len(title), end - first - 1))
