"""One training at a time in a registry."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.runtime.locks import HOLDER, exclusive

NAME = ".retrain.lock"


@contextmanager
def alone(registry: Path) -> Iterator[None]:
    """Hold the registry's lock; Failed at once where another process has it."""
    registry.mkdir(parents=True, exist_ok=True)
    busy = f"{registry / NAME}: a candidate is being trained already ({HOLDER}); wait for it to end, or stop it"
    with exclusive(registry / NAME, 0, busy):
        yield
