"""Times that are written without an offset, read in the zone of who wrote them.

When clocks are put back, an hour's local times come twice, and when they are put forward, an hour has none:

    Europe/Vienna      local time   is
    27 October 2024    02:30        00:30 UTC or 01:30 UTC   the later one, unless the message was sent before it
    31 March 2024      02:30        01:30 UTC                as if clocks had not been put forward yet
"""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from pipeline.ingest.compiled import compiled
from pipeline.ingest.scan.cells import Bytes, Ints, LocalClock
from pipeline.ingest.scan.scalars import OK, Statuses

# A sensor's clock may be so far ahead of the one that stamps messages: as for the quality word `clock`.
AHEAD_US = 300_000_000
# A message that was sent so long after the later meaning of its times does not tell which one is meant.
HOUR_US = 3_600_000_000
_MINUTE_US = 60_000_000
_MICROSECOND = timedelta(microseconds=1)
# Of times before and after, which are rejects, the offset does not matter.
_FIRST_MINUTE = -2 * 1_440
_LAST_MINUTE = int((datetime(9999, 12, 30, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(minutes=1))


class InUtc(NamedTuple):
    """(n,) times in UTC, and by how much each would be earlier in its other meaning, 0 where it has none."""

    time_us: Ints
    earlier_us: Ints


def in_utc(local_us: Ints, local: npt.NDArray[np.bool_], clock: LocalClock) -> InUtc:
    """(n,) times of which those that are `local` were read as if they were UTC."""
    time_us, earlier_us = local_us.copy(), np.zeros(len(local_us), np.int64)
    if not local.any():
        return InUtc(time_us, earlier_us)
    minutes, which = np.unique(local_us[local] // _MINUTE_US, return_inverse=True)
    first, second = np.array([_offsets_us(clock.zone, minute) for minute in minutes.tolist()], np.int64)[which].T
    # Where clocks were put forward, the first offset is that of before, and there is no other meaning.
    apart = np.maximum(first - second, 0)
    later = local_us[local] - first + apart
    if clock.sent_us is not None:
        apart = np.where(later > clock.sent_us[local] + AHEAD_US, 0, apart)
    time_us[local] = local_us[local] - first + apart
    earlier_us[local] = apart
    return InUtc(time_us, earlier_us)


def of_one_flow(
    start_us: Ints, end_us: Ints, start_earlier_us: Ints, end_earlier_us: Ints, sent_us: Ints | None
) -> tuple[Ints, Ints]:
    """(n,) starts and ends of flows, where one of both may be of before clocks were put back.

    A flow that would end before it starts started before. One that was sent long after its end, so that nothing tells
    when that was, is the shorter of two.
    """
    start_us = start_us - np.where(end_us < start_us, start_earlier_us, 0)
    long_ago = np.ones(len(end_us), np.bool_) if sent_us is None else sent_us > end_us + HOUR_US
    shorter = long_ago & (end_us - end_earlier_us >= start_us)
    return start_us, end_us - np.where(shorter, end_earlier_us, 0)


def _offsets_us(zone: str, minute: int) -> tuple[int, int]:
    """The offsets of a local minute since 1970: of its first and second occurrence, or before and after a gap."""
    bounded = min(max(minute, _FIRST_MINUTE), _LAST_MINUTE)
    at = datetime(1970, 1, 1, tzinfo=ZoneInfo(zone)) + timedelta(minutes=bounded)  # local: zones count no elapsed time
    offsets = at.utcoffset(), at.replace(fold=1).utcoffset()
    first, second = (offset // _MICROSECOND if offset is not None else 0 for offset in offsets)
    return first, second


def lacks_offset(text: Bytes, starts: Ints, ends: Ints, statuses: Statuses) -> npt.NDArray[np.bool_]:
    """Which cells that were read as times are dates without an offset, and no numbers."""
    lacking = np.zeros(len(starts), np.bool_)
    _lacks_offset(text, starts, ends, statuses, lacking)
    return lacking


@compiled
def _lacks_offset(text: Bytes, starts: Ints, ends: Ints, statuses: Statuses, lacking: npt.NDArray[np.bool_]) -> None:
    for row in range(len(starts)):
        if statuses[row] != OK:
            continue
        dated = zoned = False
        for at in range(starts[row], ends[row]):
            byte = text[at]
            if byte == 58:
                dated = True
            elif byte == 90 or byte == 122 or (at - starts[row] > 10 and (byte == 43 or byte == 45)):
                zoned = True
        lacking[row] = dated and not zoned
