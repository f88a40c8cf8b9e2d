"""Spans of time as people type them: 24h, 30m, 90s."""

import math

import typer

SPANS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def seconds(text: str) -> float:
    """`24h`, `30m`, `90s`, `0` as seconds; BadParameter says what was expected."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in SPANS else (text, "s")
    try:
        span = float(number) * SPANS[unit]
    except ValueError:
        span = math.nan
    if not 0 <= span < math.inf:
        raise typer.BadParameter(f"got {text!r}, expected a number and s, m, h or d, as in 24h")
    return span
