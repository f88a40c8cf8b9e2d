import numpy as np
import pytest

from pipeline.ingest.worker import FETCH, RECEIVE_BYTES, fetching, messages_within


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
