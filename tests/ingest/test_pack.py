"""Packing: every raw message lies in ranges of its partition, ranges follow one another, marks end them."""

import json
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contracts.baseline_commands import ACCEPT, BaselineCommand
from pipeline.contracts.envelope import FlowsFacts, MessagePosition
from pipeline.contracts.raw import BASELINE_COMMAND, END_OF_SOURCE, TICK, ZEEK_JSON, SourceInfo
from pipeline.ingest.decode import decode_messages
from pipeline.ingest.messages import Messages, RawMessage
from pipeline.ingest.pack import MAX_MARKS, Packed, pack
from pipeline.runtime.wire.messages import read, write
from tests.examples import examples
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


@pytest.mark.slow
@given(logs(), st.integers(1, 9))
@settings(max_examples=examples(60), deadline=None)
def test_ranges_cover_every_message_once(log: list[RawMessage], flows_rows: int) -> None:
    positions = [
        (raw.partition, raw.offset, index)
        for raw in log
        for index in range(max(1, raw.payload.count(b"\n") + 1 if raw.payload else 1))
    ]
    covered: list[tuple[int, int, int]] = []
    for packed in packed_of(log, flows_rows):
        first, last = (packed.partition, *packed.facts.first), (packed.partition, *packed.facts.last)
        inside = [position for position in positions if first <= position <= last]
        assert inside[0] == first and inside[-1] == last
        covered += inside
        rejects = [row for batch in packed.rejects for row in batch.to_pylist()]
        rows = sorted(
            (row["raw_partition"], row["raw_offset"], row["raw_index"]) for row in [*packed.flows.to_pylist(), *rejects]
        )
        assert set(rows) <= set(inside) and len(set(rows)) == len(rows)
        assert packed.facts.records == len(rows) <= flows_rows and packed.facts.rejected == len(rejects)
        marks = [mark for mark in log if mark.source.ends and first <= (mark.partition, mark.offset, 0) <= last]
        assert packed.facts.ended == tuple((mark.source.site, mark.source.sensor) for mark in marks)
        sensors = [mark.source.sensor for mark in marks]
        assert len(sensors) == len(set(sensors)) and (not marks or (marks[-1].partition, marks[-1].offset, 0) == last)
        at = [log.index(mark) for mark in marks]
        assert not marks or at == list(range(at[0], at[0] + len(marks))), "nothing lies between them"
    assert covered == positions


ACCEPTED = BaselineCommand(site="plant", sensor="a", action=ACCEPT, address="10.0.0.7")


def test_a_command_ends_a_range_and_travels_with_it() -> None:
    command = RawMessage(0, 8, SENT_US, SourceInfo(BASELINE_COMMAND, (), "plant", "a"), ACCEPTED.payload())
    before, after = packed_of([message(0, 7, [GOOD]), command, message(0, 9, [GOOD])], 100)
    assert (before.facts.last, before.facts.commands, before.facts.records) == ((8, 0), (ACCEPTED,), 1)
    assert (before.facts.ended, before.facts.silent, before.key, before.misread) == ((), (), "plant/a", False)
    assert (after.facts.first, after.facts.commands) == ((9, 0), ())
    _, facts = read(write(before.flows, before.facts), FlowsFacts, MessagePosition("flows", 0, 0))
    assert facts == before.facts


@pytest.mark.parametrize(
    "payload", [b"", b"\x00", b"[]", b"{}", b'{"action": "accept"}', ACCEPTED.payload() + b" " * 5_000]
)
def test_a_command_that_is_none_is_covered_and_counted(payload: bytes) -> None:
    command = RawMessage(0, 8, SENT_US, SourceInfo(BASELINE_COMMAND, (), "plant", "a"), payload)
    packed, _ = packed_of([command, message(0, 9, [GOOD])], 100)
    assert (packed.facts.last, packed.facts.commands, packed.facts.records) == ((8, 0), (), 0)
    assert packed.misread


def test_a_command_of_nobody_is_none() -> None:
    command = RawMessage(0, 8, SENT_US, SourceInfo(BASELINE_COMMAND, (), "", "", "origin"), ACCEPTED.payload())
    (packed,) = packed_of([command], 100)
    assert (packed.facts.commands, packed.misread) == ((), False)


def stated(offset: int, lateness_us: int | None, sensor: str, records: Sequence[bytes] = (GOOD,)) -> RawMessage:
    source = SourceInfo(ZEEK_JSON, (), "plant", sensor, lateness_us=lateness_us)
    return RawMessage(0, offset, SENT_US, source, b"\n".join(records))


def test_what_messages_state_is_said_where_it_changes() -> None:
    log = [stated(3, None, "a"), stated(5, 7, "a"), stated(6, None, "b"), stated(7, 7, "a"), stated(9, None, "a")]
    (packed,) = packed_of([*log, stated(11, 0, "b"), mark(12, TICK, "a")], 100)
    assert packed.facts.lateness == (("plant", "a", 5, 7), ("plant", "a", 9, None), ("plant", "b", 11, 0))


@given(
    st.lists(st.tuples(st.sampled_from([None, 0, 5, 7]), st.sampled_from("ab"), st.integers(0, 3)), max_size=12),
    st.integers(1, 5),
)
@settings(max_examples=examples(60), deadline=None)
def test_of_each_record_can_be_told_what_its_message_states(
    sent: list[tuple[int | None, str, int]], flows_rows: int
) -> None:
    log = [stated(number * 2, us, sensor, (GOOD,) * count) for number, (us, sensor, count) in enumerate(sent)]
    for packed in packed_of(log, flows_rows):
        for offset, sensor in zip(
            packed.flows["raw_offset"].to_pylist(), packed.flows["sensor"].to_pylist(), strict=True
        ):
            said = [each.us for each in packed.facts.lateness if each.sensor == sensor and each.raw_offset <= offset]
            assert (said[-1] if said else None) == sent[offset // 2][0]


def test_rejects_alone_still_give_a_flows_message() -> None:
    (packed,) = packed_of([message(0, 7, [BAD, BAD])], 100)
    assert packed.flows.num_rows == 0 and packed.facts.first == (7, 0) and packed.facts.last == (7, 1)
    batch, facts = read(write(packed.flows, packed.facts), FlowsFacts, MessagePosition("flows", 0, 0))
    assert batch.num_rows == 0 and facts == packed.facts


def test_an_empty_message_is_covered_and_holds_nothing() -> None:
    (packed,) = packed_of([message(0, 7, [])], 100)
    assert packed.facts == FlowsFacts(raw_partition=0, first=(7, 0), last=(7, 0), records=0, rejected=0)
    assert packed.facts.document() == {
        "raw_partition": 0, "first": [7, 0], "last": [7, 0], "records": 0, "rejected": 0, "ended": [], "silent": [],
    }  # fmt: skip


def test_a_tick_ends_a_range_and_names_the_silent_sensor() -> None:
    tick = RawMessage(0, 8, SENT_US, SourceInfo(TICK, (), "plant", "a"), b"")
    first, second = packed_of([message(0, 7, [GOOD]), tick, message(0, 9, [GOOD])], 100)
    assert first.facts.last == (8, 0) and first.facts.records == 1
    assert first.facts.silent == (("plant", "a"),) and first.facts.ended == ()
    assert second.facts.first == (9, 0) and second.facts.silent == ()


def mark(offset: int, kind: str, sensor: str) -> RawMessage:
    return RawMessage(0, offset, SENT_US, SourceInfo(kind, (), "plant", sensor), b"")


def test_marks_that_follow_one_another_end_one_range() -> None:
    log = [
        message(0, 7, [GOOD]),
        mark(8, TICK, "c"),
        mark(9, END_OF_SOURCE, "a"),
        mark(10, TICK, "b"),
        mark(11, END_OF_SOURCE, "b"),  # its order to the tick before counts
        message(0, 12, [GOOD]),
        mark(13, END_OF_SOURCE, "a"),
    ]
    ranges = [
        (each.facts.first[0], each.facts.last[0], each.facts.ended, each.facts.silent) for each in packed_of(log, 9)
    ]
    assert ranges == [
        (7, 10, (("plant", "a"),), (("plant", "c"), ("plant", "b"))),
        (11, 11, (("plant", "b"),), ()),
        (12, 13, (("plant", "a"),), ()),
    ]


def test_so_many_marks_end_a_range_at_most() -> None:
    log = [mark(number, TICK, f"s{number}") for number in range(2 * MAX_MARKS + 1)]
    assert [len(each.facts.silent) for each in packed_of(log, 100)] == [MAX_MARKS, MAX_MARKS, 1]


def test_a_mark_without_a_sensor_ends_nothing() -> None:
    bad = SourceInfo(END_OF_SOURCE, (), "", "", "origin", "site None")
    (packed,) = packed_of([RawMessage(0, 3, SENT_US, bad, b"")], 100)
    assert packed.facts.ended == () and packed.key is None


@pytest.mark.parametrize(("sensors", "key"), [([0, 0], "plant/a"), ([1, 1], "plant/b"), ([0, 1], None)])
def test_the_key_is_the_sensor_if_there_is_one(sensors: list[int], key: str | None) -> None:
    (packed,) = packed_of([message(0, at, [GOOD], sensor) for at, sensor in enumerate(sensors)], 100)
    assert packed.key == key


def test_several_formats_in_one_go_keep_the_raw_order() -> None:
    unknown = SourceInfo("text/plain", (), "plant", "a", "content_type", "content-type text/plain")
    log = [
        message(0, 0, [GOOD, GOOD]),
        RawMessage(0, 1, SENT_US, unknown, b"x\ny"),
        message(0, 2, [GOOD, BAD, GOOD], 1),
    ]
    (packed,) = packed_of(log, 100)
    rows = [(row["raw_offset"], row["raw_index"], row["sensor"]) for row in packed.flows.to_pylist()]
    assert rows == [(0, 0, "a"), (0, 1, "a"), (2, 0, "b"), (2, 2, "b")]
    assert [row["reason"] for row in packed.rejects[0].to_pylist()] == ["content_type", "not_json"]
    assert packed.facts.records == 6
