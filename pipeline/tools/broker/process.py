"""Java processes of ours: started detached, known again by a mark in their command line, ended by pid."""

import os
import re
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from pipeline.settings import inherited_environment


def start(command: list[str], output: Path, keeps: int) -> int:
    """Start a process in a session of its own, its output to a file; returns its pid.

    In its own session a Ctrl-C in the terminal does not reach it. Not `subprocess.Popen`: that object belongs to the
    parent for as long as the child runs, and this child outlives its parent. `keeps` is a file descriptor that the
    process holds open, as its descriptor 3, until its end.
    """
    return os.posix_spawn(
        command[0],
        command,
        inherited_environment({}),
        setsid=True,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(output), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
            (os.POSIX_SPAWN_DUP2, keeps, 3),
        ],
    )


def is_ours(pid: int, mark: str) -> bool:
    """Whether the process lives and carries `mark` in its command line; a pid alone may have been reused."""
    _reap(pid)
    return mark in _command_line(pid)


def values_of(option: str) -> list[str]:
    """What this user's running processes carry behind `option` in their command lines: of "-Dx=" and `-Dx=5`, "5"."""
    if not Path("/proc/self").exists():
        command = ["ps", "-ww", "-U", str(os.getuid()), "-o", "command="]
        text = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        return re.findall(rf"{re.escape(option)}(.+?)(?= -|$)", text, re.MULTILINE)
    values = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended while we looked
            if folder.stat().st_uid == os.getuid():
                words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
                values += [word.removeprefix(option) for word in words if word.startswith(option)]
    return values


def stop(pid: int, mark: str, grace_s: float) -> bool:
    """End the process: SIGTERM, and SIGKILL after `grace_s`; True if it had to be killed. No-op if it is not ours."""
    if _signal(pid, mark, signal.SIGTERM) and _gone_within(pid, mark, grace_s):
        return False
    if _signal(pid, mark, signal.SIGKILL):
        _gone_within(pid, mark, 10.0)
        return True
    return False


def _signal(pid: int, mark: str, number: signal.Signals) -> bool:
    if not is_ours(pid, mark):
        return False
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _gone_within(pid: int, mark: str, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while is_ours(pid, mark):
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)
    return True


def _reap(pid: int) -> None:
    """Collect a dead child, or it stays in the table as long as we live; others' children are not ours to collect."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def _command_line(pid: int) -> str:
    """The process's command line; empty where there is no such process, or only a dead one."""
    if not Path("/proc/self").exists():
        command = ["ps", "-ww", "-o", "command=", "-p", str(pid)]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout
    folder = Path(f"/proc/{pid}")
    deadline = time.monotonic() + 1.0
    try:
        while True:
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            # Between a process's start and its first instruction the kernel shows an empty command line.
            if line or _is_dead(folder) or time.monotonic() >= deadline:
                return line
            time.sleep(0.002)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return ""


def _is_dead(folder: Path) -> bool:
    # The state letter follows the name, which is in parentheses and may itself hold any character.
    return (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[0] in ("Z", "X")
