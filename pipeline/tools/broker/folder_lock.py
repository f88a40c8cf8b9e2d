"""One process at a time in a folder: an advisory lock that ends with the process that holds it."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import Failed


@contextmanager
def in_use(folder: Path) -> Iterator[int]:
    """A locked file descriptor for a process to inherit: the folder counts as in use until that process ends.

    Kafka itself does not notice a second broker on its folder; both write, and the messages are lost.
    """
    with (folder / ".in-use").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Failed(
                f"{folder}: a broker that state.json does not name runs on this folder, expected none; "
                f"find it with `ps -ef | grep {folder}`, end it by its pid, and try again"
            ) from error
        yield file.fileno()


@contextmanager
def folder_lock(folder: Path, wait_s: float) -> Iterator[None]:
    """Hold the folder's lock; another process that wants it waits up to `wait_s`, then gets Failed.

    The lock is the kernel's: a holder that is killed lets go, so there is nothing stale to clean up.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as file:
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= deadline:
                    raise Failed(
                        f"{folder}: another forebay command has worked on it for {wait_s:.0f} s; "
                        "wait for it, or end it, and try again"
                    ) from error
                time.sleep(0.05)
        yield
