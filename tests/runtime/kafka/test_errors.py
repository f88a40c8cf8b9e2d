"""The one table of Kafka's errors: each kind its own exit code and remedy."""

from pathlib import Path

import pytest
from confluent_kafka import KafkaError, KafkaException

from pipeline.errors import Failed, Fenced, ForebayError, KafkaDenied, KafkaUnreachable, MessageTooLarge, PositionLost
from pipeline.runtime.kafka import clients
from pipeline.runtime.kafka.errors import KINDS, Kind, kind_of, records, typed
from pipeline.settings import load_settings


@pytest.mark.parametrize(
    ("code", "expected", "exit_code", "remedy"),
    [
        (KafkaError._AUTO_OFFSET_RESET, PositionLost, 66, "retention"),
        (KafkaError.OFFSET_OUT_OF_RANGE, PositionLost, 66, "retention"),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaDenied, 77, "ACLs"),
        (KafkaError.SASL_AUTHENTICATION_FAILED, KafkaDenied, 77, "FOREBAY_SECURITY"),
        (KafkaError.MSG_SIZE_TOO_LARGE, MessageTooLarge, 65, "max.message.bytes"),
        (KafkaError._FENCED, Fenced, 75, "FOREBAY_INSTANCE_ID"),
        (KafkaError.FENCED_INSTANCE_ID, Fenced, 75, "FOREBAY_INSTANCE_ID"),
        (KafkaError._ALL_BROKERS_DOWN, KafkaUnreachable, 69, "forebay doctor"),
        (KafkaError._TIMED_OUT, KafkaUnreachable, 69, "forebay doctor"),
        (KafkaError.INVALID_CONFIG, Failed, 1, "start it again"),
    ],
)
def test_every_kind_has_its_exit_code_and_its_remedy(
    code: int, expected: type[ForebayError], exit_code: int, remedy: str
) -> None:
    error = typed(KafkaError(code), "ingest", "7")
    assert type(error) is expected
    assert error.exit_code == exit_code
    assert remedy in str(error)
    assert str(error).startswith("ingest: ")


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (KafkaError.UNKNOWN_LEADER_EPOCH, KafkaUnreachable),
        (KafkaError._TIMED_OUT, KafkaUnreachable),
        (KafkaError.INVALID_CONFIG, Failed),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaDenied),
    ],
)
def test_a_command_that_asks_is_told_what_it_asked_and_of_whom(code: int, expected: type[ForebayError]) -> None:
    settings = load_settings(bootstrap="kafka.example:9")
    with pytest.raises(expected) as raised, clients.asking(settings, "topic alerts"):
        raise KafkaException(KafkaError(code))
    says = str(raised.value)
    assert says.startswith("topic alerts, asked of Kafka at kafka.example:9: ")
    assert "unmoved" not in says and "KafkaError{" not in says


def test_forebay_up_is_the_remedy_where_it_ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FOREBAY_BOOTSTRAP", raising=False)
    for folder, remedy in ((tmp_path, "`forebay up`"), (tmp_path / "none", "`forebay broker up`")):
        assert remedy in clients.how_to_start(load_settings(run_folder=folder))
    assert "`forebay broker up`" in clients.how_to_start(load_settings(run_folder=tmp_path, bootstrap="elsewhere:1"))


def test_a_fatal_error_is_a_fence_where_it_says_so() -> None:
    assert kind_of(KafkaError(KafkaError._FATAL, "Static consumer fenced by other consumer", fatal=True)) is Kind.FENCED
    assert kind_of(KafkaError(KafkaError._FATAL, "Unable to reconstruct MessageSet", fatal=True)) is Kind.BROKEN


def test_a_code_is_of_one_kind() -> None:
    assert len({*KINDS}) == len(KINDS)
    assert kind_of(KafkaError(KafkaError.UNKNOWN, retriable=True)) is Kind.AWAY
    assert kind_of(KafkaError(KafkaError.UNKNOWN, txn_requires_abort=True)) is Kind.BROKEN


class _Event:
    """A message, or the event of an error instead."""

    def __init__(self, code: int | None) -> None:
        self._error = None if code is None else KafkaError(code)

    def error(self) -> KafkaError | None:
        return self._error

    def topic(self) -> str:
        return "raw"

    def partition(self) -> int:
        return 3


def test_errors_that_pass_are_left_out_and_others_stop() -> None:
    record = _Event(None)
    passing = [_Event(KafkaError._ALL_BROKERS_DOWN), _Event(KafkaError._PARTITION_EOF), _Event(KafkaError._TRANSPORT)]
    assert records([*passing, record]) == [record]  # type: ignore[list-item, comparison-overlap]
    with pytest.raises(PositionLost, match=r"^raw\[3\]: Kafka no longer has the position"):
        records([record, _Event(KafkaError._AUTO_OFFSET_RESET)])  # type: ignore[list-item]
    with pytest.raises(KafkaException):
        records([_Event(KafkaError._FATAL)])  # type: ignore[list-item]
