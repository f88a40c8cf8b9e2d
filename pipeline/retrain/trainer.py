"""Trainings in a process of their own, one at a time: the scheduled candidate, and calibrations fitted for sensors."""

import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any

import orjson

from pipeline.retrain import schedule
from pipeline.runtime.storage.location import StorageLike, open_storage

REPORT = "last-candidate.json"
STOP_WITHIN_S = 2.5
# A training takes what the stages leave of the processors: what is watched does not wait for what is learnt.
LOWEST_PRIORITY = 19


@dataclass(frozen=True, slots=True)
class Ended:
    """A training that has ended: its exit code and the JSON document it printed, empty where it printed none.

    scheduled: whether it was the candidate of the schedule.
    """

    exit_code: int
    document: Mapping[str, Any]
    scheduled: bool = True


class Trainer:
    """Starts `command` every `every_s` seconds of wall time (0: never); stores what it prints beside the samples."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], location: StorageLike, every_s: float, now_us: int
    ) -> None:
        self._command = list(command)
        self._environment = dict(environment)
        self._storage = open_storage(location, "samples")
        self._report: IO[bytes] | None = None
        self._every_us = round(every_s * 1e6)
        self._running: subprocess.Popen[bytes] | None = None
        self._scheduled = False
        self._last_us = schedule.last_us(self._storage, now_us) if self._every_us > 0 else now_us

    @property
    def due_us(self) -> int | None:
        """When the next training starts; None: never."""
        return self._last_us + self._every_us if self._every_us > 0 else None

    def tick(self, now_us: int, further: Callable[[], Sequence[str] | None] = lambda: None) -> Ended | None:
        """Start one when it is due; the one that has just ended.

        further : asked where nothing runs and nothing is due: the command of another training, or None.
        """
        if self._running is not None:
            return self._ended()
        if self.due_us is not None and now_us >= self.due_us:
            self._last_us = now_us
            schedule.record(self._storage, now_us)
            self._start(self._command, scheduled=True)
        elif (command := further()) is not None:
            self._start(command, scheduled=False)
        return None

    def _start(self, command: Sequence[str], scheduled: bool) -> None:
        self._scheduled = scheduled
        self._report = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the training
        self._running = subprocess.Popen(
            list(command), env=self._environment, stdin=subprocess.DEVNULL, stdout=self._report
        )
        with suppress(ProcessLookupError):  # it has ended already
            os.setpriority(os.PRIO_PROCESS, self._running.pid, LOWEST_PRIORITY)

    def _ended(self) -> Ended | None:
        code = self._running.poll() if self._running is not None else None
        if code is None:
            return None
        self._running = None
        report = self._printed()
        if self._scheduled:
            self._storage.replace(REPORT, report)
        lines = report.splitlines()
        try:
            document = orjson.loads(lines[-1]) if lines else {}
        except orjson.JSONDecodeError:  # it was ended while it printed
            document = {}
        return Ended(code, document, self._scheduled)

    def _printed(self) -> bytes:
        """What the training has printed; nothing more is read of it."""
        if self._report is None:
            return b""
        with self._report as report:
            report.seek(0)
            self._report = None
            return report.read()

    def stop(self) -> None:
        """End a training that is under way; nothing half-made is left in the registry."""
        if self._running is None:
            return
        self._running.terminate()
        try:
            self._running.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._running.kill()
            self._running.wait()
        self._running = None
        self._printed()
