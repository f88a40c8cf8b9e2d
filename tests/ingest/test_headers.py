"""Kafka messages side by side: order, streams by their headers, and what hostile headers may cost."""

from typing import Any

from confluent_kafka import Message
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ingest.headers import MOST_HEADER_BYTES, MOST_STREAMS, Headers
from pipeline.ingest.messages import ZEEK_JSON

Pairs = list[tuple[str, str | bytes | None]]


def made(offset: int, headers: Pairs | None, partition: int = 0, value: bytes | None = b"{}") -> Message:
    message: Any = Message(topic="raw", partition=partition, offset=offset, value=value, headers=headers)
    return message  # type: ignore[no-any-return]


def of(sensor: bytes, *more: tuple[str, str | bytes | None]) -> Pairs:
    return [("content-type", ZEEK_JSON.encode()), ("site", b"plant"), ("sensor", sensor), *more]


def test_alike_headers_are_one_stream_and_what_is_a_messages_own_stays_its_own() -> None:
    headers = Headers()
    own: Pairs = [("source-records", b"\x07" + bytes(7)), ("traceparent", b"00-1")]
    for _ in range(2):  # read, then remembered
        got = headers.messages([made(0, of(b"a")), made(1, of(b"b", *own)), made(2, of(b"a")), made(3, of(b"b"))])
        assert [got.streams[number].sensor for number in got.stream.tolist()] == ["a", "b", "a", "b"]
        assert len(got.streams) == 2, "headers of a message's own make no other stream"
        assert got.source_records == [None, own[0][1], None, None]
        assert got.traceparents == [None, own[1][1], None, None]


def test_of_equal_names_the_last_counts_every_time() -> None:
    headers = Headers()
    for _ in range(2):
        got = headers.messages([made(0, of(b"a", ("sensor", b"b"))), made(1, of(b"a"))])
        assert [got.streams[number].sensor for number in got.stream.tolist()] == ["b", "a"]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 50)), max_size=30, unique=True))
def test_messages_come_by_partition_then_offset(places: list[tuple[int, int]]) -> None:
    came = [made(offset, of(b"s%d" % partition), partition, b"%d" % offset) for partition, offset in places]
    got = Headers().messages(came)
    assert list(zip(got.partition.tolist(), got.offset.tolist(), strict=True)) == sorted(places)
    assert got.payloads == [b"%d" % offset for _, offset in sorted(places)]
    assert got.sizes.tolist() == [len(payload) for payload in got.payloads]
    assert [got.streams[number].sensor for number in got.stream.tolist()] == [f"s{one}" for one, _ in sorted(places)]


def test_no_headers_and_no_value_are_a_fault_and_no_crash() -> None:
    got = Headers().messages([made(0, None, value=None), made(1, []), made(2, [("sensor", None)])])
    assert [got.streams[number].fault for number in got.stream.tolist()] == ["content_type"] * 3
    assert got.payloads == [b"", b"{}", b"{}"]


def test_hostile_headers_do_not_fill_memory() -> None:
    headers = Headers()
    for number in range(MOST_STREAMS + 100):
        headers.messages([made(number, of(b"s%d" % number))])
    headers.messages([made(0, of(b"x" * MOST_HEADER_BYTES))])
    assert max(len(headers._streams), len(headers._alike)) <= MOST_STREAMS
    assert not any(len(named[3] or b"") > 100 for named in headers._streams)
