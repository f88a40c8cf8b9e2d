"""Trainings of the tiny model that are killed, each at another place: `python -m tests.models.training.killed FOLDER`.

Every one is a process of its own (forked, so that torch is imported once) that ends by SIGKILL at its place; it begins
with what the one before it left.
"""

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from models.training.checkpoint import Checkpoint, Store
from models.training.stages import Stages
from models.training.train import key_of, train
from tests.models import tiny

ROWS = tiny.rows(count=1800)
ROWS = ROWS.take(np.isin(ROWS.label, ["normal", "login", "mitm"]))
STAGES = 9  # encoder, gan, network; encoder and network of the family and of each sensor left out
# While a stage is trained; between its two files; after it was kept.
PLACES = [f"{when} {number}" for number in range(1, STAGES + 1) for when in ("during", "amid", "after")]
PLACES = [place for place in PLACES if place.startswith("after") or place in ("during 1", "during 2", "amid 3")]
KEY = key_of(ROWS, tiny.FEATURES, tiny.CONFIG)


class Fatal(Store):
    """A store whose process ends at a place."""

    place = ""

    def write(self, number: int, stage: str, kept: Checkpoint) -> None:
        """Keep a stage, and die if this is the place."""
        if self.place == f"during {number}":
            _die()
        super().write(number, stage, kept)
        if self.place == f"after {number}":
            _die()

    def _replace(self, name: str, content: bytes) -> None:
        if f"{self.place}.json" == f"amid {name.lstrip('0')}":
            _die()
        super()._replace(name, content)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _train(folder: Path, place: str) -> None:
    store = Fatal(folder / KEY, KEY)
    store.place = place
    with store.alone():
        train(ROWS, tiny.FEATURES, tiny.CONFIG, stages=Stages(store=store))


def _kill(run: Callable[[], None]) -> int:
    """Run in a forked process; the signal it ended by."""
    process = os.fork()
    if process == 0:
        run()
        os._exit(0)
    return os.WTERMSIG(os.waitpid(process, 0)[1])


if __name__ == "__main__":
    before = Path(sys.argv[1])
    for place in PLACES:
        folder = Path(sys.argv[1]) / place
        if before.name in PLACES:
            shutil.copytree(before, folder)
        before = folder
        ended_by = _kill(lambda folder=folder: _train(folder, folder.name))  # type: ignore[misc]
        assert ended_by == signal.SIGKILL, place
