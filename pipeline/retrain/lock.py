"""One training at a time in a registry: a lock the operating system drops with its holder, however that ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import Failed

NAME = ".retrain.lock"


@contextmanager
def alone(registry: Path) -> Iterator[None]:
    """Hold the registry's lock; Failed at once where another process has it."""
    registry.mkdir(parents=True, exist_ok=True)
    with (registry / NAME).open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            holder = file.read(64).strip() or "unknown"
            raise Failed(
                f"{registry / NAME}: a candidate is being trained already (process {holder}); "
                "wait for it to end, or stop it"
            ) from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
