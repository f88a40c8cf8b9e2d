"""Packing: every raw message lies in ranges of its partition, ranges follow one another, marks end them."""

import json
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contracts.envelope import FlowsFacts, MessagePosition
from pipeline.contracts.raw import END_OF_SOURCE, TICK, ZEEK_JSON, SourceInfo
from pipeline.ingest.decode import decode_messages
from pipeline.ingest.messages import Messages, RawMessage
from pipeline.ingest.pack import Packed, pack
from pipeline.runtime.wire.messages import read, write
from tests.ingest.records import MAX_FUTURE_US, SENT_US, ZEEK

GOOD, BAD = json.dumps(ZEEK).encode(), b"bad"
STREAMS = [SourceInfo(ZEEK_JSON, (), "plant", name) for name in ("a", "b")]
ENDS = [SourceInfo(END_OF_SOURCE, (), "plant", name) for name in ("a", "b")]


def packed_of(messages: Sequence[RawMessage], flows_rows: int) -> list[Packed]:
    together = Messages.of(messages)
    return list(pack(together, decode_messages(together, MAX_FUTURE_US), flows_rows))


def message(partition: int, offset: int, records: Sequence[bytes], sensor: int = 0, ends: bool = False) -> RawMessage:
    stream = ENDS[sensor] if ends else STREAMS[sensor]
    return RawMessage(partition, offset, SENT_US, stream, b"" if ends else b"\n".join(records))


@st.composite
def logs(draw: st.DrawFn) -> list[RawMessage]:
    out: list[RawMessage] = []
    for partition in range(draw(st.integers(1, 3))):
        offset = draw(st.integers(0, 5))
        for _ in range(draw(st.integers(0, 8))):
            records = draw(st.lists(st.sampled_from([GOOD, BAD]), max_size=7))
            out.append(message(partition, offset, records, draw(st.integers(0, 1)), draw(st.integers(0, 5)) == 0))
            offset += draw(st.integers(1, 3))
    return out


@given(logs(), st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_ranges_cover_every_message_once(log: list[RawMessage], flows_rows: int) -> None:
    places = [
        (one.partition, one.offset, index)
        for one in log
        for index in range(max(1, one.payload.count(b"\n") + 1 if one.payload else 1))
    ]
    covered: list[tuple[int, int, int]] = []
    for one in packed_of(log, flows_rows):
        first, last = (one.partition, *one.facts.first), (one.partition, *one.facts.last)
        inside = [place for place in places if first <= place <= last]
        assert inside[0] == first and inside[-1] == last
        covered += inside
        rejects = [row for batch in one.rejects for row in batch.to_pylist()]
        rows = sorted(
            (row["raw_partition"], row["raw_offset"], row["raw_index"]) for row in [*one.flows.to_pylist(), *rejects]
        )
        assert set(rows) <= set(inside) and len(set(rows)) == len(rows)
        assert one.facts.records == len(rows) <= flows_rows and one.facts.rejected == len(rejects)
        marks = [two for two in log if two.source.ends and first <= (two.partition, two.offset, 0) <= last]
        assert one.facts.ended == tuple((two.source.site, two.source.sensor) for two in marks)
        assert len(marks) <= 1 and all((two.partition, two.offset, 0) == last for two in marks)
    assert covered == places


def test_rejects_alone_still_give_a_flows_message() -> None:
    (one,) = packed_of([message(0, 7, [BAD, BAD])], 100)
    assert one.flows.num_rows == 0 and one.facts.first == (7, 0) and one.facts.last == (7, 1)
    batch, facts = read(write(one.flows, one.facts), FlowsFacts, MessagePosition("flows", 0, 0))
    assert batch.num_rows == 0 and facts == one.facts


def test_an_empty_message_is_covered_and_holds_nothing() -> None:
    (one,) = packed_of([message(0, 7, [])], 100)
    assert one.facts == FlowsFacts(raw_partition=0, first=(7, 0), last=(7, 0), records=0, rejected=0)
    assert one.facts.document() == {
        "raw_partition": 0, "first": [7, 0], "last": [7, 0], "records": 0, "rejected": 0, "ended": [], "silent": [],
    }  # fmt: skip


def test_a_tick_ends_a_range_and_names_the_silent_sensor() -> None:
    tick = RawMessage(0, 8, SENT_US, SourceInfo(TICK, (), "plant", "a"), b"")
    first, second = packed_of([message(0, 7, [GOOD]), tick, message(0, 9, [GOOD])], 100)
    assert first.facts.last == (8, 0) and first.facts.records == 1
    assert first.facts.silent == (("plant", "a"),) and first.facts.ended == ()
    assert second.facts.first == (9, 0) and second.facts.silent == ()


def test_a_mark_without_a_sensor_ends_nothing() -> None:
    bad = SourceInfo(END_OF_SOURCE, (), "", "", "origin", "site None")
    (one,) = packed_of([RawMessage(0, 3, SENT_US, bad, b"")], 100)
    assert one.facts.ended == () and one.key is None


@pytest.mark.parametrize(("sensors", "key"), [([0, 0], "plant/a"), ([1, 1], "plant/b"), ([0, 1], None)])
def test_the_key_is_the_sensor_if_there_is_one(sensors: list[int], key: str | None) -> None:
    (one,) = packed_of([message(0, at, [GOOD], sensor) for at, sensor in enumerate(sensors)], 100)
    assert one.key == key


def test_several_formats_in_one_go_keep_the_raw_order() -> None:
    unknown = SourceInfo("text/plain", (), "plant", "a", "content_type", "content-type text/plain")
    log = [
        message(0, 0, [GOOD, GOOD]),
        RawMessage(0, 1, SENT_US, unknown, b"x\ny"),
        message(0, 2, [GOOD, BAD, GOOD], 1),
    ]
    (one,) = packed_of(log, 100)
    rows = [(row["raw_offset"], row["raw_index"], row["sensor"]) for row in one.flows.to_pylist()]
    assert rows == [(0, 0, "a"), (0, 1, "a"), (2, 0, "b"), (2, 2, "b")]
    assert [row["reason"] for row in one.rejects[0].to_pylist()] == ["content_type", "not_json"]
    assert one.facts.records == 6
