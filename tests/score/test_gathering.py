"""What score takes into one group: what lies ready, and what comes for a moment after the first message."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError

from pipeline.runtime.wire import framing
from pipeline.score import worker as score_worker
from pipeline.score.fetching import MAX_GROUP_BYTES
from pipeline.score.worker import GATHERED_WITHIN, ScoreWorker


class Arriving:
    """A consumer to which messages come at set times, by a clock that only its waits move."""

    def __init__(self, *arrivals: tuple[float, object]) -> None:
        self._arrivals = list(arrivals)
        self.now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s

    def consume(self, _messages: int, timeout_s: float) -> list[object]:
        if self._arrivals and self._arrivals[0][0] <= self.now_s + timeout_s:
            at_s, message = self._arrivals.pop(0)
            self.now_s = max(self.now_s, at_s)
            return [message]
        self.now_s += timeout_s
        return []


class Open:
    """A transaction that is open until a time."""

    def __init__(self, clock: Arriving, until_s: float) -> None:
        self._clock, self._until_s = clock, until_s

    def is_open(self) -> bool:
        return self._clock.now_s < self._until_s


class Message:
    def __init__(self, name: str, is_end: bool = False, payload: bytes = b"") -> None:
        self.name, self._is_end, self._payload = name, is_end, payload

    def value(self) -> bytes:
        return b"" if self._is_end else self._payload or self.name.encode()

    def error(self) -> KafkaError | None:
        return KafkaError(KafkaError._PARTITION_EOF) if self._is_end else None


def group(
    consumer: Arriving, monkeypatch: pytest.MonkeyPatch, gather_ms: int = 200, most: int = 64, open_until_s: float = 0.0
) -> list[str]:
    """Names of the messages of the next group."""
    monkeypatch.setattr(score_worker, "time", consumer)
    made: Any = object.__new__(ScoreWorker)
    made._consumer, made._settings = consumer, SimpleNamespace(score_group_messages=most)
    made._gather_s = GATHERED_WITHIN * gather_ms / 1000
    made._transactions = Open(consumer, open_until_s)
    made._stall = SimpleNamespace(observe=lambda _messages: None)
    return [cast("Message", message).name for message in made._read_messages()]


def test_what_ingest_sent_at_once_is_one_group(monkeypatch: pytest.MonkeyPatch) -> None:
    consumer = Arriving((0.01, Message("a")), (0.03, Message("b")), (0.04, Message("c")), (0.24, Message("d")))
    assert group(consumer, monkeypatch) == ["a", "b", "c"]
    assert consumer.now_s == pytest.approx(0.05), "40 ms after the first"
    assert group(consumer, monkeypatch) == []
    assert group(consumer, monkeypatch) == ["d"]


def test_without_gathering_what_lies_ready_is_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    consumer = Arriving((0.0, Message("a")), (0.0, Message("b")), (0.01, Message("c")))
    assert group(consumer, monkeypatch, gather_ms=0) == ["a", "b"]
    assert consumer.now_s == 0.0


def test_while_a_transaction_is_open_what_comes_until_its_end_is_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    consumer = Arriving((0.0, Message("a")), (0.005, Message("b")), (0.009, Message("c")), (0.013, Message("d")))
    assert group(consumer, monkeypatch, gather_ms=0, open_until_s=0.01) == ["a", "b", "c"]
    assert 0.01 <= consumer.now_s < 0.012
    consumer = Arriving(*((0.001 * number, Message(str(number))) for number in range(5)))
    assert group(consumer, monkeypatch, gather_ms=0, open_until_s=1.0, most=4) == ["0", "1", "2", "3"], "a full group"


def test_the_end_of_a_partition_is_waited_for_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    consumer = Arriving((0.0, Message("end", is_end=True)), (0.02, Message("a")))
    assert group(consumer, monkeypatch) == [] and consumer.now_s == 0.0


def test_a_group_is_bounded_by_what_its_messages_have_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    small = framing.frame(b"{}")
    half = framing.Columns(small, small._replace(size=MAX_GROUP_BYTES // 2))
    payload = framing.framed([half], small)
    assert len(payload) < 100
    consumer = Arriving(*((0.0, Message(str(number), payload=payload)) for number in range(5)))
    assert group(consumer, monkeypatch) == ["0", "1"]


def test_a_backlog_is_not_waited_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    consumer = Arriving(*((0.0, Message(str(number))) for number in range(5)))
    assert group(consumer, monkeypatch, most=4) == ["0", "1", "2", "3"] and consumer.now_s == 0.0
