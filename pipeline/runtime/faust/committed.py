"""Faust's Kafka driver with three habits changed: it reads only what was committed, and from positions of our own.

Faust asks for read_committed only when it runs its own transactions, and after every rebalance it seeks to the group's
committed offsets. Both are decided in one overridable method each. And a fetch may wait for 1.5 s at the broker.

It also remembers in which order messages were fetched, because between fetch and agent Faust may drop some (robinhood/
faust#216, #221, #606): offsets cannot show it, they have holes wherever a transaction ended.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport

from pipeline.runtime.kafka.clients import WORKER_WAIT

Positions = Callable[[set[Any]], Awaitable[Mapping[Any, int]]]


class CommittedThread(AIOKafkaConsumerThread):
    """The thread that owns the aiokafka consumer."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        # `in_transaction` is the one thing Faust looks at when it chooses the isolation level.
        self.consumer.in_transaction = True
        try:
            made = super()._create_worker_consumer(transport)
            # While a fetch is under way aiokafka sends none for a partition that it left out, because what had come of
            # it was not taken within a tenth of a second: Faust's 1,500 ms would be as much delay.
            made._fetch_max_wait_ms = WORKER_WAIT["fetch.wait.max.ms"]
            return made
        finally:
            self.consumer.in_transaction = False


class OwnPositionsConsumer(Consumer):
    """A consumer that takes its start positions from the worker instead of asking Kafka."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._seeks = 0
        self._newest: dict[Any, int] = {}
        self._before: dict[tuple[Any, int], int] = {}
        super().__init__(*args, **kwargs)

    def _new_consumer_thread(self) -> CommittedThread:
        return CommittedThread(self, loop=self.loop, beacon=self.beacon)

    async def perform_seek(self) -> None:
        """Seek every assigned partition to our position; Faust calls this before it lets messages flow."""
        self._forget()
        app: Any = self.app
        positions_of: Positions = app.positions_of
        positions = await positions_of(self.assignment())
        await self.seek_wait(positions)
        self._forget()
        self._seeks += 1

    def _forget(self) -> None:
        self._newest.clear()
        self._before.clear()

    async def _getmany(self, active_partitions: set[Any] | None, timeout: float) -> Any:  # noqa: ASYNC109 - Faust's
        before = self._seeks
        records = await super()._getmany(active_partitions, timeout)
        if self._seeks != before:
            # The fetch was under way while a rebalance sought elsewhere: nobody knows on which side of the seek these
            # records lie. Nothing was delivered since, so read again from where we stand.
            await self.perform_seek()
            return {}
        for tp, messages in records.items():
            for message in messages:
                self._before[tp, message.offset] = self._newest.get(tp, -1)
                self._newest[tp] = message.offset
        return records

    def fetched_before(self, tp: Any, offset: int) -> int | None:
        """Offset of the message fetched just before this one since the last seek, -1 if it was the first.

        None where this one was not fetched since then: it is a leftover of before a rebalance.
        """
        return self._before.pop((tp, offset), None)

    def fetched_beyond(self, tp: Any, position: int) -> bool:
        """Whether a message at this position or behind it has been fetched since the last seek."""
        return self._newest.get(tp, -1) >= position

    async def commit_positions(self, positions: Mapping[Any, int]) -> None:
        """Commit offsets to the group, for those who watch its lag; nothing of ours reads them."""
        await self._commit(positions)


class OwnPositionsTransport(Transport):
    """The transport that makes these consumers."""

    Consumer = OwnPositionsConsumer
