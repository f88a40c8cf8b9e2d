"""How far outputs are: the offsets that their groups committed, against the end of the topic."""

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
    topic = settings.topics.alerts
    reader = clients.reader(settings, "output-list")
    try:
        partitions = tail.partitions_of(reader, topic)
    finally:
        reader.close()
    ends = tail.ends(settings, topic, partitions)
    found: dict[str, int] = {}
    for output in settings.outputs:
        committed = tail.committed(settings, group_of(output), topic, partitions, REQUEST_S)
        if committed:
            found[output.name] = sum(max(0, ends[number] - offset) for number, offset in committed.items())
    return found
