"""A revision is tried again until it is taken, with growing pauses; one that never will be is parked."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import Backpressure
from pipeline.runtime.shutdown import Stop
from pipeline.runtime.telemetry import start
from pipeline.runtime.telemetry.telemetry import Telemetry
from pipeline.settings import load_settings
from pipeline.tools.outputs.delivery import Delivery, Outcome
from pipeline.tools.outputs.revision import Revision
from pipeline.tools.outputs.sending import MAX_ASKED_S, MAX_DELAY_S, Refused, Retry, delay_s
from tests.tools.outputs.revisions import revision


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    made = start("output", load_settings(metrics_port=-1))
    yield made
    made.close()


class Receiver:
    """Fails as often as it is told to."""

    def __init__(self, *failures: Exception) -> None:
        self.failures, self.taken, self.closed = list(failures), list[str](), False

    def send(self, made: Revision) -> str:
        if self.failures:
            raise self.failures.pop(0)
        self.taken.append(made.key)
        return "taken"

    def close(self) -> None:
        self.closed = True


def held(_made: Revision, _reason: str) -> bool:
    raise AssertionError("nothing is parked here")


def counted(telemetry: Telemetry, name: str) -> float:
    value = telemetry.registry.get_sample_value(f"forebay_output_{name}_total", {"output": "siem"})
    assert value is not None
    return value


def test_it_is_tried_again_until_it_is_taken(telemetry: Telemetry) -> None:
    waits: list[float] = []
    receiver = Receiver(Retry("away"), Retry("away"), Retry("busy", after_s=40.0))
    delivery = Delivery(
        Outcome("siem", telemetry),
        receiver,
        Stop(),
        telemetry.beat,
        held,
        lambda s: not waits.append(s),  # type: ignore[func-returns-value]
    )
    assert delivery.deliver(revision(key="k-1"))
    assert receiver.taken == ["k-1"]
    assert 0.25 <= waits[0] <= 0.5 and 0.5 <= waits[1] <= 1.0 and sum(waits[2:]) == 40.0
    assert (counted(telemetry, "sent"), counted(telemetry, "retries"), counted(telemetry, "parked")) == (1, 3, 0)


def test_a_fault_of_ours_stops_this_output_and_no_worker(
    telemetry: Telemetry, capsys: pytest.CaptureFixture[str]
) -> None:
    receiver = Receiver(ValueError("of a library"))
    delivery = Delivery(Outcome("siem", telemetry), receiver, Stop(), telemetry.beat, held, lambda _s: True)
    assert delivery.deliver(revision(key="k-1")) and receiver.taken == ["k-1"]
    assert counted(telemetry, "retries") == 1


def test_what_is_never_taken_is_parked(telemetry: Telemetry, capsys: pytest.CaptureFixture[str]) -> None:
    receiver = Receiver(Refused("422 no"))
    parked: list[tuple[str, str]] = []

    def park(made: Revision, reason: str) -> bool:
        assert counted(telemetry, "parked") == 0, "held before it counts as parked"
        parked.append((made.key, reason))
        return True

    delivery = Delivery(Outcome("siem", telemetry), receiver, Stop(), telemetry.beat, park)
    assert delivery.deliver(revision(key="k-1")) and delivery.deliver(revision(key="k-2"))
    assert receiver.taken == ["k-2"] and counted(telemetry, "parked") == 1 and parked == [("k-1", "422 no")]


def test_what_cannot_be_parked_durably_ends_the_session(telemetry: Telemetry) -> None:
    def park(_made: Revision, _reason: str) -> bool:
        raise Backpressure("Kafka is away", 1.0)

    delivery = Delivery(Outcome("siem", telemetry), Receiver(Refused("422 no")), Stop(), telemetry.beat, park)
    with pytest.raises(Backpressure):
        delivery.deliver(revision(key="k-1"))
    assert counted(telemetry, "parked") == 0


def test_a_stop_ends_the_waiting_and_nothing_counts_as_sent(telemetry: Telemetry) -> None:
    stop = Stop()

    def stopped(_seconds: float) -> bool:
        stop.requested = True
        return False

    delivery = Delivery(Outcome("siem", telemetry), Receiver(Retry("away")), stop, telemetry.beat, held, stopped)
    assert not delivery.deliver(revision())
    assert not delivery.deliver(revision()) and counted(telemetry, "sent") == 0


@given(st.integers(1, 10_000), st.floats(0, 1), st.floats(0, 1e9))
def test_delays_are_bounded(attempt: int, luck: float, asked_s: float) -> None:
    assert 0 < delay_s(attempt, luck) <= MAX_DELAY_S
    assert delay_s(attempt, luck, asked_s) <= max(MAX_DELAY_S, MAX_ASKED_S)


def test_delays_double() -> None:
    assert [delay_s(attempt, 1.0) for attempt in (1, 2, 3, 8, 50)] == [0.5, 1.0, 2.0, 60.0, 60.0]


def test_reasons_are_safe_to_show() -> None:
    assert str(Retry("got \x1b[31mred\n", "see\u202e")) == "got \\x1b[31mred\\x0a; see\\x202e"
