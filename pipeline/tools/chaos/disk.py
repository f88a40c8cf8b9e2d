"""A small file system of a round's own, to be filled to its last byte: tmpfs, where this process may mount one."""

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SIZE_MIB = 768
CHUNKS = (1024 * 1024, 4096, 1)
FILLER = "filler"


@contextmanager
def mounted(folder: Path) -> Iterator[bool]:
    """Mount a tmpfs on the folder while the context lasts; False where that is not allowed, and it is a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    unmount(folder)  # a campaign that was killed leaves its mount behind
    asked = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "forebay-chaos", str(folder)]
    try:
        done = subprocess.run(asked, capture_output=True, check=False).returncode == 0
    except OSError:
        done = False
    try:
        yield done
    finally:
        if done:
            unmount(folder)


def unmount(folder: Path) -> None:
    """Take away what is mounted on the folder, if anything is; what still uses it keeps it until it ends."""
    if os.path.ismount(folder):
        subprocess.run(["umount", "--lazy", str(folder)], capture_output=True, check=False)


def fill(folder: Path) -> Path:
    """Fill the folder's file system; the file that does, to be deleted."""
    path = folder / FILLER
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        for size in CHUNKS:
            chunk = bytes(size)
            while _written(handle, chunk):
                continue
    finally:
        os.close(handle)
    return path


def _written(handle: int, chunk: bytes) -> bool:
    try:
        return os.write(handle, chunk) == len(chunk)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False
