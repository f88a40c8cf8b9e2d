"""Messages that are put for a transaction are behind until it is committed."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from pipeline.runtime.kafka import clients
from pipeline.runtime.telemetry import Telemetry, start
from pipeline.score import worker
from pipeline.score.position import StagePosition
from pipeline.settings import load_settings

END = 10


class Consumer:
    """A partition with END messages of which none is scored."""

    def committed(self, asked: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        return asked  # no offset

    def get_watermark_offsets(self, _at: TopicPartition, **_how: object) -> tuple[int, int]:
        return 0, END

    def consumer_group_metadata(self) -> None:
        return None

    def unassign(self) -> None:
        return None


class OpenTransaction:
    """One that stays open until a test says that it is committed."""

    def __init__(self, *_of_writer: object) -> None:
        self.committed: list[Callable[[float], None]] = []

    def put(
        self, _messages: object, _positions: object, _membership: object, committed: Any, _sent_us: int | None
    ) -> bool:
        self.committed.append(committed)
        return True

    def settle(self) -> bool:
        return True


class Models:
    """No promotions."""

    def __init__(self, *_of_follower: object) -> None:
        return

    def catch_up(self) -> list[Any]:
        return []


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    made = start("score", load_settings(metrics_port=-1))
    yield made
    made.close()


@pytest.fixture
def scoring(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(clients, "transactional_producer", lambda *_, **__: None)
    monkeypatch.setattr(clients, "consumer", lambda *_, **__: Consumer())
    monkeypatch.setattr(worker, "TransactionWriter", OpenTransaction)
    monkeypatch.setattr(worker, "Follower", Models)
    monkeypatch.setattr(worker.ScoreWorker, "_partition_count", lambda _: 1)
    kafka: Any = type("Kafka", (), {"hopeless": staticmethod(lambda: False)})()
    cache: Any = type("Cache", (), {"ids": ()})()
    return worker.ScoreWorker(load_settings(metrics_port=-1), telemetry, kafka, cache)


def test_lag_falls_when_a_transaction_is_committed_not_before(scoring: Any, telemetry: Telemetry) -> None:
    def lag() -> float | None:
        scoring._gauged_at = -worker.GAUGES_EVERY_S
        scoring._gauges()
        return telemetry.registry.get_sample_value("forebay_lag_messages", {"stage": "score"})

    counted: list[float] = []
    scoring._load_positions([0])
    assert lag() == END
    assert scoring._put([], {0: StagePosition(4)}, counted.append) and scoring._put([], {0: StagePosition(7)})
    assert lag() == END
    first, second = scoring._transactions.committed
    first(1.5)
    assert (lag(), counted) == (END - 4, [1.5])
    second(2.0)
    assert lag() == END - 7
    scoring._revoked(Consumer(), [TopicPartition("features", 0)])
    second(2.5)
    assert lag() == 0
