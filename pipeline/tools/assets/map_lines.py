"""How the lines of a site's map run from card to card: between the cards that are in their way, never behind one."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.tools.assets.map_layout import CARD_GAP, CARD_HEIGHT, CARD_WIDTH, Card

Point = tuple[float, float]
Curve = tuple[Point, Point, Point, Point]
"""A cubic Bézier curve: its start, two points that bend it, its end."""
Ends = tuple[str, str]

SIDE = 26.0
"""Of a card's width, what no line touches."""
MOST_APART, LANE_APART = 12.0, 5.0
CLEAR = 5.0
"""Pixels between a line's bend and a row of cards that it passes."""
STEPS = 9


@dataclass(frozen=True, slots=True)
class _Pass:
    """Where a line passes a row between two cards, and where it comes from, which orders lines side by side."""

    middle: float
    room: float
    come_from: float


def lines(edges: Sequence[Mapping[str, Any]], cards: Mapping[str, Card]) -> dict[Ends, list[Curve]]:
    """The curves of each edge, from its source's card to its target's; the same for the same cards and edges."""
    pairs = sorted((edge["source"], edge["target"]) for edge in edges)
    slots = _slots(pairs, cards)
    rows: dict[int, list[Card]] = defaultdict(list)
    for card in cards.values():
        rows[card.row].append(card)
    passes = {
        ends: _passes(cards[ends[0]], cards[ends[1]], slots[ends], rows)
        for ends in pairs
        if abs(cards[ends[0]].row - cards[ends[1]].row) > 1
    }
    shifts = _shifts(passes)
    return {ends: _curves(ends, cards, slots[ends], passes.get(ends, {}), shifts, rows) for ends in pairs}


def _slots(pairs: Iterable[Ends], cards: Mapping[str, Card]) -> dict[Ends, tuple[float, float]]:
    """Where each line leaves and reaches its cards, so that several do not lie on one another."""
    at_side: dict[tuple[str, bool], list[tuple[float, bool, Ends]]] = defaultdict(list)
    for ends in pairs:
        source, target = (cards[end] for end in ends)
        for own, other, is_source in ((source, target, True), (target, source, False)):
            at_side[own.device["address"], other.row > own.row].append((other.x, is_source, ends))
    slots: dict[tuple[Ends, bool], float] = {}
    for (address, _), several in at_side.items():
        several.sort()
        step = min(MOST_APART, (CARD_WIDTH - SIDE) / len(several))
        for number, (_, is_source, ends) in enumerate(several):
            slots[ends, is_source] = cards[address].x + (number - (len(several) - 1) / 2) * step
    return {ends: (slot, slots[ends, False]) for (ends, is_source), slot in slots.items() if is_source}


def _passes(source: Card, target: Card, slots: tuple[float, float], rows: Mapping[int, list[Card]]) -> dict[int, _Pass]:
    """By row between source and target: the gap between cards that lies nearest to the straight way."""
    made = {}
    down = 1 if target.row > source.row else -1
    for row in range(source.row + down, target.row, down):
        share = abs(row - source.row) / abs(target.row - source.row)
        straight = slots[0] + (slots[1] - slots[0]) * share
        xs = sorted(card.x for card in rows[row])
        gaps = [x + (CARD_WIDTH + CARD_GAP) / 2 for x in (xs[0] - CARD_WIDTH - CARD_GAP, *xs)]
        if gaps[0] < straight < gaps[-1]:
            made[row] = _Pass(min(gaps, key=lambda gap: (abs(gap - straight), gap)), CARD_GAP, slots[0])
        else:
            made[row] = _Pass(straight, 0.0, slots[0])
    return made


def _shifts(passes: Mapping[Ends, Mapping[int, _Pass]]) -> dict[tuple[Ends, int], float]:
    """How far from a gap's middle each line passes it, side by side in the order in which they come."""
    users: dict[tuple[int, float], list[tuple[float, Ends]]] = defaultdict(list)
    for ends, by_row in passes.items():
        for row, each in by_row.items():
            if each.room:
                users[row, each.middle].append((each.come_from, ends))
    shifts = {}
    for (row, _), several in users.items():
        step = min(LANE_APART, (CARD_GAP - 8) / len(several))
        for number, (_, ends) in enumerate(sorted(several)):
            shifts[ends, row] = (number - (len(several) - 1) / 2) * step
    return shifts


def _curves(
    ends: Ends,
    cards: Mapping[str, Card],
    slots: tuple[float, float],
    passes: Mapping[int, _Pass],
    shifts: Mapping[tuple[Ends, int], float],
    rows: Mapping[int, list[Card]],
) -> list[Curve]:
    source, target = (cards[end] for end in ends)
    (x1, x2), (y1, y2) = slots, (source.y, target.y)
    if source.row == target.row:
        rise = 16 + min(30.0, abs(x1 - x2) / 20)
        return [((x1, y1), (x1, y1 - rise), (x2, y2 - rise), (x2, y2))]
    down = target.row > source.row
    at = (x1, y1 + CARD_HEIGHT) if down else (x1, y1)
    curves: list[Curve] = []
    for row, each in passes.items():
        x, top = each.middle + shifts.get((ends, row), 0.0), rows[row][0].y
        before, after = (top - CLEAR, top + CARD_HEIGHT + CLEAR)
        if not down:
            before, after = after, before
        curves += [_bent(at, (x, before)), _bent((x, before), (x, after))]
        at = x, after
    return [*curves, _bent(at, (x2, y2 if down else y2 + CARD_HEIGHT))]


def _bent(start: Point, end: Point) -> Curve:
    """A curve that starts and ends upright."""
    middle = (start[1] + end[1]) / 2
    return start, (start[0], middle), (end[0], middle), end


def path(curves: Sequence[Curve]) -> str:
    """The curves as an SVG path."""
    [x, y] = curves[0][0]
    bends = ("C" + " ".join(f"{part:.1f}" for at in curve[1:] for part in at) for curve in curves)
    return f"M{x:.1f} {y:.1f}{''.join(bends)}"


def free_point(curves: Sequence[Curve], taken: Iterable[Point], apart: float) -> Point:
    """A point of a line `apart` from the taken ones, near its end, where lines that run side by side have parted."""
    points = [_on(curve, step / (STEPS + 1)) for curve in curves for step in range(1, STEPS + 1)]
    wanted = len(points) - 1 - STEPS // 2
    there = list(taken)
    for at in sorted(range(len(points)), key=lambda index: (abs(index - wanted), index)):
        if all(math.dist(points[at], other) >= apart for other in there):
            return points[at]
    return points[wanted]


def _on(curve: Curve, t: float) -> Point:
    weights = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3
    return (
        sum(weight * at[0] for weight, at in zip(weights, curve, strict=True)),
        sum(weight * at[1] for weight, at in zip(weights, curve, strict=True)),
    )
