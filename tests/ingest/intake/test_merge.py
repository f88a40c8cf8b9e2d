"""Partitions in one order: nothing is released that something older could follow, and nothing is held for ever."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.ingest.intake.merge import Entry, PartitionMerge


def merged(*partitions: int) -> PartitionMerge[str]:
    merge: PartitionMerge[str] = PartitionMerge()
    merge.assign([("t", partition) for partition in partitions])
    return merge


def entry(partition: int, offset: int, timestamp_ms: int) -> Entry[str]:
    return Entry(timestamp_ms, ("t", partition), offset, f"{partition}@{offset}")


def test_what_a_slower_partition_may_still_precede_waits() -> None:
    merge = merged(0, 1)
    for offset, timestamp in enumerate((1, 4, 9)):
        merge.add(entry(0, offset, timestamp))
    assert merge.released(10) == []
    for offset, timestamp in enumerate((2, 3)):
        merge.add(entry(1, offset, timestamp))
    assert [each.timestamp_ms for each in merge.released(10)] == [1, 2, 3]
    merge.reached_end(("t", 1))
    assert [each.timestamp_ms for each in merge.released(10)] == [4, 9]
    assert merge.waiting(("t", 0)) == 0


def test_topics_do_not_wait_for_each_other() -> None:
    merge = merged(0)
    merge.assign([("other", 0)])
    merge.add(entry(0, 0, 5))
    assert [each.message for each in merge.released(10)] == ["0@0"]


Log = st.lists(st.integers(0, 50), max_size=30)


@given(st.lists(Log, min_size=1, max_size=4), st.data(), st.integers(1, 7))
def test_any_reading_gives_all_messages_once_in_the_order_of_each_partition(
    logs: list[list[int]], data: st.DataObject, limit: int
) -> None:
    """Whatever is read first, and however little at a time; clocks may step back within a partition."""
    merge = merged(*range(len(logs)))
    read = [0] * len(logs)
    released: list[Entry[str]] = []
    while any(read[partition] < len(log) for partition, log in enumerate(logs)):
        partition = data.draw(st.sampled_from([p for p, log in enumerate(logs) if read[p] < len(log)]))
        for _ in range(data.draw(st.integers(1, 5))):
            if read[partition] < len(logs[partition]):
                merge.add(entry(partition, read[partition], logs[partition][read[partition]]))
                read[partition] += 1
        released += merge.released(limit)
    for partition in range(len(logs)):
        merge.reached_end(("t", partition))
    while part := merge.released(limit):
        released += part
    for partition, log in enumerate(logs):
        assert [each.offset for each in released if each.partition == ("t", partition)] == list(range(len(log)))
    # Where no clock steps back, the whole is in order: what was released early could not be preceded.
    if all(log == sorted(log) for log in logs):
        assert [each.timestamp_ms for each in released] == sorted(each.timestamp_ms for each in released)
