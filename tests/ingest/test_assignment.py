from confluent_kafka import TopicPartition

from pipeline.ingest.worker import Assignment


def at(*partitions: int) -> list[TopicPartition]:
    return [TopicPartition("raw", partition) for partition in partitions]


def test_what_was_put_is_settled_while_the_partitions_are_ours() -> None:
    ours: list[set[int]] = []
    assignment = Assignment(lambda: ours.append(set(assignment.assigned)))
    assignment.gained(None, at(0, 1, 2))  # type: ignore[arg-type]  # it asks nothing of the consumer
    assignment.lost(None, at(1, 2))  # type: ignore[arg-type]
    assert ours == [{0, 1, 2}]
    assert assignment.assigned == {0} and assignment.taken == {1, 2}
    assignment.gained(None, at(2))  # type: ignore[arg-type]
    assert assignment.assigned == {0, 2} and assignment.taken == {1, 2}, "it is read again from what is committed"
