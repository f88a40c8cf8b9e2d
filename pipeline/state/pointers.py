"""Pointer records: which state belongs to which position, in a compacted topic with the partition as key.

A zombie may write an older pointer after a newer one, so the highest position counts, not the latest record.
"""

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import orjson
from confluent_kafka import OFFSET_BEGINNING, Message, Producer, TopicPartition

from pipeline.errors import BadData, Failed
from pipeline.kafka import clients
from pipeline.settings import Settings


@dataclass(frozen=True, slots=True)
class Pointer:
    """State `digest` is what a worker knew after everything before `position` of its partition.

    Parameters
    ----------
    partition : int
    position : int
        Offset of the input topic to read next.
    seq : int
        Number of the next message to emit.
    digest : str
        SHA-256 of the state.
    uri : str
        Where it lies below `state_uri`.
    """

    partition: int
    position: int
    seq: int
    digest: str
    uri: str

    def encode(self) -> bytes:
        """As JSON."""
        return orjson.dumps(asdict(self), option=orjson.OPT_SORT_KEYS)

    @classmethod
    def decode(cls, payload: bytes) -> "Pointer":
        """From JSON; BadData where it is no pointer."""
        try:
            facts = orjson.loads(payload)
            return cls(
                int(facts["partition"]),
                int(facts["position"]),
                int(facts["seq"]),
                str(facts["digest"]),
                str(facts["uri"]),
            )
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise BadData(f"pointer {payload[:120]!r}: got {error!r}, expected a pointer record") from error


def by_position(pointers: Iterable[Pointer]) -> list[Pointer]:
    """Newest first: by position, and among equal ones the last written first."""
    return sorted(reversed(list(pointers)), key=lambda pointer: pointer.position, reverse=True)


def read(
    settings: Settings, topic: str, partitions: Iterable[int], timeout_s: float = 30.0
) -> dict[int, list[Pointer]]:
    """Every pointer of these partitions, newest first; Failed where the topic cannot be read to its end in time."""
    found: dict[int, list[Pointer]] = {partition: [] for partition in partitions}
    reader = clients.reader(settings, "pointers")
    try:
        ends = {
            partition: reader.get_watermark_offsets(TopicPartition(topic, partition), timeout=timeout_s)[1]
            for partition in found
        }
        reader.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in found])
        deadline = time.monotonic() + timeout_s
        while not _reached(reader.position([TopicPartition(topic, partition) for partition in found]), ends):
            if time.monotonic() > deadline:
                raise Failed(f"{topic}: not read to its end within {timeout_s:g} s; check the brokers")
            for message in reader.consume(1000, 0.1):
                value = clients.raise_for(message).value()
                if value is not None:
                    found[_partition(message)].append(Pointer.decode(value))
    finally:
        reader.close()
    return {partition: by_position(pointers) for partition, pointers in found.items()}


def _partition(message: Message) -> int:
    number = message.partition()
    assert number is not None  # noqa: S101 - a consumed message has one
    return number


def _reached(positions: list[TopicPartition], ends: dict[int, int]) -> bool:
    """Whether every partition is read to its end; an empty one never gets a position."""
    return all(ends[at.partition] == 0 or at.offset >= ends[at.partition] for at in positions)


def write(producer: Producer, topic: str, pointers: Iterable[Pointer]) -> None:
    """Append pointers and wait until the broker has them; Failed where it does not take one."""
    refused: list[str] = []

    def delivered(error: object, _message: Message) -> None:
        if error is not None:
            refused.append(str(error))

    for pointer in pointers:
        producer.produce(
            topic,
            key=str(pointer.partition).encode(),
            value=pointer.encode(),
            partition=pointer.partition,
            on_delivery=delivered,
        )
    left = producer.flush(60)
    if left or refused:
        raise Failed(f"{topic}: {refused[0] if refused else f'{left} messages not acknowledged in 60 s'}; not saved")
