"""Which rejects are worth a line of the log: the first of a kind at once, then a count at most once a minute.

A kind is a site, a sensor and a reason. Names of sensors come with messages, so anybody may make them up: beyond
MAX_KINDS all further kinds share one line, `other`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa

Kind = tuple[str, str, str]

# An operator sees within a minute that it goes on; more often says nothing new.
REPEAT_S = 60.0
# Kinds with lines of their own: some sensors with some reasons each. All that can be logged is one line more a minute.
MAX_KINDS = 32
# A kind that has had no rejects for so long makes way for another: it is news when it comes back.
FORGET_S = 3_600.0
OTHER: Kind = ("other", "other", "other")


class RejectCount(NamedTuple):
    """Rejects of one kind in a batch: how many, and the first one's detail."""

    site: str
    sensor: str
    reason: str
    rows: int
    detail: str


def reject_counts(rejects: pa.RecordBatch) -> list[RejectCount]:
    """The rejects of a batch by kind."""
    if not rejects.num_rows:
        return []
    names = ["site", "sensor", "reason"]
    table = pa.Table.from_batches([rejects.select([*names, "detail"])])
    # "first" needs one thread.
    counted = table.group_by(names, use_threads=False).aggregate([([], "count_all"), ("detail", "first")])
    columns = (counted[name].to_pylist() for name in [*names, "count_all", "detail_first"])
    return [RejectCount(*row) for row in zip(*columns, strict=True)]


@dataclass(slots=True)
class _State:
    """Of one kind: when its last line and its last reject came, and what came since that line."""

    logged_s: float
    rejected_s: float
    count: int = 0
    detail: str = ""


class RejectLog:
    """Rejects by kind since their last line. `clock` gives seconds that never go back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._kinds: dict[Kind, _State] = {}
        self._waiting: set[Kind] = set()

    def add(self, each: RejectCount) -> None:
        """Count rejects of a kind; `due` says when they are worth a line."""
        now = self._clock()
        kind = self._bounded((each.site, each.sensor, each.reason), now)
        state = self._kinds.get(kind)
        if state is None:
            state = self._kinds[kind] = _State(-math.inf, now)
        if not state.count:
            state.detail = each.detail
        state.count += each.rows
        state.rejected_s = now
        self._waiting.add(kind)

    def due(self) -> list[RejectCount]:
        """The kinds to log now, each with the rejects since its last line and the first of them."""
        if not self._waiting:
            return []
        now = self._clock()
        lines = []
        for kind in sorted(self._waiting):
            state = self._kinds[kind]
            if now - state.logged_s >= REPEAT_S:
                lines.append(RejectCount(*kind, state.count, state.detail))
                state.logged_s, state.count, state.detail = now, 0, ""
        self._waiting -= {(line.site, line.sensor, line.reason) for line in lines}
        return lines

    def _bounded(self, kind: Kind, now: float) -> Kind:
        """The kind itself where it has a line of its own, or can get one; else OTHER."""
        if kind in self._kinds:
            return kind
        if len(self._kinds) - (OTHER in self._kinds) >= MAX_KINDS:
            idle = [
                known for known, state in self._kinds.items() if not state.count and now - state.rejected_s > FORGET_S
            ]
            for known in idle:
                del self._kinds[known]
        return kind if len(self._kinds) - (OTHER in self._kinds) < MAX_KINDS else OTHER
