"""What the supervisor says: JSON lines into its log, and sentences to a person at a terminal."""

import os
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import orjson

from pipeline.runtime.terminal import printable
from pipeline.tools.system import worker_logs


class Events:
    """Writes each event into the log, and to stderr: as a sentence to a terminal, else as the same line."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self._descriptor = worker_logs.open_to_append(log)
        self._started = time.monotonic()
        # Detached, stderr is the log itself.
        self._stderr = not os.path.sameopenfile(self._descriptor, 2)
        self._people = self._stderr and os.isatty(2)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What a child must close."""
        return (self._descriptor,)

    def say(self, event: str, **facts: object) -> None:
        """Write one event; where the disk is full or the terminal gone, it is not said, and everything runs on."""
        entry = {"event": event, "stage": "up", "timestamp": datetime.now(UTC).isoformat(), **facts}
        line = orjson.dumps(entry, option=orjson.OPT_SORT_KEYS) + b"\n"
        with suppress(OSError):
            os.write(self._descriptor, line)
        said = f"{time.monotonic() - self._started:6.1f} s  {sentence(event, facts)}\n".encode()
        with suppress(OSError):
            if self._stderr:
                os.write(2, said if self._people else line)


def sentence(event: str, facts: dict[str, object]) -> str:
    """An event as a person reads it: who, what, and the facts."""
    others = {name: value for name, value in facts.items() if name != "worker"}
    who = f"{facts['worker']}: " if "worker" in facts else ""
    listed = ", ".join(f"{name} {value}" for name, value in others.items())
    return printable(f"{who}{event}{f' ({listed})' if listed else ''}")
