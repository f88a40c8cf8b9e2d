"""The files that a live path has held, one after another, and what is sent of them at once."""

import math
from dataclasses import dataclass, field

from pipeline.ingest.follow.names import FileSource
from pipeline.ingest.follow.records import Run
from pipeline.ingest.follow.tail import Followed


@dataclass(eq=False)
class Chain:
    """What a live path holds, and the files it has held that are not done."""

    live: str
    source: FileSource
    since_us: int
    """When it was first looked at, or what it held then was written: what it held before is not sent."""
    current: Followed | None = None
    files: list[Followed] = field(default_factory=list)
    newest_us: int = 0
    """When the newest file that was read was written last."""
    scan_due: bool = True
    scanned_s: float = 0.0
    after_us: int | None = None
    """Files written before are not looked at: until nothing is missing, as it was when the scan became due."""
    unsettled: dict[str, float] = field(default_factory=dict)
    """Files that may still be copied or packed, and when each was written last: newer ones wait for them."""
    held_since_s: float = 0.0
    unclear_since_s: float = math.inf
    """Since when the live path holds what begins as another file, and is not that."""
    unclear_said: bool = False

    @property
    def missing(self) -> bool:
        """Whether a file that is not done was not found."""
        return any(each.key is None and not each.lost for each in self.files)

    def want_scan(self) -> None:
        """Look through the rotated names."""
        written = [each.modified_us for each in self.files if each.modified_us and not each.lost]
        after_us = min(written, default=self.newest_us or self.since_us)
        self.after_us = after_us if self.after_us is None else min(self.after_us, after_us)
        self.scan_due = True

    def in_order(self) -> list[Followed]:
        """Those that lie somewhere: older ones first, what the live path holds last."""
        there = [each for each in self.files if each.key is not None]
        return sorted(there, key=lambda each: (each is self.current, each.written_s, each.number))


@dataclass
class Batch:
    """Records to be sent at once."""

    runs: list[tuple[Followed, Run]] = field(default_factory=list)
    size_bytes: int = 0

    @property
    def records(self) -> int:
        """How many records."""
        return sum(len(run.records) for _, run in self.runs)
