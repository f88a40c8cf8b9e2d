"""What a run was measured on: without that no figure says anything."""

import os
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

MEMORY = Path("/proc/meminfo")
BUSY_LOAD = 0.5
"""With a higher load before a run something else was running."""


def machine() -> dict[str, Any]:
    """Cores this process may use, memory, load by whatever runs already, versions, and when."""
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": _memory_gib(),
        "load_before": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "forebay": version("forebay"),
        "started_us": time.time_ns() // 1000,
    }


def other_work(load_before: float) -> str:
    """That something else was running before a run, as a sentence's end; empty where nothing was."""
    return f", other work beside (load {load_before:g})" if load_before > BUSY_LOAD else ""


def _memory_gib() -> float | None:
    """The machine's memory; None where the system does not say."""
    if not MEMORY.exists():
        return None
    for line in MEMORY.read_text(encoding="ascii").splitlines():
        if line.startswith("MemTotal:"):
            return round(int(line.split()[1]) / 2**20, 1)
    return None
