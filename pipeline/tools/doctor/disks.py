"""Whether the disks below our folders have room: a row for each disk, however many folders lie on it."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from pipeline.tools.doctor.findings import Finding

DISK_WARN_BYTES = 2_000_000_000
DISK_FAIL_BYTES = 200_000_000


def disks(folders: Mapping[str, Path]) -> list[Finding]:
    """Free space of each disk; `folders`: what lies where."""
    by_disk: dict[int, list[tuple[str, Path]]] = {}
    for name, folder in folders.items():
        there = existing(folder)
        by_disk.setdefault(there.stat().st_dev, []).append((name, there))
    return [disk(", ".join(name for name, _ in placed), placed[0][1]) for placed in by_disk.values()]


def disk(names: str, there: Path) -> Finding:
    """Free space where these lie."""
    free = shutil.disk_usage(there).free
    verdict = "fail" if free < DISK_FAIL_BYTES else "warn" if free < DISK_WARN_BYTES else "ok"
    found = f"{free / 1e9:.1f} GB free at {there} ({names})"
    if verdict == "ok":
        return Finding("disk", "ok", found)
    remedy = "free some (`forebay archive retain`), or move what lies there to another disk (`forebay config show`)"
    return Finding("disk", verdict, found, remedy, f"{DISK_WARN_BYTES / 1e9:.0f} GB")


def existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return next(above for above in (folder.absolute(), *folder.absolute().parents) if above.exists())
