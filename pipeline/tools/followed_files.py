"""How far followers are in their files: by what they have committed, and by the files as they lie now."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.ingest.follow.position import FilePosition
from pipeline.ingest.follow.worker import committed_positions
from pipeline.settings import Settings

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
    state: str

    def document(self) -> dict[str, Any]:
        """The same for machines."""
        return asdict(self)


def file_states(settings: Settings, follower: str) -> list[FileState]:
    """The files of a follower of which records were sent, or are to be, in the order in which they were found."""
    positions = committed_positions(settings, follower)
    # One without records that is done says since when a path is followed.
    return [_state(each) for _, each in sorted(positions.items()) if each.records or not each.done]


def _state(position: FilePosition) -> FileState:
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
