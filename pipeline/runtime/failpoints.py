"""Named points between the steps of every commit, at which a fault campaign makes a worker die.

A point does nothing unless the process was started with the setting `failpoint`. A name is its stage's and its step's:
`score.produced`. All there are stand in `loadtest/chaos/faults.toml`.
"""

import os
import signal
from dataclasses import dataclass
from threading import Lock

from pipeline.errors import Misconfigured


@dataclass(slots=True)
class _Armed:
    name: str
    left: int


_armed: _Armed | None = None
_lock = Lock()


def arm(setting: str) -> None:
    """Die by SIGKILL at the N-th time a point is reached: `NAME:N`; empty: never."""
    global _armed
    if not setting:
        _armed = None
        return
    name, _, count = setting.rpartition(":")
    if not name or not count.isdecimal() or int(count) < 1:
        raise Misconfigured(f"setting failpoint: got {setting!r}, expected NAME:N, as in score.produced:3")
    _armed = _Armed(name, int(count))


def reached(name: str) -> None:
    """Say that a step is done; the process ends here, at once, if it was started to."""
    if _armed is None or _armed.name != name:
        return
    with _lock:
        _armed.left -= 1
        if _armed.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
