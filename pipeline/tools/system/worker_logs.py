"""Logs of workers: files that are appended to, bounded, and read for the last error."""

import os
from contextlib import suppress
from pathlib import Path

import orjson

from pipeline.runtime.terminal import printable

# A worker logs one line a thing to act on: this is months. With the older ones a worker takes 20 MB at most.
MAX_BYTES = 5_000_000
OLDER_FILES = 3
# A traceback of some depth fits.
TAIL_BYTES = 65_536
MAX_ERROR_CHARACTERS = 600
ERROR = "error: "


def log_path(folder: Path, name: str) -> Path:
    """Where a worker's log lies."""
    return folder / f"{name}.log"


def open_to_append(path: Path) -> int:
    """A descriptor to write the log through: every write goes to the end, also after the file was cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)


def close(log: int) -> None:
    """Leave the log to the process that was started with it."""
    os.close(log)


def size_of(path: Path) -> int:
    """Its bytes; 0 where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def rotate(path: Path, max_bytes: int = MAX_BYTES) -> bool:
    """Copy a log that has grown too long to `NAME.log.1` and cut it; the oldest copy goes. Whether it did.

    Its writer holds the file open, so the file stays and is emptied: what is written between copy and cut is lost,
    some microseconds in months.
    """
    if size_of(path) <= max_bytes:
        return False
    for number in range(OLDER_FILES, 1, -1):
        with suppress(FileNotFoundError):
            older(path, number - 1).replace(older(path, number))
    with path.open("rb+") as source, older(path, 1).open("wb") as target:
        while block := source.read(1 << 20):
            target.write(block)
        source.truncate(0)
    return True


def older(path: Path, number: int) -> Path:
    """An older part of a log; 1 is the newest."""
    return path.with_name(f"{path.name}.{number}")


def tail(path: Path, start: int = 0) -> str:
    """The end of the log, of what was written from byte `start` on; all of it where it was cut since."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            first = start if start <= size else 0
            file.seek(max(first, size - TAIL_BYTES))
            return file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""


def last_error(text: str) -> str:
    """The last error in a log, as one line that is safe to show; empty where there is none."""
    for line in reversed(text.splitlines()):
        found = _error_in(line.strip())
        if found:
            return printable(found, MAX_ERROR_CHARACTERS)
    return ""


def _error_in(line: str) -> str:
    if line.startswith(ERROR):
        return line.removeprefix(ERROR)
    if line.startswith("{"):
        try:
            entry = orjson.loads(line)
        except orjson.JSONDecodeError:
            return ""
        if isinstance(entry, dict) and entry.get("level") in ("error", "critical"):
            return " ".join(str(entry[name]) for name in ("event", "error") if entry.get(name))
        return ""
    # The last line of a traceback: `ValueError: what was wrong`.
    name, colon, _ = line.partition(": ")
    is_exception = bool(colon) and name.replace(".", "").isidentifier() and name.rpartition(".")[2].endswith("Error")
    return line if is_exception else ""
