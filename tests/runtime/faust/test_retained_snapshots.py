"""When the shell retains a snapshot for replays: after its pointer, once an hour of event time, despite kills."""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.runtime.faust import partitions as shell
from pipeline.runtime.faust.partitions import Partitions
from pipeline.runtime.faust.stage import Incoming, Outgoing, Stage
from pipeline.runtime.kafka import clients, topics
from pipeline.runtime.state import pointers
from pipeline.runtime.state.pointers import Pointer
from pipeline.runtime.state.replay_snapshots import SnapshotCatalog
from pipeline.runtime.telemetry import start
from pipeline.settings import Settings, load_settings

MINUTE_US = 60_000_000


class Clock(Stage[tuple[int, int]]):
    """A stage whose state is how many messages came and the minutes the last one named."""

    name, source, pointers = "clock", "t.flows", "t.clock-state"

    def restore(self, _partition: int, snapshot: bytes | None, parts: Mapping[str, bytes]) -> tuple[int, int]:
        assert snapshot is None or parts == {"part": b"part"}
        return (0, -(1 << 62)) if snapshot is None else (int(snapshot[:8]), int(snapshot[8:]))

    def snapshot(self, state: tuple[int, int]) -> bytes:
        return b"%08d%d" % state

    def parts(self, _state: tuple[int, int]) -> Mapping[str, object]:
        return {"part": self.name}

    def part(self, _part: object) -> bytes:
        return b"part"

    def seq(self, state: tuple[int, int]) -> int:
        return state[0]

    def reached_us(self, state: tuple[int, int]) -> int:
        return state[1]

    def advance(self, state: tuple[int, int], message: Incoming) -> tuple[tuple[int, int], Sequence[Outgoing]]:
        minutes = int(message.value)
        return (state[0] + 1, max(state[1], minutes * MINUTE_US) if minutes else state[1]), ()


class Quiet:
    """A producer of nothing."""

    def flush(self, _timeout_s: float) -> int:
        return 0


class Log:
    """A topic of pointers."""

    def __init__(self) -> None:
        self.written: list[Pointer] = []
        self.dies = False

    def write(self, _producer: Any, _topic: str, fresh: list[Pointer], _stopped: Any) -> None:
        self.written += fresh
        if self.dies:
            raise KeyboardInterrupt

    def read(self, _settings: Settings, _topic: str, wanted: list[int], **_others: object) -> dict[int, list[Pointer]]:
        return {
            number: pointers.by_position(pointer for pointer in self.written if pointer.partition == number)
            for number in wanted
        }


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    made = Log()
    monkeypatch.setattr(clients, "producer", lambda *_args, **_others: Quiet())
    monkeypatch.setattr(pointers, "write", made.write)
    monkeypatch.setattr(pointers, "read", made.read)
    monkeypatch.setattr(topics, "topic_id", lambda *_args: "id")
    monkeypatch.setattr(Partitions, "_bounds", lambda _self, _partition: (0, 10**6))
    return made


def worker(settings: Settings) -> Partitions[tuple[int, int]]:
    owned = Partitions(Clock(), settings, start("clock", settings))
    owned.restore([3])
    return owned


def take(owned: Partitions[tuple[int, int]], minutes: Sequence[int]) -> None:
    """Messages that name these minutes, each followed by a save."""
    for minute in minutes:
        owned.advance([(Incoming(3, owned.positions[3], 0, None, b"%d" % minute, {}), -1)])
        owned.save()


def retained_snapshots(settings: Settings) -> list[tuple[int, int]]:
    entries = SnapshotCatalog(settings.state_uri, "t.flows", 3).of("id")
    return [(entry.position, entry.reached_us // MINUTE_US) for entry in reversed(entries)]


def settings_in(folder: Path, **changes: object) -> Settings:
    return load_settings(state_uri=folder, **changes)


def test_one_about_every_hour_of_event_time(tmp_path: Path, log: Log) -> None:
    settings = settings_in(tmp_path)
    take(worker(settings), [0, 5, 6, 64, 65, 66, 3, 124, 126, 600])
    assert retained_snapshots(settings) == [(2, 5), (5, 65), (9, 126), (10, 600)]
    # A worker that starts anew continues where the last one was, and one without a past starts at once.
    take(worker(settings), [610, 659, 660])
    assert retained_snapshots(settings)[-1] == (13, 660)
    assert len(log.written) == 13


def test_so_many_at_most_and_none_where_none_are_asked_for(tmp_path: Path, log: Log) -> None:
    few, none = settings_in(tmp_path / "a", state_kept=2), settings_in(tmp_path / "b", state_kept=0)
    take(worker(few), [60, 120, 180, 240])
    assert retained_snapshots(few) == [(3, 180), (4, 240)]
    log.written.clear()
    take(worker(none), [60, 120])
    assert retained_snapshots(none) == []


def test_killed_after_the_pointer_the_next_save_retains_one(tmp_path: Path, log: Log) -> None:
    settings, owned = settings_in(tmp_path), None
    take(worker(settings), [60])
    owned, log.dies = worker(settings), True
    with pytest.raises(KeyboardInterrupt):
        take(owned, [120])
    assert [pointer.position for pointer in log.written] == [1, 2]  # the pointer is there, and no entry
    assert retained_snapshots(settings) == [(1, 60)]
    log.dies = False
    take(worker(settings), [121])
    assert retained_snapshots(settings) == [(1, 60), (3, 121)]


def test_what_is_retained_is_not_collected(tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_in(tmp_path)
    owned = worker(settings)
    monkeypatch.setattr(shell, "COLLECT_EVERY_S", 1e9)
    take(owned, [60, 61, 62, 63, 120, 121, 122, 123, 124, 125])
    folder = tmp_path / "clock" / "3"
    for path in folder.iterdir():
        os.utime(path, (time.time() - 3600,) * 2)
    monkeypatch.setattr(shell, "COLLECT_EVERY_S", 0.0)
    take(owned, [126])
    entries = SnapshotCatalog(settings.state_uri, "t.flows", 3).of("id")
    assert len(entries) == 2
    needed = {blob for entry in entries for blob in entry.blobs}
    there = {path.name for path in folder.iterdir()}
    # The retained ones, the last four that pointers name, and the part they share.
    assert needed <= there and len(there) == 2 + 4 + 1


def test_a_topic_whose_id_is_not_known_yet_retains_none(
    tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_in(tmp_path)
    monkeypatch.setattr(topics, "topic_id", lambda *_args: "")
    owned = worker(settings)
    take(owned, [60])
    assert retained_snapshots(settings) == []
    monkeypatch.setattr(topics, "topic_id", lambda *_args: "id")
    monkeypatch.setattr(shell, "COLLECT_EVERY_S", 0.0)
    take(owned, [61, 62])
    assert retained_snapshots(settings) == [(3, 62)]
