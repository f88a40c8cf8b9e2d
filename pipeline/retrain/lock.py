"""One training at a time in a registry, and one of whatever else writes there."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.runtime.locks import HOLDER, exclusive
from pipeline.runtime.storage.location import StorageLike, local_folder, open_storage

NAME = ".retrain.lock"


@contextmanager
def alone(location: StorageLike, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the registry's lock; Failed where another process has it for longer than `wait_s`, by default at once.

    Of a registry in a bucket, the lock is this machine's: a training on another one wastes its work and harms nothing.
    """
    busy = f"a candidate is being trained already ({HOLDER}); wait for it to end, or stop it"
    with held(location, NAME, busy, wait_s):
        yield


@contextmanager
def held(location: StorageLike, name: str, busy: str, wait_s: float = 0.0) -> Iterator[None]:
    """Hold a lock of that name in the registry, or for one in a bucket beside it; Failed, saying `busy`, as above."""
    path = (local_folder(location) or _folder_of_locks(open_storage(location, "models").uri)) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(path, wait_s, f"{path}: {busy}"):
        yield


def _folder_of_locks(uri: str) -> Path:
    name = hashlib.sha256(uri.encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"forebay-{os.getuid()}" / name
