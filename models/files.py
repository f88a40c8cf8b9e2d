"""Files that are there whole or not at all, and durable: what pipeline/runtime/files.py is to those above.

Models import nothing of the pipeline, and schemas hold tables alone, so this much stands here a second time.
"""

import os
import secrets
from pathlib import Path

UNFINISHED = ".unfinished-"
"""The name prefix of a file that is being written, or whose writer died."""


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file whole, replacing any file of that name; bytes and name are on the disk when this returns.

    Makes the folder if need be.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{UNFINISHED}{os.getpid()}-{secrets.token_hex(8)}-{path.name[:40]}")
    try:
        with unfinished.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: the folder is a file of its own."""
    sync_file(folder)


def sync_file(path: Path) -> None:
    """Make the bytes of a file durable that somebody else wrote."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
