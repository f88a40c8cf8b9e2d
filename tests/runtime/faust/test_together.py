"""Which messages the shell hands to a stage together: what lies ready, one a partition, none of before a seek."""

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.runtime.faust import worker as shell
from pipeline.runtime.faust.stage import Incoming, Outgoing
from pipeline.runtime.kafka.outage import KafkaWatch
from pipeline.runtime.shutdown import Stop
from pipeline.runtime.telemetry import start
from pipeline.settings import load_settings
from tests.runtime.faust.test_backpressure import Apart
from tests.runtime.faust.test_retained_snapshots import Log, log
from tests.runtime.faust.test_saving_beside_messages import Counts, Written

__all__ = ["log"]
Position = tuple[int, int]


class Notes(Counts):
    """Counts, and notes which messages came together."""

    gathers = True

    def __init__(self) -> None:
        self.steps: list[list[Position]] = []

    def advance_together(
        self, messages: Sequence[tuple[dict[str, Written], Incoming]]
    ) -> Sequence[tuple[dict[str, Written], Sequence[Outgoing]]]:
        self.steps.append([(message.partition, message.offset) for _, message in messages])
        return super().advance_together(messages)


def _message(partition: int, offset: int) -> Any:
    return SimpleNamespace(
        tp=partition, partition=partition, offset=offset, timestamp=0.0, key=None, value=b"x", headers=()
    )


def _stream(messages: Iterable[Position], ready: int) -> Any:
    """A stream in which so many of the messages lie ready, and the others come one by one."""
    queue = asyncio.Queue[None]()
    for _ in range(ready):
        queue.put_nowait(None)

    async def events() -> Any:
        for partition, offset in messages:
            if not queue.empty():
                queue.get_nowait()
            await asyncio.sleep(0)
            yield SimpleNamespace(message=_message(partition, offset))

    return SimpleNamespace(noack=lambda: SimpleNamespace(events=events), channel=SimpleNamespace(queue=queue))


COMES: list[Position] = [(0, 0), (1, 0), (2, 0), (0, 1), (0, 2), (1, 1)]


@pytest.mark.parametrize(
    ("ready", "steps"),
    [
        (0, [[each] for each in COMES]),
        (6, [[(0, 0), (1, 0), (2, 0)], [(0, 1)], [(0, 2), (1, 1)]]),
        (2, [[(0, 0), (1, 0)], [(2, 0)], [(0, 1)], [(0, 2)], [(1, 1)]]),
    ],
)
def test_what_lies_ready_is_one_step(tmp_path: Path, log: Log, ready: int, steps: list[list[Position]]) -> None:
    settings = load_settings(state_uri=tmp_path, metrics_port=-1, gather_ms=1)
    telemetry, stage = start("counts", settings), Notes()

    async def run() -> None:
        worker = shell.Worker(stage, settings, telemetry, KafkaWatch("counts", settings, telemetry, Stop()))
        worker._app = Apart(worker)
        worker._partitions.restore([0, 1, 2])
        await worker._work(_stream(COMES, ready))
        assert worker._partitions.positions == {0: 3, 1: 2, 2: 1}

    asyncio.run(run())
    assert stage.steps == steps


class Fetched:
    """A worker of two partitions, and what its consumer has fetched since the last seek: the offset before each."""

    def __init__(self, folder: Path) -> None:
        settings = load_settings(state_uri=folder, metrics_port=-1, gather_ms=1_000)
        telemetry, self.stage = start("counts", settings), Notes()
        self.worker = shell.Worker(self.stage, settings, telemetry, KafkaWatch("counts", settings, telemetry, Stop()))
        self.worker._app, self.before = Apart(self.worker), dict[Position, int]()
        self.worker._app.consumer.fetched_before = lambda tp, offset: self.before.pop((tp, offset), None)
        self.worker._partitions.restore([0, 1])


def test_a_leftover_of_before_a_seek_is_none_although_its_offset_is_fetched_again(tmp_path: Path, log: Log) -> None:
    """Without the check as it comes it was held for a moment, taken for what was fetched meanwhile, and a gap."""
    again = [(0, 0), (0, 1), (0, 2)]

    async def run() -> None:
        made, came = Fetched(tmp_path), _stream([(0, 2)], ready=0)
        fetching = asyncio.get_running_loop().call_later(0.01, made.before.update, {(0, 0): -1, (0, 1): 0, (0, 2): 1})
        await made.worker._work(came)
        await asyncio.sleep(fetching.when() - asyncio.get_running_loop().time() + 0.01)
        await made.worker._work(_stream(again, ready=3))
        assert made.worker._fatal is None and made.stage.steps == [[each] for each in again]

    asyncio.run(run())


def test_what_is_held_while_positions_are_restored_is_forgotten(tmp_path: Path, log: Log) -> None:
    async def run() -> None:
        made = Fetched(tmp_path)
        worker, made.before[0, 0] = made.worker, -1
        worker._hold(_message(0, 0))
        async with worker._lock:
            seeking = asyncio.ensure_future(worker._restore(set()))
            await asyncio.sleep(0)
            step = asyncio.ensure_future(worker._advance_together())
            await asyncio.sleep(0)
        await asyncio.gather(seeking, step)
        worker._renewing, made.before[0, 0] = True, -1
        worker._hold(_message(0, 0))
        assert not worker._together and not made.stage.steps

    asyncio.run(run())


@pytest.mark.parametrize("ends", ["save", "revoke", "beside"])
def test_a_state_that_a_failed_step_has_taken_over_is_not_saved(tmp_path: Path, log: Log, ends: str) -> None:
    """The state of partition 0 counts the message at 1 already, its position is before it."""

    class Fails(Notes):
        def advance(self, state: dict[str, Written], message: Incoming) -> Any:
            if message.partition == 1:
                raise ValueError("no message")
            return super().advance(state, message)

    async def run() -> None:
        made = Fetched(tmp_path)
        worker, made.worker._partitions.stage = made.worker, Fails()
        made.before.update({(0, 0): -1, (0, 1): 0, (1, 0): -1})
        await worker._work(_stream([(0, 0)], ready=1))
        async with worker._lock:
            saving = [asyncio.ensure_future(worker._save(only_if_due=False))] if ends == "beside" else []
            await asyncio.sleep(0)
            for partition, offset in ((0, 1), (1, 0)):
                worker._hold(_message(partition, offset))
            worker._advance(list(worker._together.values()))
        assert isinstance(worker._fatal, ValueError) and worker._partitions.unsaved == 1
        await asyncio.gather(*saving)
        await (worker._revoked() if ends == "revoke" else worker._save(only_if_due=False))
        assert not log.written

    asyncio.run(run())
