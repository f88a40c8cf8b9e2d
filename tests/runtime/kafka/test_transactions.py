"""What is put is committed once and in order, whatever Kafka aborts; what waits shares the next transaction."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.runtime.kafka import transactions
from pipeline.runtime.kafka.transactions import Outgoing, TransactionWriter
from pipeline.runtime.telemetry import start
from pipeline.settings import load_settings
from tests.patience import PATIENCE_S

TOPIC = "archive"


class Log:
    """A producer, and the Kafka it commits to: messages and a position that become visible together.

    outcomes : of the transactions in turn: committed, aborted by Kafka, or the end of the session; then all commit.
    """

    def __init__(self, outcomes: str = "") -> None:
        self.outcomes = list(outcomes)
        self.committed: list[bytes] = []
        self.position = 0
        self.sizes: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.at_gate = threading.Event()

    def begin_transaction(self) -> None:
        self._messages: list[bytes] = []
        self._position = self.position

    def produce(self, topic: str, value: bytes, **_message: Any) -> None:
        assert topic == TOPIC
        self._messages.append(value)

    def poll(self, _timeout_s: float) -> None:
        pass

    def send_offsets_to_transaction(self, offsets: list[TopicPartition], membership: Any, _timeout_s: float) -> None:
        assert membership == "member"
        [at] = offsets
        self._position = at.offset

    def commit_transaction(self, _timeout_s: float) -> None:
        self.at_gate.set()
        assert self.gate.wait(PATIENCE_S)
        outcome = self.outcomes.pop(0) if self.outcomes else "c"
        if outcome != "c":
            raise KafkaException(
                KafkaError(KafkaError._FAIL, outcome, fatal=outcome == "f", txn_requires_abort=outcome == "a")
            )
        self.committed += self._messages
        self.sizes.append(len(self._messages))
        self.position = self._position

    def abort_transaction(self, _timeout_s: float) -> None:
        pass


class Kafka:
    """Of a KafkaWatch what a writer uses."""

    hopeless = staticmethod(lambda: False)
    progressed = staticmethod(lambda: None)

    def step(self, step: Callable[[float], object]) -> None:
        step(1.0)

    def abort(self, producer: Log, error: KafkaException, **_facts: object) -> None:
        if error.args[0].fatal():
            raise error
        producer.abort_transaction(1.0)


@contextmanager
def writing(log: Log) -> Iterator[TransactionWriter]:
    telemetry = start("score", load_settings(metrics_port=-1))
    writer = TransactionWriter("score", cast("Any", log), cast("Any", Kafka()), telemetry)
    try:
        yield writer
    finally:
        telemetry.close()
        log.gate.set()
        writer.close()
        assert not writer._thread.is_alive()


def put(
    writer: TransactionWriter,
    number: int,
    value: bytes | None = None,
    done: list[int] | None = None,
    sent_us: int | None = None,
) -> bool:
    message = Outgoing(TOPIC, 0, None, value or str(number).encode(), [])
    at = TopicPartition("features", 0, number + 1)
    committed = None if done is None else lambda _at_s: done.append(number)
    return writer.put([message], [at], "member", committed, sent_us)


def lag_s(writer: TransactionWriter) -> float:
    lag = writer._telemetry.registry.get_sample_value("forebay_lag_seconds", {"stage": "score"})
    assert lag is not None
    return lag


@settings(deadline=None)
@given(outcomes=st.text("ca", max_size=12), total=st.integers(0, 20), settles=st.sets(st.integers(0, 20)))
def test_what_follows_from_an_aborted_transaction_is_never_committed(
    outcomes: str, total: int, settles: set[int]
) -> None:
    log, done = Log(outcomes), list[int]()
    with writing(log) as writer:
        number = 0
        while number < total or not writer.settle():
            if number < total and put(writer, number, done=done):
                number += 1
                if number not in settles or writer.settle():
                    continue
            number = log.position  # as a worker does: from what is committed
            writer.resume()
    assert log.committed == [str(each).encode() for each in range(total)]
    assert done == list(range(total)) and log.position == total


def test_what_comes_while_one_is_open_shares_the_next() -> None:
    log, done = Log(), list[int]()
    with writing(log) as writer:
        assert not writer.is_open()
        log.gate.clear()
        assert put(writer, 0, done=done) and log.at_gate.wait(PATIENCE_S)
        assert all(put(writer, number, done=done) for number in (1, 2, 3))
        assert writer.poll() and done == [] and writer.is_open(), "nothing is committed yet"
        log.gate.set()
        assert writer.settle() and done == [0, 1, 2, 3]
        assert log.sizes == [1, 3] and log.position == 4
        assert not writer.is_open()


def test_what_is_not_committed_is_lag_however_long_that_takes() -> None:
    now_us, log = time.time_ns() // 1_000, Log("ca")
    with writing(log) as writer:
        assert lag_s(writer) == 0
        log.gate.clear()
        assert put(writer, 0, sent_us=now_us - 90_000_000) and log.at_gate.wait(PATIENCE_S)
        assert put(writer, 1, sent_us=now_us - 300_000_000) and put(writer, 2)
        writer._telemetry.stage.waiting_since(None)  # the last read found nothing
        assert 300 <= lag_s(writer) < 300 + PATIENCE_S, "what waits for the open transaction, sent later or not"
        log.gate.set()
        assert not writer.settle() and lag_s(writer) == 0, "aborted: it is read again"
        writer.resume()
        log.gate.clear()
        assert put(writer, 1, sent_us=now_us - 90_000_000)
        assert 90 <= lag_s(writer) < 90 + PATIENCE_S
        log.gate.set()
        assert writer.settle() and lag_s(writer) == 0


def test_messages_without_positions_leave_them_where_they_are() -> None:
    log, done = Log(), list[int]()
    with writing(log) as writer:
        assert put(writer, 0) and writer.settle()
        assert writer.put([Outgoing(TOPIC, 0, None, b"tick", [])], [], None, lambda _at_s: done.append(1))
        assert writer.settle() and done == [1]
    assert log.committed == [b"0", b"tick"] and log.position == 1


def test_who_has_more_to_put_than_may_wait_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transactions, "MAX_WAITING_BYTES", 10)
    log = Log()
    with writing(log) as writer:
        log.gate.clear()
        put(writer, 0)
        assert log.at_gate.wait(PATIENCE_S)
        put(writer, 1, b"x" * 8)
        put(writer, 2, b"x" * 8)
        more = threading.Thread(target=put, args=(writer, 3))
        more.start()
        more.join(0.2)
        assert more.is_alive()
        log.gate.set()
        more.join(PATIENCE_S)
        assert writer.settle() and log.sizes == [1, 2, 1]


def test_what_ends_the_session_is_raised_to_the_worker() -> None:
    log = Log("cf")
    with writing(log) as writer:
        assert put(writer, 0) and writer.settle()
        put(writer, 1)
        with pytest.raises(KafkaException):
            writer.settle()
        with pytest.raises(KafkaException):
            writer.poll()
        with pytest.raises(KafkaException):
            put(writer, 1)
        writer.close()
        assert not writer.settle(), "nothing is raised out of a session that has ended"
    assert log.committed == [b"0"] and log.position == 1


def test_a_session_that_ends_leaves_what_waits() -> None:
    log = Log()
    with writing(log) as writer:
        log.gate.clear()
        put(writer, 0)
        assert log.at_gate.wait(PATIENCE_S)
        put(writer, 1)
        threading.Timer(0.1, log.gate.set).start()
        writer.close()
    assert log.committed == [b"0"] and log.position == 1
