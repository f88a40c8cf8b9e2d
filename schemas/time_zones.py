"""Time zones by their names in the IANA database, as settings, headers and options give them."""

from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

EXPECTED_ZONE = "a time zone such as Europe/Vienna, by its name in the IANA database"
MAX_ZONE_BYTES = 64
# What the database's folder holds besides: zones that are another one on each machine, or count leap seconds.
_NOT_THE_SAME_EVERYWHERE = ("localtime", "posixrules", "Factory", "posix/", "right/")


@lru_cache(1_024)
def is_time_zone(name: str) -> bool:
    """Whether a text names a time zone that means the same on every machine."""
    if len(name) > MAX_ZONE_BYTES or name.startswith(_NOT_THE_SAME_EVERYWHERE):
        return False
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
