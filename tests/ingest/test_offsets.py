import numpy as np
import pytest

from pipeline.contracts.raw import ZEEK_JSON, SourceInfo, source_info_of
from pipeline.ingest.messages import Messages, RawMessage
from pipeline.ingest.worker import FETCH, RECEIVE_BYTES, fetching, first_offsets, messages_within


def message(partition: int, offset: int) -> RawMessage:
    stream: SourceInfo = source_info_of(ZEEK_JSON.encode(), None, b"s", b"n")
    return RawMessage(partition, offset, 0, stream, b"{}", None, None)


def test_everything_that_was_not_committed_is_read_again_whatever_its_partition() -> None:
    received = Messages.of([message(0, 10), message(0, 11), message(1, 40), message(1, 41), message(3, 7)])
    assert first_offsets(received) == {0: 10, 1: 40, 3: 7}
    assert first_offsets(received.part(1, 5)) == {0: 11, 1: 40, 3: 7}
    assert first_offsets(received.part(5, 5)) == {}


@pytest.mark.parametrize(
    ("sizes", "wanted"),
    [
        ([300] * 5, 16_384),  # a record a message: as many as a transaction has
        ([100], 16_384),
        ([0, 0], 16_384),  # ticks
        ([34_000, 36_000], 164),
        ([8_388_608], 2),
    ],
)
def test_as_many_messages_are_asked_for_as_hold_the_bytes_of_a_transaction(sizes: list[int], wanted: int) -> None:
    assert messages_within(RECEIVE_BYTES, np.array(sizes, np.int64)) == wanted


def test_the_broker_gathers_where_ingest_does() -> None:
    assert fetching(0) == fetching(20) == {**FETCH, "fetch.min.bytes": 524_288, "fetch.wait.max.ms": 10}
    assert fetching(200) == {**FETCH, "fetch.min.bytes": 524_288, "fetch.wait.max.ms": 100}
