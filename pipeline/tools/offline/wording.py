"""Stretches of time for people."""

MINUTE_US = 60_000_000


def span(time_us: int) -> str:
    """A stretch of time: `40 s`, `11 min`, `2 h`, `2 h 4 min`."""
    if time_us < MINUTE_US:
        return f"{time_us // 1_000_000} s"
    hours, minutes = divmod(time_us // MINUTE_US, 60)
    return " ".join(f"{value} {unit}" for value, unit in ((hours, "h"), (minutes, "min")) if value)
