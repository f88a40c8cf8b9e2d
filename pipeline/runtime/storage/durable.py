"""Writing so that it stays written: temp file, fsync, then a name of its own that nobody else had."""

import hashlib
import os
import secrets
from pathlib import Path

from pipeline.errors import RefusedState
from pipeline.runtime.storage.storage import NameTaken


def make_folder(folder: Path) -> None:
    """Create a folder and its parents, and make their names durable."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for one in reversed(missing):
        one.mkdir(exist_ok=True)
        sync_folder(one.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_synced(path: Path, data: bytes | memoryview) -> None:
    """Write a new file and make its bytes durable; a file that could not be written whole is removed."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
    try:
        left = memoryview(data)
        while len(left):
            left = left[os.write(handle, left) :]
        os.fsync(handle)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)


def link_if_absent(temp: Path, final: Path, sha256: str) -> None:
    """Give a written file its final name, which must be free, or hold the same bytes already.

    A name is never taken over: a writer that was declared dead and woke up cannot change a file that a manifest lists.
    The name is durable once the caller has synced the folder.
    """
    make_folder(final.parent)
    try:
        final.hardlink_to(temp)
    except FileExistsError:
        with final.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != sha256:
            raise NameTaken(
                f"{final}: exists with other content; another writer is at work on this archive: stop it and start "
                f"again"
            ) from None
        _sync_file(final)
    except FileNotFoundError:
        raise RefusedState(f"{temp}: gone; another writer has taken this partition over, this one stops") from None
    temp.unlink(missing_ok=True)


def _sync_file(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def create_exclusively(path: Path, data: bytes) -> bool:
    """Create a file whole and durable, or not at all; False where the name is taken."""
    make_folder(path.parent)
    temp = path.parent / f".{path.name}.{secrets.token_hex(8)}"
    try:
        write_synced(temp, data)
        try:
            path.hardlink_to(temp)
        except FileExistsError:
            return False
        sync_folder(path.parent)
        return True
    finally:
        temp.unlink(missing_ok=True)
