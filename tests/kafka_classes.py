"""What Kafka's Java loads and links when it starts, kept in a file: the tests start some forty brokers.

`python -m tests.kafka_classes FILE` runs a broker for as long as it takes to use what the stages use. A Java that is
told of the file (`-XX:AOTCache=FILE`) and runs the same jars starts for half the CPU time; another one says that it
cannot use it, and starts as ever.
"""

import os
import sys
import tempfile
from pathlib import Path

from confluent_kafka import TopicPartition
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]  # its types do not say that it exports it

from pipeline.runtime.kafka import clients
from pipeline.settings import Settings, load_settings
from pipeline.tools.broker import local

WRITING_S = 120.0
"""For Java to write the file once the broker has ended: 8 s of a core."""


def use(settings: Settings, topic: str) -> None:
    """A topic, a transaction, a group that commits: what every stage asks of Kafka."""
    admin = clients.admin(settings)
    admin.create_topics([NewTopic(topic, 2)])[topic].result(30)
    writer = clients.transactional_producer(settings, "classes")
    reader = clients.consumer(settings, "classes")
    reader.subscribe([topic])
    try:
        for number in range(200):
            writer.begin_transaction()
            writer.produce(topic, b"%d" % number, key=b"%d" % number)
            writer.commit_transaction(30)
            reader.consume(10, 0.01)
        reader.commit(offsets=[TopicPartition(topic, 0, 1)], asynchronous=False)
    finally:
        reader.close()
    admin.delete_topics([topic])[topic].result(30)


def write(file: Path) -> None:
    """Run a broker, and have its Java leave the file when it ends."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "broker"
        local.start(data)  # formats the folder: a Java of its own, whose classes are not those of a broker
        local.stop(data)
        os.environ["JAVA_TOOL_OPTIONS"] = f'-XX:+IgnoreUnrecognizedVMOptions -XX:AOTCacheOutput="{file.absolute()}"'
        try:
            use(load_settings(bootstrap=local.start(data).bootstrap), "classes")
        finally:
            local.stop(data, grace_s=WRITING_S)
    if not file.is_file():  # a Java of before 25: brokers start as ever
        sys.stderr.write(f"{file}: this Java has not written it\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
