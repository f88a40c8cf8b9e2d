"""Times of the traffic as receivers read them: UTC, RFC 3339."""

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LATEST_US = 253_402_300_799_999_999  # the last moment of the year 9999


def moment(time_us: int) -> datetime:
    """A time in UTC; what lies outside the years 1970 to 9999 is moved to their edge."""
    return EPOCH + timedelta(microseconds=min(max(time_us, 0), LATEST_US))


def rfc3339(time_us: int, timespec: str = "milliseconds") -> str:
    """A time such as 2026-11-29T06:30:00.000Z."""
    return moment(time_us).isoformat(timespec=timespec).replace("+00:00", "Z")
