"""Kafka messages side by side: order, streams by their headers, and what hostile headers may cost."""

from itertools import permutations
from typing import Any

import pytest
from confluent_kafka import Message
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts.raw import ZEEK_JSON
from pipeline.ingest.headers import MAX_CACHED_BYTES, MAX_ENTRIES, MAX_HEADER_BYTES, HeaderCache

Pairs = list[tuple[str, str | bytes | None]]


def made(offset: int, headers: Pairs | None, partition: int = 0, value: bytes | None = b"{}") -> Message:
    message: Any = Message(topic="raw", partition=partition, offset=offset, value=value, headers=headers)
    return message  # type: ignore[no-any-return]


def of(sensor: bytes, *more: tuple[str, str | bytes | None]) -> Pairs:
    return [("content-type", ZEEK_JSON.encode()), ("site", b"plant"), ("sensor", sensor), *more]


def test_alike_headers_are_one_source_and_what_is_a_messages_own_stays_its_own() -> None:
    headers = HeaderCache()
    own_headers: Pairs = [("source-records", b"\x07" + bytes(7)), ("traceparent", b"00-1")]
    for _ in range(2):  # read, then remembered
        got = headers.messages(
            [made(0, of(b"a")), made(1, of(b"b", *own_headers)), made(2, of(b"a")), made(3, of(b"b"))]
        )
        assert [got.sources[number].sensor for number in got.source.tolist()] == ["a", "b", "a", "b"]
        assert len(got.sources) == 2, "headers of a message's own make no other source"
        assert got.source_records == [None, own_headers[0][1], None, None]
        assert got.traceparents == [None, own_headers[1][1], None, None]


def test_of_equal_names_the_last_counts_every_time() -> None:
    headers = HeaderCache()
    for _ in range(2):
        got = headers.messages([made(0, of(b"a", ("sensor", b"b"))), made(1, of(b"a"))])
        assert [got.sources[number].sensor for number in got.source.tolist()] == ["b", "a"]


@pytest.mark.parametrize(
    ("own_headers", "records", "trace"),
    [
        ([("source-records", b"1")], b"1", None),
        ([("source-records", b"1"), ("source-records", b"2")], b"2", None),
        ([("source-records", b"1"), ("source-records", None)], b"", None),
        ([("source-records", b"1"), ("traceparent", b"t")], b"1", b"t"),
        ([("traceparent", b"t"), ("source-records", b"1")], b"1", b"t"),
    ],
)
def test_a_messages_own_headers_are_read_wherever_they_stand(
    own_headers: Pairs, records: bytes, trace: bytes | None
) -> None:
    headers = HeaderCache()
    for _ in range(2):  # read, then remembered
        got = headers.messages([made(0, of(b"a", *own_headers)), made(1, of(b"a"))])
        assert (got.source_records, got.traceparents) == ([records, None], [trace, None])
        assert got.source.tolist() == [0, 0]


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 50)), max_size=30, unique=True))
def test_messages_come_by_partition_then_offset(positions: list[tuple[int, int]]) -> None:
    came = [made(offset, of(b"s%d" % partition), partition, b"%d" % offset) for partition, offset in positions]
    got = HeaderCache().messages(came)
    assert list(zip(got.partition.tolist(), got.offset.tolist(), strict=True)) == sorted(positions)
    assert got.payloads == [b"%d" % offset for _, offset in sorted(positions)]
    assert got.sizes.tolist() == [len(payload) for payload in got.payloads]
    assert [got.sources[number].sensor for number in got.source.tolist()] == [
        f"s{partition}" for partition, _ in sorted(positions)
    ]


def test_no_headers_and_no_value_are_a_fault_and_no_crash() -> None:
    got = HeaderCache().messages([made(0, None, value=None), made(1, []), made(2, [("sensor", None)])])
    assert [got.sources[number].fault for number in got.source.tolist()] == ["content_type"] * 3
    assert got.payloads == [b"", b"{}", b"{}"]


def cached_bytes(cache: HeaderCache) -> int:
    """What both dictionaries hold by their keys, counted anew."""
    raw = sum(len(name) + len(value or b"") for pairs in cache._by_raw_headers for name, value in pairs)
    return raw + sum(len(value or b"") for values in cache._by_values for value in values)


@pytest.mark.slow
def test_the_number_of_made_up_headers_is_bounded() -> None:
    cache = HeaderCache()
    for number in range(MAX_ENTRIES + 100):
        cache.messages([made(number, of(b"s%d" % number))])
    cache.messages([made(0, of(b"x" * MAX_HEADER_BYTES))])
    assert max(len(cache._by_values), len(cache._by_raw_headers)) <= MAX_ENTRIES
    assert not any(len(values[3] or b"") > 100 for values in cache._by_values)


def test_headers_in_every_order_and_of_every_size_are_bounded_in_bytes() -> None:
    """24 orders of four headers are 24 keys of one source: without a bound of its own that was 1.6 GB."""
    cache = HeaderCache()
    columns = b'["' + b"c" * 12_000 + b'"]'
    for number in range(100):
        headers = [*of(b"s%d" % number), ("columns", columns)]
        cache.messages([made(at, list(order)) for at, order in enumerate(permutations(headers))])
        assert cached_bytes(cache) == cache._bytes <= MAX_CACHED_BYTES
    assert len(cache._by_raw_headers) <= MAX_ENTRIES
    got = cache.messages([made(0, of(b"a")), made(1, of(b"b"))])
    assert [source.sensor for source in got.sources] == ["a", "b"], "honest sensors are read as before"


def test_what_is_not_cached_is_read_all_the_same() -> None:
    cache = HeaderCache()
    large = of(b"a", ("columns", b"x" * MAX_HEADER_BYTES))
    for _ in range(2):
        assert [source.sensor for source in cache.messages([made(0, large)]).sources] == ["a"]
    assert not cache._by_values and not cache._by_raw_headers
