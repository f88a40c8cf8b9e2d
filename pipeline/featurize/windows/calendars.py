"""Which calendar each flow falls under, by its end: so that each has a baseline of its own."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from schemas.calendars import Calendar

ORDINARY = ""
"""The name of what falls under no calendar."""
_MINUTE_US = 60_000_000
_LAST_S = 250_000_000_000  # the year 9892: beyond what `datetime` knows, nothing has a name

Ints = npt.NDArray[np.int64]


class Calendars:
    """The calendars of all sites, in their order."""

    def __init__(self, calendars: Sequence[Calendar] = ()) -> None:
        self.names: tuple[str, ...] = (ORDINARY, *dict.fromkeys(calendar.name for calendar in calendars))
        self._calendars = tuple(calendars)
        # A minute of a site is asked once for each message, and each message is of the same few minutes.
        self._at = lru_cache(maxsize=16_384)(self._of_minute)

    def of(self, site: str, end_us: Ints) -> Ints | None:
        """(n,) number in `names` of the calendar each end time falls under; None where the site has none."""
        if not any(self._concerns(calendar, site) for calendar in self._calendars):
            return None
        minutes, which = np.unique(end_us // _MINUTE_US, return_inverse=True)
        calendar_at = np.array([self._at(site, minute) for minute in minutes.tolist()], np.int64)
        numbers: Ints = calendar_at[which]
        return numbers

    @staticmethod
    def _concerns(calendar: Calendar, site: str) -> bool:
        return not calendar.sites or site in calendar.sites

    def _of_minute(self, site: str, minute: int) -> int:
        if minute * 60 >= _LAST_S:
            return 0
        at = datetime.fromtimestamp(minute * 60, UTC)
        for calendar in self._calendars:
            local = at.astimezone(ZoneInfo(calendar.zone)).replace(tzinfo=None)
            if self._concerns(calendar, site) and calendar.holds(local):
                return self.names.index(calendar.name)
        return 0


NO_CALENDARS = Calendars()
