"""A full queue of a broker that does not answer: the loop turns on, and a request to stop is heard."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.errors import Backpressure
from pipeline.runtime.faust import worker as shell
from pipeline.runtime.faust.emitter import Emitter
from pipeline.runtime.faust.partitions import OwnedPartition, Partitions
from pipeline.runtime.faust.stage import Incoming, Outgoing
from pipeline.runtime.kafka import clients
from pipeline.runtime.kafka.outage import KafkaWatch
from pipeline.runtime.kafka.producing import FULL_S
from pipeline.runtime.shutdown import Stop
from pipeline.runtime.telemetry import start
from pipeline.settings import Settings, load_settings
from tests.runtime.faust.test_retained_snapshots import Clock


class Echo(Clock):
    """A stage that emits every message."""

    def advance(self, state: tuple[int, int], message: Incoming) -> tuple[tuple[int, int], Sequence[Outgoing]]:
        return (state[0] + 1, state[1]), [Outgoing("t.features", None, message.value)]

    def parts(self, _state: tuple[int, int]) -> Mapping[str, object]:
        return {}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings whose broker never answers and whose producers hold two messages."""
    monkeypatch.setitem(clients.PRODUCER, "queue.buffering.max.messages", 2)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        return load_settings(bootstrap=f"127.0.0.1:{nobody.getsockname()[1]}", state_uri=tmp_path, metrics_port=-1)


@pytest.mark.slow
def test_emitting_never_waits_and_loses_no_order(settings: Settings) -> None:
    emitter = Emitter(settings, "echo", lambda: None)
    started = time.monotonic()
    emitter.emit(0, [Outgoing("t.features", None, b"%d" % number) for number in range(5)])
    assert time.monotonic() - started < FULL_S
    assert emitter.blocked
    assert [message.value for _partition, message in emitter._waiting] == [b"2", b"3", b"4"]
    asked = time.monotonic()
    with pytest.raises(Backpressure, match="5 messages not acknowledged"):
        emitter.acknowledge(emitter.emitted(0), lambda: time.monotonic() - asked > 0.5)
    assert time.monotonic() - asked < FULL_S


@pytest.mark.slow
def test_the_loop_beats_and_stops_while_nothing_can_be_sent(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the fix the agent's first `produce` on the full queue held the event loop until messages timed out."""
    monkeypatch.setattr(shell, "SAVE_ON_STOP_S", 0.5)
    telemetry = start("echo", settings)
    beats_while_blocked: list[int] = []

    async def run() -> None:
        worker = shell.Worker(Echo(), settings, telemetry, KafkaWatch("echo", settings, telemetry, Stop().listen()))
        worker._app = app = Apart(worker)
        partitions: Partitions[tuple[int, int]] = worker._partitions
        partitions._owned[0] = OwnedPartition((0, 0), 0, 0, None, [], None, 0)  # type: ignore[arg-type]
        work = asyncio.ensure_future(worker._work(app.stream(messages=9)))

        def beat() -> None:
            if partitions.blocked:
                beats_while_blocked.append(1)
                if len(beats_while_blocked) == 8:
                    os.kill(os.getpid(), signal.SIGTERM)

        monkeypatch.setattr(telemetry, "beat", beat)
        await asyncio.wait_for(worker.run(), FULL_S)
        work.cancel()
        assert 2 <= partitions.positions.get(0, 9) <= 9

    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    try:
        asyncio.run(run())
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])


class Apart:
    """What the shell asks of Faust, with messages of our own."""

    crashed, crash_reason = False, None

    def __init__(self, worker: Any) -> None:
        self.consumer = SimpleNamespace(
            assignment=set, highwater=lambda _tp: 0, fetched_before=lambda _tp, offset: offset - 1
        )
        self._worker = worker

    async def start(self) -> None:
        """Nothing to start."""

    async def stop(self) -> None:
        """Nothing to stop."""

    def stream(self, messages: int) -> Any:
        """A stream of so many messages."""

        async def events() -> Any:
            for offset in range(messages):
                message = SimpleNamespace(
                    tp=0, topic="t.flows", partition=0, offset=offset, timestamp=0.0, key=None, value=b"x", headers=()
                )
                yield SimpleNamespace(message=message)
                await asyncio.sleep(0)

        none_ready = SimpleNamespace(queue=asyncio.Queue[Any]())
        return SimpleNamespace(noack=lambda: SimpleNamespace(events=events), channel=none_ready)
