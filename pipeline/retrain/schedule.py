"""When the next candidate is due: by the clock on the wall, which a restart does not set back."""

from pathlib import Path

import orjson

from pipeline.runtime.files import disk_full_as_failed, write_atomic

NAME = "schedule.json"


def last_us(folder: Path, now_us: int) -> int:
    """When the last scheduled training started; where none is on record, now, and that is put on record.

    So a worker that restarts again and again trains when it would have trained without restarts. A time ahead of the
    clock counts as now.
    """
    try:
        recorded = orjson.loads((folder / NAME).read_bytes())["last_us"]
    except (FileNotFoundError, orjson.JSONDecodeError, KeyError, TypeError):
        recorded = None
    if type(recorded) is not int or recorded > now_us:
        record(folder, now_us)
        return now_us
    return recorded


def record(folder: Path, at_us: int) -> None:
    """Put on record that a training starts: before it does, so that one that crashes is not tried without end."""
    with disk_full_as_failed("the schedule of trainings", folder):
        write_atomic(folder / NAME, orjson.dumps({"last_us": at_us}))
