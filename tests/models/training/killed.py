"""Trainings of the tiny model that are killed, each at another point: `python -m tests.models.training.killed FOLDER`.

Each training is its own process (forked, so that torch is imported once) that ends by SIGKILL at its kill point. It
starts with the stages that the training before it left.
"""

import os
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from models.training.checkpoint import Checkpoint, Store
from models.training.stages import Stages
from models.training.train import key_of, train
from tests.models import tiny

ROWS = tiny.rows(count=1800)
ROWS = ROWS.take(np.isin(ROWS.label, ["normal", "login", "mitm", "portscan"]))
CONFIG = replace(tiny.CONFIG, augmentation="gan")  # so that every kind of stage is among them
STAGES = 11  # four folds of the choice; encoder, gan, network; two families and two sensors left out
# "during": while a stage is trained; "amid": between its two files; "after": after it was stored.
KILL_POINTS = [f"{when} {number}" for number in range(1, STAGES + 1) for when in ("during", "amid", "after")]
KILL_POINTS = [
    kill_point
    for kill_point in KILL_POINTS
    if kill_point.startswith("after") or kill_point in ("during 1", "during 2", "amid 3")
]
KEY = key_of(ROWS, tiny.FEATURES, CONFIG)


class Fatal(Store):
    """A store that kills its process at a kill point."""

    kill_point = ""

    def write(self, number: int, stage: str, stored: Checkpoint) -> None:
        """Store a stage, and die if this is the kill point."""
        if self.kill_point == f"during {number}":
            _die()
        super().write(number, stage, stored)
        if self.kill_point == f"after {number}":
            _die()

    def _replace(self, name: str, content: bytes) -> None:
        if f"{self.kill_point}.json" == f"amid {name.lstrip('0')}":
            _die()
        super()._replace(name, content)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _train(folder: Path, kill_point: str) -> None:
    store = Fatal(folder / KEY, KEY)
    store.kill_point = kill_point
    with store.alone():
        train(ROWS, tiny.FEATURES, CONFIG, stages=Stages(store=store))


def _kill(run: Callable[[], None]) -> int:
    """Run in a forked process; the signal it ended by."""
    process = os.fork()
    if process == 0:
        run()
        os._exit(0)
    return os.WTERMSIG(os.waitpid(process, 0)[1])


if __name__ == "__main__":
    before = Path(sys.argv[1])
    for kill_point in KILL_POINTS:
        folder = Path(sys.argv[1]) / kill_point
        if before.name in KILL_POINTS:
            shutil.copytree(before, folder)
        before = folder
        ended_by = _kill(lambda folder=folder: _train(folder, folder.name))  # type: ignore[misc]
        assert ended_by == signal.SIGKILL, kill_point
