"""When the next candidate is due: by the clock on the wall, which a restart does not set back."""

import orjson

from pipeline.runtime.storage.location import StorageLike, open_storage

NAME = "schedule.json"


def last_us(location: StorageLike, now_us: int) -> int:
    """When the last scheduled training started; where none is on record, now, and that is put on record.

    So a worker that restarts again and again trains when it would have trained without restarts. A time ahead of the
    clock counts as now.
    """
    try:
        recorded = orjson.loads(open_storage(location, "samples").read(NAME))["last_us"]
    except (FileNotFoundError, orjson.JSONDecodeError, KeyError, TypeError):
        recorded = None
    if type(recorded) is not int or recorded > now_us:
        record(location, now_us)
        return now_us
    return recorded


def record(location: StorageLike, at_us: int) -> None:
    """Put on record that a training starts: before it does, so that one that crashes is not tried without end."""
    open_storage(location, "the schedule of trainings in").replace(NAME, orjson.dumps({"last_us": at_us}))
