"""What lies in other tools' topics and files, read without a trace: no group is joined, nothing is committed."""

import tempfile
import time
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, IsolationLevel, TopicPartition

from pipeline.contracts.raw import DELIMITED
from pipeline.errors import BadData, Failed
from pipeline.ingest.files.read_bytes import read_bytes
from pipeline.ingest.files.reading import read_file
from pipeline.ingest.files.source_check import Sample
from pipeline.ingest.intake.origins import Envelope
from pipeline.runtime.kafka import clients, tail
from pipeline.settings import Settings

REQUEST_S = 10.0
# More than a sample has: of a log that grows for days only its head is read.
HEAD_BYTES = 8_388_608
PACKED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"PK\x03\x04")


def last_messages(settings: Settings, topic: str, count: int) -> list[Sample]:
    """The last messages of each partition of a topic, `count` in all; Failed where there is no such topic."""
    clients.require_broker(settings)
    consumer = clients.reader(settings, "source-check", **tail.EOF_EVENTS)
    try:
        partitions = partitions_of(consumer).get(topic)
        if partitions is None:
            raise Failed(
                f"topic {topic}: got no such topic, expected one of another tool; correct it, or let "
                "`forebay topic create --sources FILE` create it"
            )
        return read_last(settings, consumer, topic, partitions, -(-count // len(partitions)))
    finally:
        consumer.close()


def partitions_of(consumer: Consumer) -> dict[str, list[int]]:
    """The partitions of every topic that there is."""
    topics = consumer.list_topics(timeout=REQUEST_S).topics
    return {name: sorted(each.partitions) for name, each in topics.items() if each.error is None}


def read_last(
    settings: Settings, consumer: Consumer, topic: str, partitions: list[int], count: int, marks: int = 0
) -> list[Sample]:
    """The last `count` messages of each partition, and those of up to `marks` offsets before."""
    ends = tail.ends(settings, topic, partitions, isolation=IsolationLevel.READ_COMMITTED)
    starts = []
    for partition, end in ends.items():
        first, _ = consumer.get_watermark_offsets(TopicPartition(topic, partition), REQUEST_S)
        starts.append(TopicPartition(topic, partition, max(first, end - count - marks)))
    consumer.assign(starts)
    return [
        Sample(
            message.value() or b"",
            Envelope(topic, _bytes(message.key()), list(clients.headers_of(message).items())),
            message.timestamp()[1] * 1_000,
        )
        for message in tail.read_to(consumer, topic, ends)
    ]


def _bytes(key: str | bytes | None) -> bytes | None:
    return key.encode() if isinstance(key, str) else key


def head_of_file(path: str, count: int) -> tuple[list[Sample], dict[str, Any]]:
    """The first records of a file as messages, and `format` and `columns` of a source that reads such.

    BadData, with what it is and what to do, where the file is known and not read.
    """
    with tempfile.TemporaryDirectory() as folder:
        head = _head(path, Path(folder))
        try:
            source = read_file(head)
        except BadData as error:
            raise BadData(str(error).replace(str(head), path)) from None
        delimited = next((file for file in source.files if file.content_type in DELIMITED), None)
        if delimited is not None:
            payloads = delimited.records[:count]
            content = {"format": delimited.content_type, "columns": list(delimited.columns)}
        else:
            lines = [line for line in read_bytes(head).splitlines() if line.strip()]
            # Objects over several lines are cut into records by the reader.
            whole = bool(lines) and lines[0].strip().endswith(b"}") and len(lines[0].strip()) > 1
            payloads = lines[:count] if whole else [record for file in source.files for record in file.records][:count]
            content = {}
    now_us = time.time_ns() // 1_000
    return [Sample(payload, Envelope(path, None, ()), now_us) for payload in payloads], content


def _head(path: str, folder: Path) -> Path:
    """The file itself; of standard input and of what is long and not packed, a file with its beginning."""
    if path == "-":
        data = read_bytes(path)
    else:
        if not Path(path).is_file():
            return Path(path)
        with Path(path).open("rb") as file:
            data = file.read(HEAD_BYTES + 1)
        if len(data) <= HEAD_BYTES or data.startswith(PACKED):
            return Path(path)
    head = folder / (Path(path).name if path != "-" else "stdin")
    head.write_bytes(data if len(data) <= HEAD_BYTES else data[: data.rfind(b"\n", 0, HEAD_BYTES) + 1])
    return head
