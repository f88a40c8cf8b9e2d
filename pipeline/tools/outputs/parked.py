"""What a receiver refused for good: in topic `parked`, as it was sent, with why and when, until it is sent again.

A record is durable before the output's position moves, and goes once a receiver has taken what it holds: a kill in
between leaves it there, to be sent again under the same key (ADR 40).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache

import orjson
from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition
from pydantic import TypeAdapter, ValidationError

from pipeline.alert.ocsf import SEVERITY_CAPTION
from pipeline.contracts.incident_joining import MAX_COUNT, is_alert
from pipeline.errors import BadData
from pipeline.runtime.kafka import clients, producing, tail
from pipeline.settings import Settings
from pipeline.tools.outputs.revision import ENDED, GROWN, NEW, Revision

VERSION = 1
CLIENT = "parked"
MAX_BYTES = 8_000_000
"""What Kafka takes as one message, with some room for its envelope."""


@dataclass(frozen=True, slots=True)
class Parked:
    """A revision that an output's receiver refused: how often, the last answer, when first and last."""

    output: str
    revision: Revision
    reason: str
    refusals: int
    first_us: int
    last_us: int
    version: int = VERSION

    @property
    def key(self) -> str:
        """What names it in the topic: a revision is there once an output."""
        return f"{self.output}/{self.revision.key}"

    def again(self, reason: str, now_us: int) -> "Parked":
        """The same, refused once more."""
        return replace(self, reason=reason, refusals=self.refusals + 1, last_us=now_us)


def parked_now(output: str, revision: Revision, reason: str, now_us: int) -> Parked:
    """What is refused for the first time."""
    return Parked(output, revision, reason, refusals=1, first_us=now_us, last_us=now_us)


def parked_bytes(parked: Parked) -> bytes:
    """A record as it is written."""
    return orjson.dumps(parked)


def read_parked(payload: bytes) -> Parked:
    """A record from bytes; BadData where it is none, or a text of it is not printable."""
    try:
        parked = _adapter().validate_json(payload)
    except ValidationError as error:
        raise BadData(f"parked: got no record of ours ({error.error_count()} faults), expected one") from error
    known = parked.version == VERSION and parked.revision.severity_id in SEVERITY_CAPTION
    known &= parked.revision.activity in (NEW, GROWN, ENDED) and 0 < parked.refusals <= MAX_COUNT
    if not known or not _is_printable(parked) or not is_alert(parked.revision.event):
        raise BadData("parked: got a record with parts that are none of ours, expected one of version 1")
    return parked


@cache
def _adapter() -> TypeAdapter[Parked]:
    return TypeAdapter(Parked)


def _is_printable(value: object) -> bool:
    """Whether every text is; an event's are made so by what reads it."""
    if isinstance(value, str):
        return value.isprintable()
    if is_dataclass(value):
        return all(_is_printable(getattr(value, each.name)) for each in fields(value) if each.name != "event")
    return all(map(_is_printable, value)) if isinstance(value, tuple) else True


def standing(messages: Iterable[tuple[bytes | None, bytes | None]]) -> tuple[list[Parked], int]:
    """What keys and values of the topic, oldest first, leave parked, oldest first, and how many are malformed."""
    latest: dict[bytes, bytes] = {}
    for key, value in messages:
        if value is None:
            latest.pop(key or b"", None)
        else:
            latest[key or b""] = value
    parked, malformed = [], 0
    for value in latest.values():
        try:
            parked.append(read_parked(value))
        except BadData:
            malformed += 1
    return sorted(parked, key=lambda each: (each.first_us, each.key)), malformed


def read_all(settings: Settings) -> tuple[list[Parked], int]:
    """What is parked now, oldest first, and how many records are malformed; Failed where there is no such topic."""
    topic, consumer = settings.topics.parked, clients.reader(settings, CLIENT, **tail.EOF_EVENTS)
    try:
        ends = tail.ends(settings, topic, tail.partitions_of(consumer, topic))
        consumer.assign([TopicPartition(topic, partition, 0) for partition in ends])
        return standing(_pairs(tail.read_to(consumer, topic, ends)))
    finally:
        consumer.close()


def _pairs(messages: Iterable[Message]) -> Iterator[tuple[bytes | None, bytes | None]]:
    for message in messages:
        key = message.key()
        yield key.encode() if isinstance(key, str) else key, message.value()


class ParkedTopic:
    """Writes to topic `parked`: what a method returned from is durable; KafkaException or Backpressure where not.

    Parameters
    ----------
    stopped : whether waiting for Kafka makes no sense any more
    """

    def __init__(self, settings: Settings, stopped: Callable[[], bool] = lambda: False) -> None:
        self._settings, self._stopped = settings, stopped
        self._producer: Producer | None = None

    def put(self, parked: Parked) -> bool:
        """Hold it; False where it is larger than what Kafka takes."""
        payload = parked_bytes(parked)
        if len(payload) > MAX_BYTES:
            return False
        self._write(parked.key, payload)
        return True

    def take_out(self, parked: Parked) -> None:
        """Hold it no longer."""
        self._write(parked.key, None)

    def _write(self, key: str, value: bytes | None) -> None:
        topic, refused = self._settings.topics.parked, list[KafkaError]()

        def on_delivery(error: KafkaError | None, _message: Message) -> None:
            if error is not None:
                refused.append(error)

        producer = self._producer = self._producer or clients.producer(self._settings, CLIENT)
        try:
            producing.produce(producer, topic, value, key=key.encode(), on_delivery=on_delivery)
            producing.flush(producer, topic, stopped=self._stopped)
            if refused:
                raise KafkaException(refused[0])
        except BaseException:
            # What is not acknowledged is dropped, not written at some later time: all is done again.
            producer.purge()
            self._producer = None
            raise
