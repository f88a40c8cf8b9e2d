"""How far followers are in their files: by what they have committed, and by the files as they lie now."""

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.ingest.follow.position import FilePosition
from pipeline.ingest.follow.worker import positions_as_written
from pipeline.settings import Settings

RATE_OVER_S = 60
PACKED = (".gz", ".bz2", ".xz")


@dataclass(frozen=True, slots=True)
class FileState:
    """One file of a follower. `behind_bytes` is None where it does not lie there any more, or is packed."""

    path: str
    live: str
    content_type: str
    records: int
    offset: int
    behind_bytes: int | None
    modified_us: int
    """When it was written last, as far as is known."""
    committed_us: int
    sent_us: int
    """When records of it were sent last, as far as is known: a position is written when it is rotated, too."""
    rate_per_s: float
    """Records sent a second over the last RATE_OVER_S, by the follower's clock."""
    state: str

    def document(self) -> dict[str, Any]:
        """The same for machines."""
        return asdict(self)


def file_states(settings: Settings, follower: str, now_us: int) -> list[FileState]:
    """The files of a follower of which records were sent, or are to be, in the order in which they were found."""
    history = SentHistory(now_us - RATE_OVER_S * 1_000_000)
    for number, position in positions_as_written(settings, follower):
        history.add(number, position)
    # One without records that is done says since when a path is followed.
    known = sorted(history.last.items())
    return [_state(each, history, number) for number, each in known if each.records or not each.done]


class SentHistory:
    """The last position of each file, how many records were sent of it since `since_us`, and when the last were.

    A file whose first known position was written since then counts from there: what was compacted away, or sent with
    that position, is not counted.
    """

    def __init__(self, since_us: int) -> None:
        self.since_us = since_us
        self.last: dict[int, FilePosition] = {}
        self.sent: Counter[int] = Counter()
        self.sent_us: dict[int, int] = {}
        """When records of each file were sent last."""

    def add(self, number: int, position: FilePosition | None) -> None:
        """The next position of a file; None where it is forgotten."""
        before = self.last.get(number)
        if position is None:
            self.last.pop(number, None)
            self.sent_us.pop(number, None)
            return
        if before is None or before.records != position.records:
            self.sent_us[number] = position.committed_us
        if before is not None and position.committed_us > self.since_us:
            self.sent[number] += max(0, position.records - before.records)  # a file that was truncated starts anew
        self.last[number] = position


def _state(position: FilePosition, history: SentHistory, number: int) -> FileState:
    size, modified_us = _size(position)
    return FileState(
        position.path,
        position.live,
        position.layout.content_type,
        position.records,
        position.offset,
        None if size is None else max(0, size - position.offset),
        modified_us,
        position.committed_us,
        history.sent_us[number],
        round(history.sent[number] / RATE_OVER_S, 3),
        "done" if position.done else "lost" if position.lost else "open",
    )


def _size(position: FilePosition) -> tuple[int | None, int]:
    """The size of a file, where it still is the one that was read, and is not packed; when it was written last."""
    try:
        stat = Path(position.path).stat()
    except OSError:
        return None, position.modified_us
    if (stat.st_dev, stat.st_ino) != (position.device, position.inode):
        return None, position.modified_us
    return None if position.path.endswith(PACKED) else stat.st_size, stat.st_mtime_ns // 1_000
