"""One file that grows: what was read of it, what follows, and whether it is still the same content."""

import os
from enum import Enum

from pipeline.contracts.raw import MAX_RECORD_BYTES
from pipeline.ingest.files.guess import HEAD_BYTES as RECOGNITION_BYTES
from pipeline.ingest.follow.content import Content, open_content
from pipeline.ingest.follow.position import HEAD_BYTES, TAIL_BYTES, FilePosition, Layout, digest
from pipeline.ingest.follow.records import Run, cut, event_time_s, layout_of, recognisable_later

FileKey = tuple[int, int]
"""Device and inode."""

# What is read at once holds the longest record that is sent whole, and one byte that shows that a longer one is.
PIECE_BYTES = MAX_RECORD_BYTES + 65_536
# Of a file whose turn to be read is decided by time, the first records are looked at.
_GLANCE_BYTES = 16_384


class State(Enum):
    """What reading on in a file came to."""

    MORE = "more"
    """There may be more to read at once."""
    END = "end"
    """Everything whole that is there was read."""
    REPLACED = "replaced"
    """The file no longer has the bytes that were read: it was truncated, or written anew."""


class Followed:
    """A file's content, and how far it was read; without `content` it is not open, without `key` it was not found."""

    def __init__(self, number: int, live: str, site: str, sensor: str, content_type: str | None) -> None:
        self.number, self.live, self.site, self.sensor = number, live, site, sensor
        self.content_type = content_type
        self.time_zone = ""
        self.lateness_us: int | None = None
        self.path = live
        self.key: FileKey | None = None
        self.content: Content | None = None
        self.rotated = False
        """Another file is, or may come, at the live path: this one will not grow for long."""
        self.committed: FilePosition | None = None
        self.quiet_since_s = 0.0
        """Since when, by the wall clock, it has had nothing more; 0 where it may have."""
        self.written_s = 0.0
        """When it was written last, as it was found."""
        self.marks_begin = False
        """It is no file: it says since when the live path is followed."""
        self.unrecognised = False
        self.first = b""
        """Its first bytes, at most HEAD_BYTES."""
        self.clock_s = 0.0
        """About when the next record happened."""
        self._seen: tuple[int, int] | None = None
        self.reset()

    def reset(self) -> None:
        """Nothing of it was sent."""
        self.offset = self.head_bytes = self.tail_bytes = self.records = self.size_bytes = self.modified_us = 0
        self.head = self.tail = digest(b"")
        self.inside = self.done = self.lost = self.changed = self.final = False
        self.layout = Layout()
        self._seen = None

    def restore(self, position: FilePosition) -> None:
        """It was sent up to a position."""
        self.committed = position
        self.offset, self.inside, self.records = position.offset, position.inside, position.records
        self.head_bytes, self.head = position.head_bytes, position.head
        self.tail_bytes, self.tail = position.tail_bytes, position.tail
        self.size_bytes, self.modified_us = position.size_bytes, position.modified_us
        self.done, self.lost, self.layout = position.done, position.lost, position.layout
        self.changed = self.final = False
        self._seen = None

    @property
    def worth_committing(self) -> bool:
        """Whether anything was sent that its position accounts for."""
        return bool(self.records or self.committed or self.marks_begin)

    def position(self, now_us: int) -> FilePosition:
        """How far it was read."""
        device, inode = self.key or (0, 0)
        return FilePosition(
            number=self.number,
            live=self.live,
            path=self.path,
            device=device,
            inode=inode,
            head_bytes=self.head_bytes,
            head=self.head,
            tail_bytes=self.tail_bytes,
            tail=self.tail,
            offset=self.offset,
            inside=self.inside,
            records=self.records,
            size_bytes=self.size_bytes,
            modified_us=self.modified_us,
            committed_us=now_us,
            done=self.done,
            lost=self.lost,
            site=self.site,
            sensor=self.sensor,
            layout=self.layout,
        )

    # ---- the file

    def attach(self, path: str, content: Content) -> None:
        """Its content lies there, as far as is known."""
        self.detach()
        stat = content.stat()
        self.path, self.key, self.content = path, (stat.st_dev, stat.st_ino), content
        self.first = content.read(0, HEAD_BYTES)
        self.final, self._seen = False, None
        self.clock_s = self.written_s = stat.st_mtime
        self.unrecognised, self.quiet_since_s = False, 0.0
        self._glance()

    def detach(self) -> None:
        """Its content is not there."""
        self.release()
        self.key = None

    def release(self) -> None:
        """Close it; it is opened again when it is read."""
        if self.content is not None:
            self.content.close()
        self.content = None

    def opened(self) -> bool:
        """Whether it is open, or could be opened again where it lay."""
        if self.content is None and self.key is not None:
            try:
                content = open_content(self.path)
            except OSError:
                self.key = None
                return False
            stat = content.stat()
            if (stat.st_dev, stat.st_ino) != self.key:
                content.close()
                self.key = None
                return False
            self.content, self._seen = content, None
        return self.content is not None

    def seen(self, stat: os.stat_result) -> bool:
        """Whether all that the file had at this size and time was read."""
        return self._seen == (stat.st_size, stat.st_mtime_ns)

    def mark_seen(self, stat: os.stat_result) -> None:
        """There is nothing to be read in it, as it is."""
        self._seen = (stat.st_size, stat.st_mtime_ns)

    def is_within(self, content: Content) -> bool:
        """Whether a content that begins like this file holds all that was read of it, and all that it has by now."""
        if content.packed:  # whether it goes on like it is seen when that is read
            return True
        present = self.content.stat().st_size if self.content is not None and not self.content.packed else 0
        if content.stat().st_size < max(self.offset, present):
            return False
        return digest(content.read(self.offset - self.tail_bytes, self.tail_bytes)) == self.tail

    def has_less_than(self, content: Content) -> bool:
        """Whether a content that begins like this file has more than was read; of a packed one that is not known."""
        return not content.packed and content.stat().st_size > self.offset

    def continue_in_cut(self, content: Content) -> None:
        """Go on in a content that lacks the last bytes of what was read: at its end, or at the next line."""
        size = content.stat().st_size
        if size < self.offset:
            begin = max(0, size - PIECE_BYTES)
            line = content.read(begin, size - begin).rfind(b"\n") + 1
            self.offset, self.inside = begin + line if line else size, not line
        else:
            self.inside = True
        self.tail_bytes = min(self.offset, TAIL_BYTES)
        self.tail = digest(content.read(self.offset - self.tail_bytes, self.tail_bytes))
        self.changed = True

    def continues_in(self, content: Content) -> bool:
        """Whether a content begins as this file did, and holds all that was read of it."""
        head = content.read(0, max(self.head_bytes, len(self.first)))
        if self.head_bytes and digest(head[: self.head_bytes]) != self.head:
            return False
        return bool(head) and head.startswith(self.first[: len(head)]) and self.is_within(content)

    # ---- reading

    def take(self, size: int, final: bool) -> tuple[State, list[Run]]:
        """The next records, of about `size` bytes; `final`: nothing more will be written."""
        content = self.content
        if content is None or self.unrecognised:
            return State.END, []
        stat = content.stat()
        if not content.packed:
            if stat.st_size < self.offset:
                return State.REPLACED, []
            if self.seen(stat) and (self.final or not final):
                return State.END, []
        if not self.offset and content.read(0, len(self.first)) != self.first:
            return State.REPLACED, []
        data = content.read(self.offset - self.tail_bytes, self.tail_bytes + size)
        if len(data) < self.tail_bytes and content.packed and not content.complete:
            return State.END, []
        if digest(data[: self.tail_bytes]) != self.tail:
            return State.REPLACED, []
        self.size_bytes = stat.st_size
        if not self.rotated:  # a copy, or a packed file, may have been written after a later file of the chain was
            self.modified_us = stat.st_mtime_ns // 1_000
        at_end = len(data) < self.tail_bytes + size
        ended = at_end and (content.complete if content.packed else final)
        if len(self.first) < HEAD_BYTES:
            self.first = content.read(0, HEAD_BYTES)
        runs, consumed = self._cut(content, data[self.tail_bytes :], ended)
        if not consumed and not at_end and size < PIECE_BYTES:
            return self.take(PIECE_BYTES, final)
        if not at_end:
            return State.MORE, runs
        self.mark_seen(stat)
        self.final = ended
        return State.END, runs

    def _cut(self, content: Content, data: bytes, final: bool) -> tuple[list[Run], int]:
        if not self.layout.content_type and not self._recognise(data, final):
            blank = data if data and not data.strip(b"\0") else b""  # a hole that truncation left
            if blank:
                self._advance(content, blank)
            return [], len(blank)
        pieces = cut(self.layout, data, self.inside, final, judged=True, named=self.content_type is not None)
        self.layout, self.inside = pieces.layout, pieces.inside
        if pieces.consumed:
            self._advance(content, data[: pieces.consumed])
        self.records += sum(len(run.records) for run in pieces.runs)
        if pieces.runs:
            self.changed = True
            happened_s = event_time_s(pieces.runs[-1], -1)
            self.clock_s = self.clock_s if happened_s is None else happened_s
        return pieces.runs, pieces.consumed

    def _advance(self, content: Content, consumed: bytes) -> None:
        before = self.offset
        self.offset += len(consumed)
        if before < HEAD_BYTES:
            self.head_bytes = min(self.offset, HEAD_BYTES)
            self.head = digest(self.first[: self.head_bytes])
        self.tail_bytes = min(self.offset, TAIL_BYTES)
        if len(consumed) >= self.tail_bytes:
            self.tail = digest(consumed[-self.tail_bytes :])
        else:
            self.tail = digest(content.read(self.offset - self.tail_bytes, self.tail_bytes))

    def _recognise(self, data: bytes, final: bool) -> bool:
        head = data.lstrip(b"\0")[:RECOGNITION_BYTES]
        layout = layout_of(head, self.content_type, final) if head else None
        if layout is None:
            self.unrecognised = not recognisable_later(head, final)
            return False
        self.layout, self.unrecognised = layout, False
        return True

    def _glance(self) -> None:
        """About when its next record happened, where it has not been read yet."""
        content = self.content
        if content is None:
            return
        head = content.read(0, _GLANCE_BYTES)
        layout = layout_of(head, self.content_type, False)
        runs = cut(layout, head).runs if layout is not None and not self.offset else []
        happened_s = event_time_s(runs[0], 0) if runs else None
        self.clock_s = self.clock_s if happened_s is None else happened_s
