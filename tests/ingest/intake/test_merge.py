"""Partitions in one order: nothing is released that something older could follow, and nothing is held for ever."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ingest.intake.merge import PartitionMerge

Message = tuple[int, int, int]  # timestamp, partition, offset


def merged(*partitions: int) -> PartitionMerge[Message]:
    merge: PartitionMerge[Message] = PartitionMerge()
    merge.assign([("t", partition) for partition in partitions])
    return merge


def add(merge: PartitionMerge[Message], partition: int, timestamps_ms: list[int], first: int = 0) -> None:
    messages = [(timestamp, partition, first + index) for index, timestamp in enumerate(timestamps_ms)]
    merge.add(("t", partition), messages, timestamps_ms, [100] * len(messages))


def times(messages: list[Message]) -> list[int]:
    return [timestamp for timestamp, _, _ in messages]


def test_what_a_slower_partition_may_still_precede_waits() -> None:
    merge = merged(0, 1)
    add(merge, 0, [1, 4, 9])
    assert merge.released(10, 9_999) == []
    add(merge, 1, [2, 3])
    assert times(merge.released(10, 9_999)) == [1, 2, 3]
    merge.reached_end(("t", 1))
    assert times(merge.released(10, 9_999)) == [4, 9]
    assert merge.waiting(("t", 0)) == 0


def test_topics_do_not_wait_for_each_other() -> None:
    merge = merged(0)
    merge.assign([("other", 0)])
    add(merge, 0, [5])
    assert times(merge.released(10, 9_999)) == [5]


def test_large_messages_are_counted_by_their_bytes() -> None:
    merge = merged(0)
    add(merge, 0, [1, 2, 3, 4])
    assert merge.waiting_bytes(("t", 0)) == 400
    assert times(merge.released(10, 250)) == [1, 2]
    assert times(merge.released(10, 1)) == [3]
    assert (merge.waiting(("t", 0)), merge.waiting_bytes(("t", 0))) == (1, 100)


Log = st.lists(st.integers(0, 50), max_size=30)


@pytest.mark.slow
@given(st.lists(Log, min_size=1, max_size=4), st.data(), st.integers(1, 7))
def test_any_reading_gives_all_messages_once_in_the_order_of_each_partition(
    logs: list[list[int]], data: st.DataObject, limit: int
) -> None:
    """Whatever is read first, and however little at a time; clocks may step back within a partition."""
    merge = merged(*range(len(logs)))
    read = [0] * len(logs)
    released: list[Message] = []
    while any(read[partition] < len(log) for partition, log in enumerate(logs)):
        partition = data.draw(st.sampled_from([p for p, log in enumerate(logs) if read[p] < len(log)]))
        part = logs[partition][read[partition] : read[partition] + data.draw(st.integers(1, 5))]
        add(merge, partition, part, read[partition])
        read[partition] += len(part)
        released += merge.released(limit, 250)
    for partition in range(len(logs)):
        merge.reached_end(("t", partition))
    while part_released := merge.released(limit, 250):
        released += part_released
    for partition, log in enumerate(logs):
        assert [offset for _, of, offset in released if of == partition] == list(range(len(log)))
    # Where no clock steps back, the whole is in order: what was released early could not be preceded.
    if all(log == sorted(log) for log in logs):
        assert times(released) == sorted(times(released))
