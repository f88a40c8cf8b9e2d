"""One process at a time in a broker's folder: one command that works on it, one broker that runs on it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.runtime.locks import HOLDER, exclusive


@contextmanager
def in_use(folder: Path) -> Iterator[int]:
    """A locked file descriptor for a process to inherit: the folder counts as in use until that process ends.

    Kafka itself does not notice a second broker on its folder; both write, and the messages are lost.
    """
    busy = (
        f"{folder}: a broker that state.json does not name runs on this folder, expected none; "
        f"find it with `ps -ef | grep {folder}`, end it by its pid, and try again"
    )
    with exclusive(folder / ".in-use", 0, busy) as descriptor:
        yield descriptor


@contextmanager
def folder_lock(folder: Path, wait_s: float) -> Iterator[None]:
    """Hold the folder's lock; another process that wants it waits up to `wait_s`, then gets Failed."""
    folder.mkdir(parents=True, exist_ok=True)
    busy = (
        f"{folder}: another forebay command ({HOLDER}) has worked on it for {wait_s:.0f} s; "
        "wait for it, or end it, and try again"
    )
    with exclusive(folder / ".lock", wait_s, busy):
        yield
