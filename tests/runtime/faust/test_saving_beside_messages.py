"""A state is saved as it was captured, whatever is advanced while it is written, and only behind what Kafka has."""

import asyncio
import shutil
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import Backpressure
from pipeline.runtime.faust import partitions as saving
from pipeline.runtime.faust import worker as shell
from pipeline.runtime.faust.emitter import Emitter
from pipeline.runtime.faust.partitions import Partitions
from pipeline.runtime.faust.stage import Incoming, Outgoing, Stage
from pipeline.runtime.kafka import clients
from pipeline.runtime.kafka.outage import KafkaWatch
from pipeline.runtime.shutdown import Stop
from pipeline.runtime.telemetry import start
from pipeline.settings import Settings, load_settings
from tests.patience import PATIENCE_S
from tests.runtime.faust.test_backpressure import Apart
from tests.runtime.faust.test_retained_snapshots import Log, log

__all__ = ["log"]  # a fixture: pointers in memory, and a producer of nothing
NAMES = ("a", "b")


@dataclass
class Written:
    """A part that is written to where it stands, as windows are."""

    count: int = 0


class Counts(Stage[dict[str, Written]]):
    """A stage that counts messages in two parts, in turn; a part that has advanced is another object."""

    name, source, pointers = "counts", "t.flows", "t.counts-state"

    def restore(self, _partition: int, snapshot: bytes | None, parts: Mapping[str, bytes]) -> dict[str, Written]:
        assert snapshot is None or set(parts) == set(NAMES)
        return {name: Written(int(parts.get(name, b"0"))) for name in NAMES}

    def snapshot(self, _state: dict[str, Written]) -> bytes:
        return b"counts"

    def parts(self, state: dict[str, Written]) -> Mapping[str, object]:
        return state

    def part(self, part: object) -> bytes:
        assert isinstance(part, Written)
        return b"%d" % part.count

    def seq(self, state: dict[str, Written]) -> int:
        return sum(part.count for part in state.values())

    def reached_us(self, state: dict[str, Written]) -> int:
        return self.seq(state)

    def advance(self, state: dict[str, Written], message: Incoming) -> tuple[dict[str, Written], Sequence[Outgoing]]:
        name = NAMES[message.offset % 2]
        state[name].count += 1  # the state is taken over
        return {**state, name: Written(state[name].count)}, ()


def owned(folder: Path) -> Partitions[dict[str, Written]]:
    settings = load_settings(state_uri=folder, metrics_port=-1)
    made = Partitions(Counts(), settings, start("counts", settings))
    made.restore([3])
    return made


def advance(partitions: Partitions[dict[str, Written]], messages: int) -> None:
    for _ in range(messages):
        partitions.advance([(Incoming(3, partitions.positions[3], 0, None, b"", {}), -1)])


@pytest.mark.parametrize("before", [0, 1, 5])
@pytest.mark.parametrize("beside", [0, 1, 4])
def test_a_state_is_saved_as_it_was_captured(tmp_path: Path, log: Log, before: int, beside: int) -> None:
    partitions = owned(tmp_path)
    advance(partitions, before)
    partitions.save()
    advance(partitions, 3)
    captured = partitions.capture(3)
    advance(partitions, beside)
    saved = partitions.write(captured)
    advance(partitions, beside)
    assert saved is not None
    assert partitions.point([(captured, saved)], 0.0) == {3: before + 3}
    assert (log.written[-1].position, log.written[-1].seq) == (before + 3, before + 3)
    assert partitions.unsaved == 2 * beside
    again = owned(tmp_path)
    assert again.positions == {3: before + 3}
    assert again.stage.seq(again._owned[3].state) == before + 3
    partitions.save()
    assert owned(tmp_path).positions == {3: before + 3 + 2 * beside}


def test_where_a_saved_part_has_vanished_the_next_save_writes_all(tmp_path: Path, log: Log) -> None:
    partitions = owned(tmp_path)
    advance(partitions, 4)
    partitions.save()
    advance(partitions, 1)
    shutil.rmtree(tmp_path / "counts")
    assert partitions.save() == {}, "part b has not changed, and its blob is gone"
    assert log.written[-1].position == 4 and partitions.unsaved == 1
    assert partitions.save() == {3: 5}
    assert owned(tmp_path).positions == {3: 5}


def test_after_a_dear_save_there_is_a_rest_that_has_an_end(
    tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = SimpleNamespace(s=1_000.0)
    clock = SimpleNamespace(monotonic=lambda: now.s, perf_counter=lambda: now.s, time=lambda: now.s)
    monkeypatch.setattr(saving, "time", clock)
    partitions = owned(tmp_path)

    def saved_after(took_s: float) -> list[bool]:
        """Whether the next save is due just before and just after the rest that a save of so long is followed by."""
        advance(partitions, 1)
        started, now.s = now.s, now.s + took_s
        captured = partitions.capture(3)
        saved = partitions.write(captured)
        assert saved is not None
        partitions.point([(captured, saved)], started)
        advance(partitions, 1_000)
        due = [partitions.due]
        for later_s in (min(saving.REST_RATIO * took_s, saving.MAX_REST_S) - 0.001, 0.002):
            now.s += later_s
            due.append(partitions.due)
        return due

    assert saved_after(0.1) == [False, False, True]
    assert saved_after(100.0) == [False, False, True]
    assert partitions.save() == {3: 2_002} and now.s == pytest.approx(1_115.002, abs=0.01), (
        "asked for, it waits for none"
    )


class Slow:
    """A producer whose acknowledgements come when it is asked for them, in an order of its own between partitions."""

    def __init__(self, order: list[int]) -> None:
        self.sent: dict[tuple[str, int], list[Any]] = {}
        self._order = order

    def produce(self, topic: str, _value: bytes, *, partition: int, on_delivery: Any, **_others: Any) -> None:
        message = SimpleNamespace(topic=lambda: topic, partition=lambda: partition)
        self.sent.setdefault((topic, partition), []).append(lambda: on_delivery(None, message))

    def poll(self, timeout_s: float) -> int:
        held = [key for key, messages in self.sent.items() if messages]
        if timeout_s and held:
            key = held[(self._order.pop() if self._order else 0) % len(held)]
            self.sent[key].pop(0)()
        return 0


EMITTED = st.lists(st.tuples(st.sampled_from(["t.features", "t.baselines"]), st.integers(0, 2)), max_size=12)


@given(EMITTED, EMITTED, st.lists(st.integers(0, 5), max_size=30))
def test_a_state_waits_for_what_was_emitted_before_it_alone(
    before: list[tuple[str, int]], beside: list[tuple[str, int]], order: list[int]
) -> None:
    producer = Slow(order)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clients, "producer", lambda *_args, **_others: producer)
        emitter = Emitter(load_settings(), "echo", lambda: None)
    for topic, partition in before:
        emitter.emit(partition, [Outgoing(topic, None, b"x")])
    emitted = emitter.emitted(1)
    for topic, partition in beside:
        emitter.emit(partition, [Outgoing(topic, None, b"x")])
    wanted = {topic: sum(each == (topic, 1) for each in before) for topic in ("t.features", "t.baselines")}
    if any(wanted.values()):
        with pytest.raises(Backpressure, match=f"{sum(wanted.values())} messages not acknowledged"):
            emitter.acknowledge(emitted, lambda: True)
    emitter.acknowledge(emitted, lambda: False)
    for topic, count in wanted.items():
        left = len(producer.sent.get((topic, 1), []))
        assert left <= sum(each == (topic, 1) for each in beside), f"{count} of {topic} are acknowledged"


def test_messages_are_advanced_while_a_state_is_written(
    tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice what a save is due after: then they wait for the save. The next one comes after a rest."""
    settings: Settings = load_settings(state_uri=tmp_path, metrics_port=-1, state_every_messages=5, state_every_s=600)
    telemetry = start("counts", settings)
    writing, may_end = threading.Event(), threading.Event()
    write = Partitions.write

    def slow(self: Partitions[Any], captured: Any) -> Any:
        writing.set()
        assert may_end.wait(PATIENCE_S)
        return write(self, captured)

    monkeypatch.setattr(Partitions, "write", slow)

    async def run() -> None:
        worker = shell.Worker(Counts(), settings, telemetry, KafkaWatch("counts", settings, telemetry, Stop()))
        worker._app = app = Apart(worker)
        app.consumer.commit_positions = lambda _offsets: asyncio.sleep(0)
        worker._partitions.restore([0])
        work = asyncio.ensure_future(worker._work(app.stream(messages=40)))
        assert await asyncio.to_thread(writing.wait, 30)
        for _ in range(3_000):
            if worker._partitions.overdue:
                break
            await asyncio.sleep(0.01)
        assert not log.written
        reached = worker._partitions.positions[0]
        assert 15 <= reached <= 20, "what is unsaved is bounded"
        await asyncio.sleep(0.05)
        assert worker._partitions.positions[0] == reached
        may_end.set()
        await work
        await worker._save(only_if_due=False)
        assert worker._partitions.positions == {0: 40} and worker._partitions.unsaved == 0

    asyncio.run(asyncio.wait_for(run(), 60))
    assert log.written[-1].position == 40 and len(log.written) >= 2
