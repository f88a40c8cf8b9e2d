"""Files that are there whole or not at all, durable where that is asked for; a full disk is said clearly.

A file is written in its folder under a name with UNFINISHED, then takes its name in one step: `write_atomic`
replaces what has the name, `create_exclusive` never does. After a kill there is the old file or the new one, and
perhaps an unfinished one, which no reader looks at. Durable: the bytes and the name survive a power cut.
"""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import Failed

UNFINISHED = ".unfinished-"
"""How the name of a file begins that is being written, or whose writer died."""
DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# A file name has at most 255 bytes; of a longer one so much is left in the name of its unfinished file.
NAME_CHARACTERS = 40


@contextmanager
def disk_full_as_failed(what: str, folder: Path) -> Iterator[None]:
    """Turn a full disk into Failed with its remedy; `what` is being written: archive, state."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise Failed(
            f"{what} {folder}: disk full, cannot write ({os.strerror(error.errno or 0)}); free some space and start "
            "again: nothing was lost, the position has not moved"
        ) from error


def write_atomic(path: Path, data: bytes | memoryview, durable: bool = True) -> None:
    """Write a file whole and replace one that has the name; makes its folder if need be.

    Parameters
    ----------
    durable : wait until bytes and name are on the disk. Without it a power cut, not a kill, may leave an empty file:
        for what is made anew from its input.
    """
    make_folder(path.parent, durable)
    unfinished = _unfinished(path)
    try:
        _write_new(unfinished, data, 0o666, durable)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


def create_exclusive(path: Path, data: bytes | memoryview) -> bool:
    """Create a file whole and durable, or not at all; False where the name is taken."""
    make_folder(path.parent)
    unfinished = _unfinished(path)
    try:
        write_new(unfinished, data)
        try:
            path.hardlink_to(unfinished)
        except FileExistsError:
            return False
        sync_folder(path.parent)
        return True
    finally:
        unfinished.unlink(missing_ok=True)


def write_new(path: Path, data: bytes | memoryview) -> None:
    """Write a file that must not exist and make its bytes durable; one that could not be written whole is removed.

    Its name is durable after `sync_folder`.
    """
    _write_new(path, data, 0o640, durable=True)


def _write_new(path: Path, data: bytes | memoryview, mode: int, durable: bool) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        left = memoryview(data)
        while len(left):
            left = left[os.write(handle, left) :]
        if durable:
            os.fsync(handle)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)


def _unfinished(path: Path) -> Path:
    """A name beside it that nobody else writes to."""
    return path.with_name(f"{UNFINISHED}{os.getpid()}-{secrets.token_hex(8)}-{path.name[:NAME_CHARACTERS]}")


def make_folder(folder: Path, durable: bool = True) -> list[Path]:
    """Create a folder and its parents, and make their names durable; returns those that were missing."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for each in reversed(missing):
        each.mkdir(exist_ok=True)
        if durable:
            sync_folder(each.parent)
    return missing


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: the folder is a file of its own."""
    _sync(folder, os.O_DIRECTORY)


def sync_file(path: Path) -> None:
    """Make the bytes of a file durable that is written already."""
    _sync(path, 0)


def _sync(path: Path, flags: int) -> None:
    handle = os.open(path, os.O_RDONLY | flags | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
