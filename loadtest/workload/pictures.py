"""Line charts as SVG, without a library: lag and rate over time, latency by percentile, latency by rate."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 720, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 110, 30, 40
_COLOURS = ("#1b6ca8", "#c0392b", "#2e8b57", "#8e6c1f", "#7d3c98", "#566573")
_FEW = 30
"""A line of so many points at most shows where they are."""
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines by name over one axis; log_y: powers of ten on the other one."""

    title: str
    x: str
    y: str
    lines: Mapping[str, Points]
    log_y: bool = False


def _ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers between two bounds."""
    step = 10.0 ** math.floor(math.log10(max(high - low, 1e-9) / count))
    step = next(step * factor for factor in (1, 2, 5, 10, 20) if (high - low) / (step * factor) <= count)
    first = math.ceil(low / step)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


class _Axis:
    """Values onto pixels."""

    def __init__(self, values: Sequence[float], pixels: tuple[float, float], log: bool = False) -> None:
        self._log = log
        low: float
        high: float
        if log:
            low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
            self.ticks = [10.0**power for power in range(low, max(high, low + 1) + 1)]
        else:
            low, high = min(0.0, *values), max(values)
            self.ticks = _ticks(low, high if high > low else low + 1)
        self._low, self._high = float(low), float(high if high > low else low + 1)
        self._from, self._to = pixels

    def __call__(self, value: float) -> float:
        shown = math.log10(value) if self._log else value
        return self._from + (shown - self._low) / (self._high - self._low) * (self._to - self._from)


def _chart(chart: Chart, top: int) -> list[str]:
    """One chart below the pixel `top`."""
    lines = {name: [(x, y) for x, y in points if not chart.log_y or y > 0] for name, points in chart.lines.items()}
    every = [point for points in lines.values() for point in points]
    parts = [f'<text x="{_LEFT}" y="{top + 18}" class="title">{escape(chart.title)}</text>']
    if not every:
        return [*parts, f'<text x="{_LEFT}" y="{top + 60}">nothing was measured</text>']
    across = _Axis([x for x, _ in every], (_LEFT, WIDTH - _RIGHT))
    up = _Axis([y for _, y in every], (top + HEIGHT - _BOTTOM, top + _TOP), chart.log_y)
    bottom = top + HEIGHT - _BOTTOM
    for tick in up.ticks:
        parts.append(f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{up(tick):.1f}" y2="{up(tick):.1f}" class="grid"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{up(tick) + 4:.1f}" text-anchor="end">{tick:,g}</text>')
    parts += [
        f'<text x="{across(tick):.1f}" y="{bottom + 16}" text-anchor="middle">{tick:,g}</text>' for tick in across.ticks
    ]
    parts.append(
        f'<text x="{(_LEFT + WIDTH - _RIGHT) / 2}" y="{bottom + 33}" text-anchor="middle">{escape(chart.x)}</text>'
    )
    parts.append(f'<text x="{WIDTH - _RIGHT}" y="{top + 18}" text-anchor="end">{escape(chart.y)}</text>')
    for number, (name, points) in enumerate(lines.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        path = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
        if len(points) <= _FEW:
            parts += [f'<circle cx="{across(x):.1f}" cy="{up(y):.1f}" r="2.5" fill="{colour}"/>' for x, y in points]
        parts.append(
            f'<text x="{WIDTH - _RIGHT + 8}" y="{top + 44 + 18 * number}" style="fill:{colour}">{escape(name)}</text>'
        )
    return parts


def picture(charts: Sequence[Chart]) -> str:
    """The charts under each other as one SVG."""
    height = HEIGHT * len(charts)
    style = "text{font:12px sans-serif;fill:#333}.title{font-weight:bold;font-size:14px}.grid{stroke:#ddd}"
    parts = [part for number, chart in enumerate(charts) for part in _chart(chart, number * HEIGHT)]
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}">\n'
        f"<style>{style}</style>\n"
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>\n{body}\n</svg>\n'
    )
