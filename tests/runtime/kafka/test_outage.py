"""Kafka away and back: said once each, not ready meanwhile, and sessions continue unless people must act."""

from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from confluent_kafka import KafkaError, KafkaException

from pipeline.errors import Failed, Fenced, KafkaDenied, PositionLost
from pipeline.runtime.kafka import outage
from pipeline.runtime.kafka.outage import KafkaWatch
from pipeline.runtime.shutdown import Stop
from pipeline.runtime.telemetry import Telemetry, start
from pipeline.settings import load_settings

Lines = list[Any]


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    """Telemetry without an endpoint."""
    made = start("ingest", load_settings(metrics_port=-1))
    yield made
    made.close()


class Kafka:
    """Whether Kafka answers, as a test wants it."""

    def __init__(self) -> None:
        self.up = True

    def answers(self) -> bool:
        return self.up


@pytest.fixture
def kafka() -> Kafka:
    """A Kafka that answers until the test stops it."""
    return Kafka()


@pytest.fixture
def watch(telemetry: Telemetry, kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> KafkaWatch:
    """A watch whose thread is not started: `answers` is what the thread would call."""
    monkeypatch.setattr(outage, "NEXT_SESSION_S", 0.01)
    return KafkaWatch("ingest", load_settings(metrics_port=-1), telemetry, Stop(), kafka.answers)


def lag_s(telemetry: Telemetry) -> float:
    """What a scrape sees."""
    return telemetry.registry.get_sample_value("forebay_lag_seconds", {"stage": "ingest"}) or 0.0


def failing(*codes: int) -> tuple[Any, list[int]]:
    """A session that ends with each of these errors in turn, then well; and how often it was run."""
    runs: list[int] = []
    left = list(codes)

    def session() -> None:
        runs.append(1)
        if left:
            raise KafkaException(KafkaError(left.pop(0)))

    return session, runs


def test_an_outage_is_two_lines_however_long_it_lasts(watch: KafkaWatch, kafka: Kafka, telemetry: Telemetry) -> None:
    telemetry.ready()
    with structlog.testing.capture_logs() as lines:
        watch.answers()
        kafka.up = False
        for _probe in range(300):  # ten minutes
            watch.answers()
            assert not telemetry.health.ready
            assert telemetry.health.why_not_ready == "Kafka does not answer"
            assert telemetry.health.alive
        assert watch.away
        assert lag_s(telemetry) >= outage.AWAY_AFTER_S / 2, "it grows from when Kafka last answered"
        kafka.up = True
        for _probe in range(10):
            watch.answers()
    assert telemetry.health.ready
    assert lag_s(telemetry) == 0
    assert [line["event"] for line in lines] == ["Kafka is away", "Kafka is back"]
    assert lines[1]["away_s"] >= 0


@pytest.mark.parametrize(
    "code",
    [
        KafkaError._TIMED_OUT,
        KafkaError._MSG_TIMED_OUT,
        KafkaError.INVALID_TXN_STATE,
        KafkaError.NOT_COORDINATOR,
        KafkaError._TRANSPORT,
    ],
)
def test_what_an_outage_breaks_ends_a_session_and_not_the_worker(watch: KafkaWatch, code: int) -> None:
    session, runs = failing(code, code)
    watch.run(session)
    assert len(runs) == 3


def test_between_two_sessions_the_stage_is_not_ready_and_says_why(watch: KafkaWatch, telemetry: Telemetry) -> None:
    ready: list[bool] = []

    def session() -> None:
        ready.append(telemetry.health.ready)
        watch.announce([0])
        if len(ready) < 3:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    with structlog.testing.capture_logs() as lines:
        watch.run(session)
    assert ready == [False] * 3
    assert [line["event"] for line in lines] == ["ready", *["session ended, another one follows"] * 2]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (KafkaError._FENCED, Fenced),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaDenied),
        (KafkaError._AUTO_OFFSET_RESET, PositionLost),
        (KafkaError.INVALID_CONFIG, Failed),
    ],
)
def test_what_people_must_mend_ends_the_worker(watch: KafkaWatch, code: int, expected: type[Exception]) -> None:
    session, runs = failing(code)
    with pytest.raises(expected):
        watch.run(session)
    assert len(runs) == 1


def test_a_fence_after_an_outage_is_not_a_takeover_but_the_next_one_is(watch: KafkaWatch, kafka: Kafka) -> None:
    kafka.up = False
    watch.answers()
    kafka.up = True
    session, runs = failing(KafkaError._FENCED)
    watch.run(session)
    assert len(runs) == 2
    watch.progressed()
    session, runs = failing(KafkaError._FENCED)
    with pytest.raises(Fenced):
        watch.run(session)


def test_what_a_callback_of_the_consumer_raises_ends_a_session_too(watch: KafkaWatch) -> None:
    runs: list[int] = []

    def session() -> None:
        runs.append(1)
        if len(runs) == 1:
            # As `consume` does where `committed` has timed out in `on_assign`.
            raise KafkaError(KafkaError._TIMED_OUT)  # type: ignore[misc]

    watch.run(session)
    assert len(runs) == 2


def test_a_step_that_waits_though_kafka_answers_is_said_once(
    watch: KafkaWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outage, "STEP_SLOW_S", 0.0)
    tries: list[float] = []

    def step(timeout_s: float) -> None:
        tries.append(timeout_s)
        if len(tries) < 5:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "still loading", retriable=True))

    with structlog.testing.capture_logs() as lines:
        watch.step(step)
    assert len(tries) == 5
    assert [(line["event"], line["log_level"]) for line in lines] == [("a transaction waits for Kafka", "warning")]


@pytest.mark.slow
def test_sessions_that_never_commit_while_kafka_answers_end_it(watch: KafkaWatch) -> None:
    session, runs = failing(*[KafkaError.INVALID_TXN_STATE] * 100)
    with pytest.raises(Failed, match="Kafka answers, but got 21 failed tries"):
        watch.run(session)
    assert len(runs) == 21


def test_a_request_to_stop_is_heard_while_kafka_is_away(watch: KafkaWatch, kafka: Kafka) -> None:
    kafka.up = False
    tries: list[int] = []

    def session() -> None:
        tries.append(1)
        watch.answers()
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    def ask_to_stop() -> bool:
        watch.stop.requested = len(tries) > 0
        return False

    watch._answers = ask_to_stop
    watch.run(session)
    assert tries == [1]
