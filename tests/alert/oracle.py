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
class Group:
    """A group: the flows in it, and the clock at which it became an incident."""

    last: int = 0
    members: list[int] = field(default_factory=list)
    evidence: float = 0.0
    opened: int | None = None
    crowd: bool = False


def incidents(
    flows: Sequence[Flow], gap: int, max_open: int = 99, max_waiting: int = 99, max_tokens: int = 99
) -> list[Group]:
    """The incidents of one sensor, in the order they opened."""
    opened_groups: list[Group] = []
    touched: list[Group] = []  # every group there is, the one touched last at the end
    belongs: dict[str, Group] = {}
    for index, flow in enumerate(flows):
        fitting = [
            group
            for group in touched
            if flow.clock - group.last <= gap and any(belongs.get(token) is group for token in flow.tokens)
        ]
        mine = fitting[-1] if fitting else Group()
        if mine in touched:
            touched.remove(mine)
        touched.append(mine)
        mine.last = flow.clock
        mine.members.append(index)
        mine.evidence += flow.weight
        waiting = [group for group in touched if group.opened is None]
        if not fitting and len(waiting) > max_waiting:
            touched.remove(waiting[0])
        for token in flow.tokens:
            if belongs.get(token) is not mine and sum(group is mine for group in belongs.values()) < max_tokens:
                belongs[token] = mine
        if mine.opened is not None or mine.evidence < 1 - 1e-9:
            continue
        still_open = [group for group in opened_groups if not group.crowd and flow.clock - group.last <= gap]
        if len(still_open) < max_open:
            mine.opened = flow.clock
            opened_groups.append(mine)
            continue
        touched.remove(mine)
        crowd = next((group for group in opened_groups if group.crowd and flow.clock - group.last <= gap), None)
        if crowd is None:
            crowd = Group(opened=flow.clock, crowd=True)
            opened_groups.append(crowd)
        crowd.members += mine.members
        crowd.last = flow.clock
    return opened_groups
