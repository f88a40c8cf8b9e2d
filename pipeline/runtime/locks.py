"""One process at a time: a lock on a file that the kernel drops with its holder, however that ends."""

import fcntl
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import Failed

HOLDER = "{holder}"
"""Where a message names who holds the lock: `process 4711 on plant-3`."""
# How often a lock that is waited for is tried: nobody notices a twentieth of a second.
RETRY_S = 0.05
_MAX_HOLDER_BYTES = 200


@contextmanager
def exclusive(path: Path, wait_s: float, message: str) -> Iterator[int]:
    """Hold the lock of a file, which is made where there is none and stays; yields its descriptor.

    A process that inherits the descriptor holds the lock too, until it ends.

    Parameters
    ----------
    wait_s : how long to wait for another holder, 0 or more, `math.inf` too; then Failed with the message
    message : where, what is under way and what to do, with HOLDER for who it is
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        if not _locked(handle, wait_s):
            raise Failed(message.replace(HOLDER, _holder(handle)))
        os.truncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {os.uname().nodename}\n".encode(), 0)
        yield handle
    finally:
        os.close(handle)


def _locked(handle: int, wait_s: float) -> bool:
    if wait_s == math.inf:
        fcntl.flock(handle, fcntl.LOCK_EX)
        return True
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(RETRY_S)
        else:
            return True


def _holder(handle: int) -> str:
    """Who wrote the name of its process into the file: whoever holds the lock, or another one in the next moment."""
    name = os.pread(handle, _MAX_HOLDER_BYTES, 0).decode("utf-8", "replace").strip()
    return name or "another process"
