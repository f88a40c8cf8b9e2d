"""How far outputs are: the offsets that their groups committed, against the end of the topic."""

from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition

from pipeline.runtime.kafka import clients, tail
from pipeline.settings import Settings
from schemas.outputs import OutputEntry

REQUEST_S = 10.0
GROUP = "output"


def group_of(output: OutputEntry) -> str:
    """The consumer group, without the topics' prefix, whose committed offsets are an output's position."""
    return f"{GROUP}-{output.name}"


def behind(settings: Settings) -> dict[str, int]:
    """By name, the messages of topic `alerts` that an output has not dealt with; without those never started."""
    topic, client = settings.topics.alerts, clients.admin(settings)
    reader = clients.reader(settings, "output-list")
    try:
        partitions = tail.partitions_of(reader, topic)
    finally:
        reader.close()
    ends = tail.ends(settings, topic, partitions)
    found: dict[str, int] = {}
    for output in settings.outputs:
        group = f"{settings.topic_prefix}{group_of(output)}"
        asked = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, number) for number in partitions])
        [answer] = client.list_consumer_group_offsets([asked]).values()
        committed = [each for each in answer.result(REQUEST_S).topic_partitions or [] if each.offset >= 0]
        if committed:
            found[output.name] = sum(max(0, ends[each.partition] - each.offset) for each in committed)
    return found
