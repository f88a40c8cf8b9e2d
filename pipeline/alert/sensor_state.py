"""What is known of one sensor between messages: the groups of its suspects that are followed, and its pages."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.alert.grouping import Group
from pipeline.alert.incident import Incident
from pipeline.alert.pages import SensorPages

Ints = npt.NDArray[np.int64]

NEVER_US = -(1 << 62)


@dataclass(slots=True)
class Followed:
    """A group that is followed, and its incident, once it has enough evidence."""

    group: Group
    incident: Incident | None = None


@dataclass(slots=True)
class SensorState:
    """The result of a sensor's suspects so far.

    clock_us: how far its event time has come. followed: in the order they were last touched.
    waiting: suspects whose groups are no incident yet, in the order they count, or None; waiting_of: index into
    `followed` of each. pages: its budget, and what it was paged for. began_us: its clock at its first suspect. left:
    suspects that this advance left in no incident; it is not saved, `left_by` takes it.
    """

    clock_us: int = NEVER_US
    followed: list[Followed] = field(default_factory=list)
    waiting: pa.RecordBatch | None = None
    waiting_of: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    pages: SensorPages = field(default_factory=SensorPages)
    began_us: int = NEVER_US
    left: list[pa.RecordBatch] = field(default_factory=list)

    @property
    def incidents(self) -> list[Incident]:
        """The open incidents."""
        return [each.incident for each in self.followed if each.incident is not None]

    @property
    def is_quiet(self) -> bool:
        """Whether no group is followed: a watermark alone then emits nothing."""
        return not self.followed and self.waiting is None


class Tally(NamedTuple):
    """What happened, for counters: suspects in; those that stayed alone; those dropped because too many waited; those
    in the crowd. pages: incidents that became one.
    """

    suspects: int = 0
    alone: int = 0
    dropped: int = 0
    crowded: int = 0
    pages: int = 0

    def plus(self, other: "Tally") -> "Tally":
        """The sums of both tallies."""
        return Tally(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))
