"""What a system's processes use while a load runs: processor time, and the most memory."""

import threading
from collections.abc import Mapping
from typing import Any

from pipeline.tools.system.identity import usage_of

EVERY_S = 1.0


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
            usage = usage_of(pid)
            if usage.cpu_s is not None:
                self._cpu_s[name] = usage.cpu_s
                self._rss_bytes[name] = max(self._rss_bytes.get(name, 0), usage.rss_bytes or 0)
