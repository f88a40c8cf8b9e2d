"""Which process is meant: a pid alone may have been reused, so its start is part of its identity."""

import os
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
# Fields of /proc/PID/stat (proc(5)), counted from the one behind the name in parentheses, which is field 3.
STATE, USER_TICKS, SYSTEM_TICKS, START_TICKS, RSS_PAGES = 3 - 3, 14 - 3, 15 - 3, 22 - 3, 24 - 3
DEAD = ("Z", "X")


@dataclass(frozen=True, slots=True)
class Identity:
    """A process: its pid, and when it was started, as the system says it."""

    pid: int
    started: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process uses; None where the system does not say."""

    rss_bytes: int | None
    pss_bytes: int | None
    cpu_s: float | None


def identity_of(pid: int) -> Identity | None:
    """The identity of a living process; None where there is none, or only a dead one nobody has collected."""
    if (PROC / "self").exists():
        fields = _stat(pid)
        if fields is None or fields[STATE] in DEAD:
            return None
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
        return Identity(pid, f"{boot}/{fields[START_TICKS]}")
    command = ["ps", "-o", "lstart=", "-p", str(pid)]
    started = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return Identity(pid, started) if started else None


def is_alive(process: Identity) -> bool:
    """Whether the very process lives, not another one that has got its pid."""
    return identity_of(process.pid) == process


def send_signal(process: Identity, number: int) -> bool:
    """Send a signal to the very process; False where it is gone. Never reaches another one with the same pid."""
    if not hasattr(signal, "pidfd_send_signal"):
        if not is_alive(process):
            return False
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)
        return True
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        # Whoever the handle names can be replaced by nobody else: looked at after it was opened.
        if not is_alive(process):
            return False
        signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)
    return True


def usage_of(pid: int, with_pss: bool = True) -> Usage:
    """Memory and processor time of a process, from /proc: PSS counts memory that several share in parts.

    Without PSS the kernel does not go through the process's pages: that takes milliseconds, in which it waits.
    """
    fields = _stat(pid)
    if fields is None:
        return Usage(None, None, None)
    cpu_s = (int(fields[USER_TICKS]) + int(fields[SYSTEM_TICKS])) / TICKS_PER_S
    if not with_pss:
        return Usage(int(fields[RSS_PAGES]) * PAGE_BYTES, None, cpu_s)
    rss = pss = None
    with suppress(OSError, ValueError, IndexError):
        for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Rss:"):
                rss = int(line.split()[1]) * 1024
            elif line.startswith("Pss:"):
                pss = int(line.split()[1]) * 1024
    return Usage(rss, pss, cpu_s)


def _stat(pid: int) -> list[str] | None:
    try:
        text = (PROC / str(pid) / "stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    # The name stands in parentheses and may itself hold any character.
    return text.rpartition(")")[2].split()
