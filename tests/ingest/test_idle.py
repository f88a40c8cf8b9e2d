"""Who is due for a tick, and that nobody gets two for one silence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts.raw import BASELINE_COMMAND, END_OF_SOURCE, TICK, ZEEK_JSON, SourceInfo
from pipeline.ingest.idle import MAX_SENSORS, IdleDetector, IdleSensor
from pipeline.ingest.messages import Messages, RawMessage

IDLE_S = 10.0


def heard(sensor: str, partition: int = 0, content_type: str = ZEEK_JSON, fault: str = "") -> RawMessage:
    return RawMessage(partition, 0, 0, SourceInfo(content_type, (), "dam", sensor, fault), b"{}")


def due(idle: IdleDetector, now_s: float) -> set[str]:
    return {each.sensor for each in idle.expired(now_s)}


def of_nobody(_sensor: IdleSensor) -> int:
    return 0


def test_who_may_be_late_is_waited_for_as_long() -> None:
    stated = {"gate": 300_000_000, "weir": 2_000_000}
    idle = IdleDetector(IDLE_S, lambda sensor: stated.get(sensor.sensor, 0))
    idle.observe(Messages.of([heard("gate"), heard("weir"), heard("lock")]), 0.0)
    assert due(idle, 10.0) == {"weir", "lock"}, "a lateness below the setting shortens nothing"
    assert due(idle, 299.9) == {"weir", "lock"} and due(idle, 300.0) == {"gate", "weir", "lock"}
    stated["gate"] = 30_000_000
    assert due(idle, 30.0) == {"gate", "weir", "lock"}, "by what holds now"


def test_a_silence_gets_one_tick() -> None:
    idle = IdleDetector(IDLE_S, of_nobody)
    idle.observe(Messages.of([heard("gate"), heard("weir", 1)]), 0.0)
    idle.observe(Messages.of([heard("weir", 1)]), 5.0)
    assert idle.expired(9.9) == []
    assert idle.expired(10.0) == [IdleSensor(0, "dam", "gate")]
    assert idle.expired(10.0) == [IdleSensor(0, "dam", "gate")], "until its tick has been sent"
    idle.mark_ticked(idle.expired(10.0))
    idle.observe(Messages.of([heard("gate", content_type=TICK)]), 10.1)  # its own tick, read back
    assert idle.expired(14.9) == []
    assert idle.expired(60.0) == [IdleSensor(1, "dam", "weir")]
    idle.observe(Messages.of([heard("gate")]), 60.0)
    assert idle.expired(70.0) == [IdleSensor(0, "dam", "gate"), IdleSensor(1, "dam", "weir")]


def test_ends_faults_and_lost_partitions_are_not_silences() -> None:
    idle = IdleDetector(IDLE_S, of_nobody)
    idle.observe(Messages.of([heard("gate"), heard("weir", 1), heard("", fault="origin")]), 0.0)
    idle.observe(Messages.of([heard("gate", content_type=END_OF_SOURCE)]), 1.0)
    idle.retain({0})
    assert idle.expired(1e9) == []


def test_a_command_is_no_sign_of_the_sensor() -> None:
    idle = IdleDetector(IDLE_S, of_nobody)
    idle.observe(Messages.of([heard("gate")]), 0.0)
    idle.observe(Messages.of([heard("gate", content_type=BASELINE_COMMAND)]), 5.0)
    assert idle.expired(9.9) == []
    assert idle.expired(10.0) == [IdleSensor(0, "dam", "gate")], "it waits for its tick as before"


def test_switched_off_it_remembers_nobody() -> None:
    idle = IdleDetector(0.0, of_nobody)
    idle.observe(Messages.of([heard("gate")]), 0.0)
    assert idle.expired(1e9) == []


@pytest.mark.slow
def test_memory_is_bounded_and_the_longest_silent_go_first() -> None:
    idle = IdleDetector(IDLE_S, of_nobody)
    idle.observe(Messages.of([heard(f"s{number}") for number in range(MAX_SENSORS + 5)]), 0.0)
    found = due(idle, 1e9)
    assert len(found) == MAX_SENSORS and "s4" not in found and "s5" in found


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0.0, 4.0)), max_size=40))
def test_due_are_exactly_those_last_heard_long_ago(steps: list[tuple[int, float]]) -> None:
    idle, last, now = IdleDetector(IDLE_S, of_nobody), dict[str, float](), 0.0
    for sensor, pause_s in steps:
        now += pause_s
        idle.observe(Messages.of([heard(str(sensor))]), now)
        last[str(sensor)] = now
        assert due(idle, now) == {name for name, at in last.items() if now - at >= IDLE_S}
