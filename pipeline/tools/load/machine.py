"""What a run was measured on: without that no figure says anything."""

import os
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

MEMORY = Path("/proc/meminfo")
QUIET_LOAD = 0.5
"""A load of no more before a run is not worth a word."""


def machine() -> dict[str, Any]:
    """Cores this process may use, memory, the load of the minute before, versions, and when."""
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": _memory_gib(),
        "load_before": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "forebay": version("forebay"),
        "started_us": time.time_ns() // 1000,
    }


def said_load(load_before: float) -> str:
    """The load of the minute before a run, as a sentence's end; empty where there was little.

    Whether that work went on beside the run it does not say: it may have been the bench before it.
    """
    return f", load {load_before:g} in the minute before" if load_before > QUIET_LOAD else ""


def _memory_gib() -> float | None:
    """The machine's memory; None where the system does not say."""
    if not MEMORY.exists():
        return None
    for line in MEMORY.read_text(encoding="ascii").splitlines():
        if line.startswith("MemTotal:"):
            return round(int(line.split()[1]) / 2**20, 1)
    return None
