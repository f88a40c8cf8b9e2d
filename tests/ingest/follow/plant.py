"""A writer of logs whose files are rotated, packed and deleted beside it, and a follower that may die at any moment."""

import gzip
import os
import shutil
from collections import Counter
from pathlib import Path

from pipeline.contracts.raw import ZEEK_JSON
from pipeline.ingest.follow.names import FileSource
from pipeline.ingest.follow.position import FilePosition, decode
from pipeline.ingest.follow.rotation import FollowedFiles
from pipeline.ingest.follow.worker import GAPS

START_S = 1_800_000_000.0


def line_of(number: int) -> bytes:
    return b'{"ts":%d.5,"uid":"C%06d","id.orig_h":"10.0.0.1","id.resp_h":"10.0.0.2","conn_state":"SF"}' % (
        1_700_000_000 + number,
        number,
    )


class Writer:
    """Writes numbered lines into a live path, and knows which are whole."""

    def __init__(self, live: Path) -> None:
        self.live = live
        self.now_s = START_S
        self.whole: list[bytes] = []
        self.half = b""
        self.target = live
        self.rotations = 0
        live.parent.mkdir(parents=True, exist_ok=True)

    def _write(self, data: bytes) -> None:
        with self.target.open("ab") as file:
            file.write(data)
        self._touch(self.target)

    def _touch(self, path: Path) -> None:
        self.now_s += 0.01
        os.utime(path, (self.now_s, self.now_s))

    def append(self, lines: int, half: bool = False) -> None:
        data = b""
        if self.half:
            data += self.half + b"\n"
            self.half = b""
        for _ in range(lines):
            line = line_of(len(self.whole))
            self.whole.append(line)
            data += line + b"\n"
        if half:
            line = line_of(len(self.whole))
            self.whole.append(line)
            data, self.half = data + line[:30], line[30:]
        self._write(data)

    def finish_line(self) -> None:
        if self.half:
            self.append(0)

    def _name(self) -> Path:
        self.rotations += 1
        return self.live.with_name(f"{self.live.name}.{self.rotations:04d}")

    def rename(self, late_lines: int = 0) -> Path | None:
        """As logrotate and Zeek do; the writer appends some lines to the renamed file before it opens a new one."""
        if not self.live.exists():
            return None
        rotated = self.live.rename(self._name())
        self.target = rotated
        self.finish_line()
        if late_lines:
            self.append(late_lines)
        self.target = self.live
        return rotated

    def copy_and_truncate(self) -> Path | None:
        if not self.live.exists():
            return None
        self.finish_line()
        rotated = self._name()
        shutil.copyfile(self.live, rotated)
        self._touch(rotated)
        os.truncate(self.live, 0)
        self._touch(self.live)
        return rotated

    def pack(self, path: Path, folder: Path) -> Path:
        folder.mkdir(exist_ok=True)
        packed = folder / f"{self.live.stem}.{path.name[-4:]}{self.live.suffix}.gz"
        packed.write_bytes(gzip.compress(path.read_bytes()))
        self._touch(packed)
        path.unlink()
        return packed

    def replace_by_copy(self) -> None:
        """As rsync and editors write: the same content under another inode."""
        if self.live.exists():
            other = self.live.with_name("other.tmp")
            shutil.copy2(self.live, other)
            other.replace(self.live)


class Follower:
    """FollowedFiles with a memory in place of Kafka: a batch and its positions are there both or not at all."""

    def __init__(self, source: FileSource) -> None:
        self.source = source
        self.sent: list[bytes] = []
        self.positions: dict[int, bytes] = {}
        self.gaps: list[tuple[str, dict[str, object]]] = []
        self.start()

    def start(self) -> None:
        self.files = FollowedFiles([self.source])
        self.files.restore(self.committed())

    def committed(self) -> dict[int, FilePosition]:
        return {number: decode(value, "test") for number, value in self.positions.items()}

    def turn(self, now_s: float, fate: str = "commit", most_bytes: int = 1 << 20) -> int:
        """Look, read, and commit; or die before or after the commit, or lose the session."""
        self.files.poll(now_s)
        batch = self.files.read(now_s, most_bytes)
        positions = self.files.positions(now_s)
        lines = [record for _, run in batch.runs for record in run.records]
        self.gaps += [event for event in self.files.events if event[0] in GAPS]
        self.files.events.clear()
        if fate == "die before":
            self.start()
            return 0
        if fate == "lose session":
            self.files.restore(self.committed())
            return 0
        self.sent += lines
        self.positions |= {position.number: position.encoded("test") for position in positions}
        forgotten = list(self.files.forgotten)
        for number in forgotten:
            self.positions.pop(number, None)
        if fate == "die after":
            self.start()
        elif fate == "lose answer":
            self.files.restore(self.committed())
        else:
            self.files.committed(positions)
        return len(lines)

    def drain(self, writer: Writer) -> None:
        """Look until nothing has come for longer than anything is waited for but what is lost."""
        quiet = 0
        for _ in range(200):
            writer.now_s += 5
            quiet = quiet + 1 if not self.turn(writer.now_s) else 0
            if quiet > 30:
                return
        raise AssertionError("never quiet")

    def check(self, writer: Writer) -> None:
        """Each whole line once."""
        twice = [line for line, count in Counter(self.sent).items() if count > 1]
        whole = writer.whole[:-1] if writer.half else writer.whole
        missing = [line for line in whole if line not in set(self.sent)]
        assert not twice and not missing, (len(twice), twice[:3], len(missing), missing[:3])
        assert len(self.sent) == len(whole)


def source(*paths: Path, rotated: tuple[str, ...] = ()) -> FileSource:
    return FileSource(tuple(map(str, paths)), "plant", "edge", ZEEK_JSON, rotated)
