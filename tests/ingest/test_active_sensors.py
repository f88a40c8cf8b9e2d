"""How many sensors a partition may have: who is admitted, in which order, who is removed, what a restart knows."""

import base64
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts.raw import END_OF_SOURCE, TICK, ZEEK_JSON, SourceInfo
from pipeline.contracts.sensor_retention import SENSOR_RETENTION_US
from pipeline.ingest.active_sensors import FAULT, ActiveSensors, digest
from pipeline.ingest.idle import IdleSensor
from pipeline.ingest.messages import Messages, RawMessage

LIMIT = 3
START_US = 1_700_000_000_000_000
ENDS = "!"
S = 1_000_000


def sent(names: Sequence[str], partition: int = 0, content_type: str = ZEEK_JSON, fault: str = "") -> Messages:
    """A message of each of the sensors, `a!` being the end of a's source."""
    sources = {
        name: SourceInfo(END_OF_SOURCE if name.endswith(ENDS) else content_type, (), "dam", name.rstrip(ENDS), fault)
        for name in names
    }
    return Messages.of(
        [
            RawMessage(partition, offset, 0, sources[name], b"" if name.endswith(ENDS) else b"{}")
            for offset, name in enumerate(names)
        ]
    )


def flows(end_us: int, partition: int = 0) -> pa.RecordBatch:
    columns = {"raw_partition": pa.array([partition], pa.int32()), "end_ts_us": pa.array([end_us])}
    return pa.RecordBatch.from_pydict(columns)


def opened(limit: int = LIMIT, metadata: str | None = None, clock: Callable[[], float] = lambda: 0.0) -> ActiveSensors:
    sensors = ActiveSensors(limit, clock)
    for partition in (0, 1):
        sensors.load(partition, metadata)
    return sensors


def refused(sensors: ActiveSensors, messages: Messages, end_us: int = START_US) -> list[int]:
    """Offsets of the messages whose sensor is above the limit."""
    admitted = sensors.admit(messages)
    assert admitted.payloads == messages.payloads and admitted.offset.tolist() == messages.offset.tolist()
    sensors.observe(admitted, flows(end_us, int(messages.partition[0])))
    faults = np.array([source.fault == FAULT for source in admitted.sources])[admitted.source]
    for index in range(len(messages)):  # nothing but the fault changes
        before, after = messages.sources[messages.source[index]], admitted.sources[admitted.source[index]]
        assert after._replace(fault="", got="") == before._replace(fault="", got="")
    return [int(offset) for offset in messages.offset[faults]]


def test_whoever_comes_first_has_a_place_and_keeps_it() -> None:
    sensors = opened()
    assert refused(sensors, sent("abacdbdce")) == [4, 6, 8]
    assert refused(sensors, sent("edabc")) == [0, 1]
    assert sensors.count(0) == LIMIT and sensors.count(1) == 0


def test_each_partition_has_places_of_its_own() -> None:
    sensors = opened()
    assert refused(sensors, sent("abc")) == refused(sensors, sent("def", partition=1)) == []
    assert refused(sensors, sent("d")) == [0]


def test_the_end_of_a_source_frees_its_place_for_what_comes_after_it() -> None:
    sensors = opened()
    assert refused(sensors, sent(["a", "b", "c", "d", "b!", "d", "b", "e"])) == [3, 6, 7]
    assert refused(sensors, sent(["a!", "c!", "d!", "never heard of!"])) == []
    assert sensors.count(0) == 0
    assert refused(sensors, sent([name for n in range(50) for name in (f"file-{n}", f"file-{n}!")])) == []


def test_what_an_aborted_transaction_changed_is_taken_back() -> None:
    sensors = opened()
    assert refused(sensors, sent(["a", "b", "c"])) == []
    metadata = sensors.metadata(0)
    log = sent(["a", "a!", "d"])
    assert refused(sensors, log, START_US + SENSOR_RETENTION_US) == []
    sensors.load(0, metadata)
    assert sensors.metadata(0) == metadata
    assert refused(sensors, log) == [], "read again, a has its place until its source ends"


def test_a_sensor_silent_for_a_day_of_event_time_loses_its_place_when_another_needs_it() -> None:
    sensors = opened()
    refused(sensors, sent("abc"), START_US)
    assert refused(sensors, sent("ab"), START_US + SENSOR_RETENTION_US) == []
    assert refused(sensors, sent("d")) == [0], "a day is not over"
    assert refused(sensors, sent("b"), START_US + SENSOR_RETENTION_US + 1) == []
    assert refused(sensors, sent("de"), START_US) == [1], "only c was removed"
    assert refused(sensors, sent("cab"), START_US) == [0]


def test_marks_faults_and_messages_without_records_do_not_count() -> None:
    sensors = opened(1)
    assert refused(sensors, sent("abc", content_type=TICK)) == refused(sensors, sent("abc", fault="origin")) == []
    empty = Messages.of([RawMessage(0, 0, 0, SourceInfo(ZEEK_JSON, (), "dam", "x"), b"")])
    assert refused(sensors, empty) == [] and sensors.count(0) == 0


def test_a_worker_that_takes_over_knows_whom_its_predecessor_admitted() -> None:
    before = opened()
    refused(before, sent("abc"))
    after = opened(metadata=before.metadata(0))
    assert refused(after, sent("dcba")) == [0]
    assert refused(after, sent("bc"), START_US + SENSOR_RETENTION_US + 1) == []
    assert refused(after, sent("d")) == [], "a was known, and silent for a day since"
    assert after.metadata(0) != before.metadata(0)


def test_metadata_fits_what_kafka_takes_and_what_is_none_is_read_as_no_sensors() -> None:
    many = opened(2_000)
    names = [f"s{number}" for number in range(2_000)]
    assert refused(many, sent(names)) == []
    assert len(many.metadata(0)) <= 4_096
    restored = opened(2_000, many.metadata(0))
    assert 300 < restored.count(0) < 400
    for damaged in ("", "{}", "sensors-2:%", "sensors-2:AAAA", "sensors-1:é", many.metadata(0)[:-3]):
        assert opened(metadata=damaged).count(0) == 0
    of_before = (
        "sensors-1:" + base64.b64encode(b"".join(digest(SourceInfo("", (), "dam", each)) for each in "abc")).decode()
    )
    assert refused(opened(metadata=of_before), sent("dcba")) == [0]


class Clock:
    """A clock that stands where it is put."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def stating(sensor: str, *lateness_s: int | None) -> Messages:
    """A message a lateness, None for one that states none."""
    sources = [SourceInfo(ZEEK_JSON, (), "dam", sensor, lateness_us=None if s is None else s * S) for s in lateness_s]
    return Messages.of([RawMessage(0, number, 0, source, b"{}") for number, source in enumerate(sources)])


def lateness_s(sensors: ActiveSensors, sensor: str) -> float:
    return sensors.lateness_us(IdleSensor(0, "dam", sensor)) / S


def test_of_several_that_a_sensors_messages_state_the_largest_holds_for_an_hour() -> None:
    clock = Clock()
    sensors = opened(clock=clock)
    refused(sensors, stating("a", 300, 2))
    refused(sensors, stating("b", None))
    assert [lateness_s(sensors, name) for name in "abc"] == [300, 0, 0]
    clock.now_s = 3_600.0
    refused(sensors, stating("a", None, 2))
    assert lateness_s(sensors, "a") == 300
    clock.now_s = 3_601.0
    refused(sensors, stating("a", 2, None))
    assert lateness_s(sensors, "a") == 2
    refused(sensors, sent(["a!"]))
    assert lateness_s(sensors, "a") == 0, "its source has ended"


def test_who_takes_a_partition_over_waits_for_as_long() -> None:
    before, clock = opened(), Clock()
    refused(before, stating("a", 300))
    refused(before, stating("b", 7))
    refused(before, stating("c", 86_400))
    clock.now_s = 50.0
    after = opened(metadata=before.metadata(0), clock=clock)
    assert [lateness_s(after, name) for name in "abc"] == [300, 8, 86_400], "in steps of two seconds, rounded up"
    refused(after, stating("a", 2))
    assert lateness_s(after, "a") == 300
    clock.now_s = 3_651.0
    refused(after, stating("a", None))
    assert lateness_s(after, "a") == 0, "an hour after the takeover at most"
    after.forget([0])
    assert lateness_s(after, "b") == 0


def test_a_lateness_that_came_with_an_aborted_transaction_is_taken_back() -> None:
    sensors = opened()
    refused(sensors, stating("a", 2))
    before = sensors.metadata(0)
    refused(sensors, stating("a", 300))
    sensors.load(0, before)
    assert lateness_s(sensors, "a") == 2


def test_as_many_sensors_as_by_default_are_written_down_with_what_they_state() -> None:
    sensors = opened(256)
    for number in range(256):
        refused(sensors, stating(f"s{number}", 2 * number + 2))
    assert len(sensors.metadata(0)) <= 4_096
    after = opened(256, sensors.metadata(0))
    assert [lateness_s(after, f"s{number}") for number in range(256)] == [2 * number + 2 for number in range(256)]


@pytest.mark.slow
@given(st.lists(st.sampled_from([*"abcdef", *(f"{name}!" for name in "abcdef")]), max_size=60), st.data())
def test_who_is_admitted_does_not_depend_on_how_the_log_is_cut(names: list[str], data: st.DataObject) -> None:
    whole, cut = opened(), opened()
    expected = refused(whole, sent(names)) if names else []
    messages, got, first = sent(names), [], 0
    while first < len(names):
        last = data.draw(st.integers(first + 1, len(names)))
        got += refused(cut, messages.part(first, last))
        first = last
    assert got == expected
    assert whole.count(0) == cut.count(0)


@pytest.mark.slow
def test_twenty_thousand_names_take_no_more_memory_than_the_bound() -> None:
    sensors = opened(256)
    legitimate = [f"edge-{number}" for number in range(8)]
    assert refused(sensors, sent(legitimate)) == []
    for start in range(0, 20_000, 500):
        flood = [f"probe-2026-11-{start + number}" for number in range(500)]
        offsets = refused(sensors, sent([name for pair in zip(flood, legitimate * 63, strict=False) for name in pair]))
        assert all(offset % 2 == 0 for offset in offsets), "nothing of the legitimate ones is refused"
        assert sensors.count(0) <= 256
    assert sensors.count(0) == 256
