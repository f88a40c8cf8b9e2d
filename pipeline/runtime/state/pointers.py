"""Pointer records: which state belongs to which position, in a compacted topic with the partition as key.

A zombie may write an older pointer after a newer one, so the highest position counts, not the latest record.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

import orjson
from confluent_kafka import OFFSET_BEGINNING, KafkaError, Message, Producer, TopicPartition

from pipeline.errors import BadData
from pipeline.runtime.kafka import clients, tail
from pipeline.runtime.kafka.errors import must_stop
from pipeline.runtime.kafka.producing import ProducerBroken, flush, produce
from pipeline.runtime.state.store import DIGEST
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
        """The pointer as JSON."""
        return orjson.dumps(asdict(self), option=orjson.OPT_SORT_KEYS)

    @classmethod
    def decode(cls, payload: bytes) -> "Pointer":
        """The pointer in JSON; BadData where it is none."""
        try:
            facts = orjson.loads(payload)
            fields = {name: facts[name] for name in cls.__annotations__}
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise BadData(f"pointer {payload[:120]!r}: got {error!r}, expected a pointer record") from error
        whole = [fields["partition"], fields["position"], fields["seq"]]
        if any(type(number) is not int or not 0 <= number < 1 << 63 for number in whole):
            raise BadData(f"pointer {payload[:120]!r}: got partition, position, seq {whole}, expected whole numbers")
        if type(fields["digest"]) is not str or not DIGEST.fullmatch(fields["digest"]):
            raise BadData(f"pointer {payload[:120]!r}: got that digest, expected 64 hex digits")
        if type(fields["uri"]) is not str:
            raise BadData(f"pointer {payload[:120]!r}: got that uri, expected a text")
        return cls(**fields)


def _decoded(payload: bytes, partition: int) -> Pointer:
    pointer = Pointer.decode(payload)
    if pointer.partition != partition:
        raise BadData(f"pointer {payload[:120]!r}: got partition {pointer.partition}, expected {partition}")
    return pointer


def by_position(pointers: Iterable[Pointer]) -> list[Pointer]:
    """Newest first: by position, and among equal ones the last written first."""
    return sorted(reversed(list(pointers)), key=lambda pointer: pointer.position, reverse=True)


def read(
    settings: Settings,
    topic: str,
    partitions: Iterable[int],
    timeout_s: float = 30.0,
    ignored: Callable[[Message, BadData], None] = lambda _message, _error: None,
) -> dict[int, list[Pointer]]:
    """Every pointer of these partitions, newest first; Failed where the topic cannot be read to its end in time.

    A malformed record, or one that names another partition than it lies in, is handed to `ignored` and left out: one
    record that anybody may have written must not stop a stage for ever. The pointers before it still hold.
    """
    by_partition: dict[int, list[Pointer]] = {partition: [] for partition in partitions}
    reader = clients.reader(settings, "pointers", **tail.EOF_EVENTS)
    try:
        reader.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in by_partition])
        for message in tail.read_to(reader, topic, tail.ends(settings, topic, by_partition, timeout_s), timeout_s):
            value = message.value()
            if value is None:
                continue
            try:
                by_partition[message.partition() or 0].append(_decoded(value, message.partition() or 0))
            except BadData as error:
                ignored(message, error)
    finally:
        reader.close()
    return {partition: by_position(pointers) for partition, pointers in by_partition.items()}


def write(
    producer: Producer, topic: str, pointers: Iterable[Pointer], stopped: Callable[[], bool] = lambda: False
) -> None:
    """Append pointers and wait until Kafka has acknowledged them, however long it is away.

    Raises Backpressure where `stopped()` turns true meanwhile; MessageTooLarge, KafkaDenied or Failed where Kafka does
    not take one.
    """
    refused: list[KafkaError] = []

    def delivered(error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            refused.append(error)

    for pointer in pointers:
        produce(
            producer,
            topic,
            pointer.encode(),
            stopped=stopped,
            key=str(pointer.partition).encode(),
            partition=pointer.partition,
            on_delivery=delivered,
        )
    flush(producer, topic, limit_s=None, stopped=lambda: stopped() or bool(refused))
    if refused:
        raise must_stop(refused[0], topic) or ProducerBroken(f"{topic}: {refused[0].str()}; not saved")
