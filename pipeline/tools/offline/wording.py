"""Stretches of time for people."""

MINUTE_US = 60_000_000


def span(time_us: int) -> str:
    """A stretch of time: `40 s`, `11 min`, `2 h`, `2 h 4 min`."""
    if time_us < MINUTE_US:
        return f"{time_us // 1_000_000} s"
    hours, minutes = divmod(time_us // MINUTE_US, 60)
    return " ".join(f"{value} {unit}" for value, unit in ((hours, "h"), (minutes, "min")) if value)


def clock(time_us: int) -> str:
    """A time after the start of a file: `0:04:12`."""
    minutes, seconds = divmod(time_us // 1_000_000, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
