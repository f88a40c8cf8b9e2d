"""Grouping a suspect at a time, in plain Python: what the compiled kernel must agree with."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Flow:
    """One suspect: its clock, what links it to others, its share of the evidence."""

    clock: int
    tokens: tuple[str, ...]
    weight: float


@dataclass(eq=False)
class Found:
    """A group: the flows in it and since which one it is an incident."""

    last: int = 0
    members: list[int] = field(default_factory=list)
    evidence: float = 0.0
    opened: int | None = None
    crowd: bool = False


def incidents(
    flows: Sequence[Flow], gap: int, max_open: int = 99, max_waiting: int = 99, max_tokens: int = 99
) -> list[Found]:
    """The incidents of one sensor, in the order they opened."""
    found: list[Found] = []
    touched: list[Found] = []  # every group there is, the one touched last at the end
    belongs: dict[str, Found] = {}
    for index, flow in enumerate(flows):
        fitting = [
            one
            for one in touched
            if flow.clock - one.last <= gap and any(belongs.get(token) is one for token in flow.tokens)
        ]
        mine = fitting[-1] if fitting else Found()
        if mine in touched:
            touched.remove(mine)
        touched.append(mine)
        mine.last = flow.clock
        mine.members.append(index)
        mine.evidence += flow.weight
        waiting = [one for one in touched if one.opened is None]
        if not fitting and len(waiting) > max_waiting:
            touched.remove(waiting[0])
        for token in flow.tokens:
            if belongs.get(token) is not mine and sum(one is mine for one in belongs.values()) < max_tokens:
                belongs[token] = mine
        if mine.opened is not None or mine.evidence < 1 - 1e-9:
            continue
        going_on = [one for one in found if not one.crowd and flow.clock - one.last <= gap]
        if len(going_on) < max_open:
            mine.opened = flow.clock
            found.append(mine)
            continue
        touched.remove(mine)
        crowd = next((one for one in found if one.crowd and flow.clock - one.last <= gap), None)
        if crowd is None:
            crowd = Found(opened=flow.clock, crowd=True)
            found.append(crowd)
        crowd.members += mine.members
        crowd.last = flow.clock
    return found
