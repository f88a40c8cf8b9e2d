"""Transactions of a stage, one after the other, in a thread of their own: the stage works while one is committed.

What is put while a transaction is open waits, and all that waits is the next transaction. So nothing waits where none
is open, and where they come slowly each holds more.

    worker   put a             put b    put c              put d
    writer   begin a ........ committed | begin b c ..... committed | begin d ..

A message and the position behind it are put together, and nothing that was put later is ever committed before: after a
crash at any point all is read again from the last transaction that was committed.
"""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from confluent_kafka import KafkaException, Producer, TopicPartition

from pipeline.contracts.raw import Headers
from pipeline.runtime import failpoints
from pipeline.runtime.kafka.outage import KafkaWatch
from pipeline.runtime.kafka.producing import produce
from pipeline.runtime.kafka.watchdog import Watchdog
from pipeline.runtime.telemetry import Telemetry

MAX_WAITING_BYTES = 4_194_304
"""Of messages that wait for the open transaction; who has more to put waits. A transaction takes a few milliseconds
whatever is in it: larger ones save nothing, and what waits is held here, and once more in the producer's queue."""
CLOSE_S = 10.0
"""So long a session that ends waits for its transaction; after that it is left to its successor, who aborts it."""

BY_KEY = -1
"""As a message's partition: the one that its key belongs to."""

Committed = Callable[[float], None]


class Outgoing(NamedTuple):
    """A message to produce."""

    topic: str
    partition: int
    key: str | bytes | None
    value: bytes | None
    headers: Headers


@dataclass(slots=True)
class _Transaction:
    membership: Any
    messages: list[Outgoing] = field(default_factory=list)
    positions: dict[tuple[str, int], TopicPartition] = field(default_factory=dict)
    committed: list[Committed] = field(default_factory=list)
    message_bytes: int = 0
    sent_us: int | None = None
    """Kafka's timestamp of the oldest message that it comes from."""


class TransactionWriter:
    """Writes what one worker puts; all but the thread's own work is for that worker's thread.

    Parameters
    ----------
    stage : str
        Names its fail points: `STAGE.begun`, `STAGE.produced`, `STAGE.offsets sent`, `STAGE.committed`.
    producer : Producer
        A transactional one; from now on nobody else uses it.
    """

    def __init__(self, stage: str, producer: Producer, kafka: KafkaWatch, telemetry: Telemetry) -> None:
        self._stage, self._producer, self._kafka, self._telemetry = stage, producer, kafka, telemetry
        self._watchdog = Watchdog(stage, kafka.hopeless)
        self._changed = threading.Condition()
        self._waiting: _Transaction | None = None
        self._open: _Transaction | None = None
        self._is_aborted = self._is_closed = False
        self._raised: BaseException | None = None
        self._committed: list[tuple[Committed, float]] = []
        telemetry.count("forebay_producer_full", 0, stage=stage)
        telemetry.stage.uncommitted_since(self._oldest_us)
        self._thread = threading.Thread(target=self._write_all, name="transactions", daemon=True)
        self._thread.start()

    # ---- for the worker

    def put(
        self,
        messages: Iterable[Outgoing],
        positions: Iterable[TopicPartition],
        membership: Any,
        committed: Committed | None = None,
        sent_us: int | None = None,
    ) -> bool:
        """Messages and the positions behind them, for the next transaction; False, and nothing put, after an abort.

        Parameters
        ----------
        positions : the offset to read next of each partition, and what is stored beside it; may be none
        membership : Consumer.consumer_group_metadata(), by which Kafka knows whose positions these are
        committed : called by `poll` or `settle` once they are, with the time.perf_counter() of that
        sent_us : Kafka's timestamp of the oldest message that they come from: lag counts from it until they are

        Raises what ended an earlier transaction and the session with it.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._has_room() or self._has_failed())
            if self._raised is not None:
                raise self._raised
            if self._has_failed():
                return False
            waiting = self._waiting = self._waiting or _Transaction(membership)
            waiting.membership = membership
            for message in messages:
                waiting.messages.append(message)
                waiting.message_bytes += len(message.value or b"")
            waiting.positions.update(((at.topic, at.partition), at) for at in positions)
            if committed is not None:
                waiting.committed.append(committed)
            waiting.sent_us = _older(waiting.sent_us, sent_us)
            self._changed.notify_all()
        return True

    def poll(self) -> bool:
        """Call back for what is committed by now; False after an abort, until `resume`.

        Raises what ended an earlier transaction and the session with it.
        """
        with self._changed:
            done, self._committed = self._committed, []
            raised, is_fine = self._raised, not self._has_failed()
        for committed, at_s in done:
            committed(at_s)
        if raised is not None:
            raise raised
        return is_fine

    def settle(self) -> bool:
        """Wait until all that was put is committed, and `poll`."""
        with self._changed:
            self._changed.wait_for(lambda: not self.is_open() or self._has_failed())
        return self.poll()

    def is_open(self) -> bool:
        """Whether a transaction is open: what is put now is in the next one."""
        return self._open is not None or self._waiting is not None

    def resume(self) -> None:
        """After an abort: the worker reads again from the committed positions, and puts what follows from them."""
        with self._changed:
            self._is_aborted = False

    def close(self) -> None:
        """Drop what waits, and wait for the open transaction, but not for long. Nothing is raised from now on."""
        with self._changed:
            self._is_closed, self._waiting, self._raised = True, None, None
            self._changed.notify_all()
        self._thread.join(CLOSE_S)

    def _oldest_us(self) -> int | None:
        """Kafka's timestamp of the oldest message of which what came is not committed; in the thread of a scrape."""
        with self._changed:
            held = [each.sent_us for each in (self._open, self._waiting) if each is not None]
        return _older(*held, None)

    # ---- the thread

    def _has_room(self) -> bool:
        return self._waiting is None or self._waiting.message_bytes < MAX_WAITING_BYTES

    def _has_failed(self) -> bool:
        return self._is_aborted or self._is_closed or self._raised is not None

    def _write_all(self) -> None:
        while (transaction := self._next()) is not None:
            is_committed, raised = False, None
            try:
                is_committed = self._write(transaction)
            except BaseException as error:  # the worker's to handle: it raises in `put`, `poll` or `settle`
                raised = error
            self._ended(transaction, is_committed, raised)
            if raised is not None:
                return

    def _next(self) -> _Transaction | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting is not None or self._is_closed)
            transaction, self._waiting = self._waiting, None
            self._open = transaction
            self._changed.notify_all()
            return transaction

    def _ended(self, transaction: _Transaction, is_committed: bool, raised: BaseException | None) -> None:
        at_s = time.perf_counter()
        with self._changed:
            self._open = None
            if is_committed:
                self._committed += [(committed, at_s) for committed in transaction.committed]
            else:
                self._waiting, self._is_aborted = None, True  # what was put since follows from what was aborted
            if not self._is_closed:
                self._raised = raised
            self._changed.notify_all()

    def _write(self, transaction: _Transaction) -> bool:
        """Messages, then positions, in one transaction; False where it was aborted.

        Raises KafkaException or what else ends the session.
        """
        offsets = list(transaction.positions.values())
        try:
            self._producer.begin_transaction()
            failpoints.reached(f"{self._stage}.begun")
            for message in transaction.messages:
                self._produce(message)
            transaction.messages.clear()  # the producer has its own copy
            failpoints.reached(f"{self._stage}.produced")
            if offsets:
                self._kafka.step(
                    lambda timeout_s: self._watchdog.send_offsets(
                        self._producer, offsets, transaction.membership, timeout_s
                    )
                )
            failpoints.reached(f"{self._stage}.offsets sent")
            self._kafka.step(self._producer.commit_transaction)
            failpoints.reached(f"{self._stage}.committed")
        except KafkaException as error:
            self._kafka.abort(
                self._producer, error, up_to=[f"{at.topic}[{at.partition}]@{at.offset}" for at in offsets]
            )
            return False
        self._kafka.progressed()
        return True

    def _produce(self, message: Outgoing) -> None:
        # The queue is bounded: wait for the broker, so that lag grows in Kafka and not in memory.
        produce(
            self._producer,
            message.topic,
            message.value,
            stopped=self._kafka.hopeless,
            full=lambda: self._telemetry.count("forebay_producer_full", stage=self._stage),
            key=message.key,
            partition=message.partition,
            headers=message.headers,
        )
        self._producer.poll(0)


def _older(*sent_us: int | None) -> int | None:
    return min((each for each in sent_us if each is not None), default=None)
