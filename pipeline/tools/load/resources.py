"""What a system's processes use: processor time and the most memory while a load runs, next to nothing at rest."""

import threading
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from pipeline.tools.system.identity import TICKS_PER_S, usage_of

EVERY_S = 1.0
LOOK_S = 0.5
REST_CORES = 0.2
"""Above what the processes used at their quietest: a system that waits takes a tenth of a core, with work left more."""
FIRST_LOOKS = 4
STAT = Path("/proc/stat")


class Resources:
    """Watches processes by name from `start` to `stop`; a process that ends meanwhile counts until then."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = dict(pids)
        self._first: dict[str, float] = {}
        self._cpu_s: dict[str, float] = {}
        self._rss_bytes: dict[str, int] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="resources", daemon=True)

    def start(self) -> None:
        """Watch from now on."""
        self._look()
        self._first = dict(self._cpu_s)
        self._thread.start()

    def stop(self, records: int) -> dict[str, Any]:
        """By process: CPU seconds, the same in microseconds for each of `records`, and the most RSS in MiB."""
        self._over.set()
        self._thread.join()
        self._look()
        used = {name: self._cpu_s[name] - before for name, before in self._first.items()}
        return {
            name: {
                "cpu_s": round(cpu_s, 2),
                "cpu_us_a_record": round(cpu_s * 1e6 / records, 2) if records else None,
                "rss_max_mib": round(self._rss_bytes.get(name, 0) / 2**20),
            }
            for name, cpu_s in used.items()
        }

    def _run(self) -> None:
        while not self._over.wait(EVERY_S):
            self._look()

    def _look(self) -> None:
        for name, pid in self._pids.items():
            usage = usage_of(pid, with_pss=False)
            if usage.cpu_s is not None:
                self._cpu_s[name] = usage.cpu_s
                self._rss_bytes[name] = max(self._rss_bytes.get(name, 0), usage.rss_bytes or 0)


class Rest:
    """Whether processes have anything left to do: at rest they use about as little as they did at their quietest."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = tuple(pids.values())
        self._quietest = min(self._cores() for _ in range(FIRST_LOOKS)) if pids else 0.0

    def wait(self, limit_s: float, stopped: Callable[[], bool] = lambda: False) -> bool:
        """Until they are at rest; False where they are not after so many seconds, or `stopped()`."""
        until_s = time.monotonic() + limit_s
        while self._pids and not stopped():
            cores = self._cores()
            self._quietest = min(self._quietest, cores)
            if cores <= self._quietest + REST_CORES:
                break
            if time.monotonic() > until_s:
                return False
        return not stopped()

    def _cores(self) -> float:
        """What all of them use over a moment; a process that has gone uses nothing."""
        before, since_s = _cpu_s(self._pids), time.monotonic()
        time.sleep(LOOK_S)
        return (_cpu_s(self._pids) - before) / (time.monotonic() - since_s)


class OtherWork:
    """What everything else on this machine uses beside some processes: figures are no better than it is little."""

    def __init__(self, pids: Collection[int]) -> None:
        self._pids = tuple(pids)
        self._since_s, self._before = time.monotonic(), self._others_s()

    def cores(self) -> float | None:
        """Cores in use by others since it was made; None where the system does not say."""
        now = self._others_s()
        if self._before is None or now is None:
            return None
        return max(0.0, (now - self._before) / (time.monotonic() - self._since_s))

    def _others_s(self) -> float | None:
        if not STAT.exists():
            return None
        ticks = [int(word) for word in STAT.read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]]
        busy = sum(ticks) - ticks[3] - ticks[4]  # neither idle nor waiting for a disk
        return busy / TICKS_PER_S - _cpu_s(self._pids)


def _cpu_s(pids: Collection[int]) -> float:
    """Processor time of processes so far; of one that has ended nothing."""
    return sum(usage_of(pid, with_pss=False).cpu_s or 0.0 for pid in pids)
