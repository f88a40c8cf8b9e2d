"""Words for people: names made safe to show, counts, durations and measured values as one says them."""

import math

from pipeline.runtime.terminal import printable

MAX_NAME = 64


def printable_name(text: str, most: int = MAX_NAME) -> str:
    """A name from outside, safe to show and cut to `most` characters."""
    return printable(text, most)


def flows(count: int, more: bool = False) -> str:
    """`1 flow`, `14 flows`, `256 or more flows`."""
    return "1 flow" if count == 1 and not more else counted(count, more, "flows")


def counted(count: int, more: bool, noun: str) -> str:
    """`23 addresses`, `256 or more addresses`; without a noun the number alone."""
    return f"{count:,} or more {noun}".strip() if more else f"{count:,} {noun}".strip()


def times(count: int, more: bool = False) -> str:
    """How often: `once`, `twice`, `14 times`, `256 times or more`."""
    if more:
        return f"{count:,} times or more"
    return {1: "once", 2: "twice"}.get(count, f"{count:,} times")


def listed(parts: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def duration(span_us: float) -> str:
    """A span of time in the unit that suits it: `4.2 s`, `3 min 20 s`, `1 h 5 min`."""
    if abs(span_us) < 1_000:
        return f"{span_us:.0f} µs"
    if abs(span_us) < 1_000_000:
        return f"{span_us / 1_000:.3g} ms"
    seconds = span_us / 1_000_000
    if abs(seconds) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if abs(seconds) < 3600:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min"


def measured(value: float, unit: str) -> str:
    """A value with its unit."""
    if not math.isfinite(value):
        return "no number"
    if unit == "us":
        return duration(value)
    if unit == "flag":
        return "yes" if value >= 0.5 else "no"
    if unit == "log ratio":
        return f"a factor of {math.exp(min(abs(value), 50.0)):.3g}"
    if unit == "share":
        return f"{value * 100:.3g} %"
    number = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{number} {unit}".strip()


def usual(low: float, high: float, unit: str) -> str:
    """A usual range with its unit: `2 to 9 flows`, or the one usual value."""
    first, last = measured(low, unit), measured(high, unit)
    if first == last:
        return first
    if unit == "flag":
        return "yes or no"
    suffix = f" {unit}"
    if unit not in ("us", "share", "log ratio") and unit and first.endswith(suffix):
        first = first.removesuffix(suffix)
    return f"{first} to {last}"
