"""What came of the calibrations fitted for sensors: beside the samples, the last one of each sensor."""

from collections.abc import Mapping
from typing import Any

import orjson

from pipeline.runtime.storage.location import StorageLike, open_storage

NAME = "fitted.json"
MAX_SENSORS = 4_096
"""Four times as many as may be active (256 in each of 4 partitions); beyond it the one tried longest ago is dropped."""
Record = Mapping[str, Any]


def records(location: StorageLike) -> dict[str, Record]:
    """By `site/sensor` the record of the last trial; none of what is no record."""
    try:
        read = orjson.loads(open_storage(location, "samples").read(NAME))
    except (FileNotFoundError, NotADirectoryError, orjson.JSONDecodeError):
        return {}
    if not isinstance(read, dict):
        return {}
    return {name: each for name, each in read.items() if isinstance(each, dict) and type(each.get("at_us")) is int}


def record(location: StorageLike, name: str, document: Record) -> None:
    """Put a trial on record; `at_us`, the event time up to which samples counted, is in it."""
    known = {**records(location), name: dict(document)}
    newest = sorted(known.items(), key=lambda item: (-int(item[1]["at_us"]), item[0]))[:MAX_SENSORS]
    open_storage(location, "samples").replace(NAME, orjson.dumps(dict(newest), option=orjson.OPT_SORT_KEYS))
