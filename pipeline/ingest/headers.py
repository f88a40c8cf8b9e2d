"""Kafka messages as the decoders see them: side by side, with what their headers say read once for all alike."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from pipeline.ingest.messages import (
    COLUMNS_HEADER,
    CONTENT_TYPE_HEADER,
    SENSOR_HEADER,
    SITE_HEADER,
    SOURCE_RECORDS_HEADER,
    Messages,
    Stream,
    stream_of,
)
from pipeline.runtime.wire.traceparent import HEADER as TRACEPARENT_HEADER

# Streams are remembered by their headers; hostile headers must not fill memory.
MOST_STREAMS = 4_096
MOST_HEADER_BYTES = 16_384

_OF_STREAM = (CONTENT_TYPE_HEADER, COLUMNS_HEADER, SITE_HEADER, SENSOR_HEADER)

Pairs = tuple[tuple[str, bytes | None], ...]


class KafkaMessage(Protocol):
    """What is read of a message of confluent-kafka; so that nothing here needs the client."""

    def partition(self) -> int | None:
        """Of `raw`."""

    def offset(self) -> int | None:
        """In its partition."""

    def timestamp(self) -> tuple[int, int]:
        """Its kind, and the time in milliseconds."""

    def headers(self) -> Any:
        """Pairs of a name and bytes or None; None where there are no headers."""

    def value(self) -> Any:
        """Bytes; None for an empty message."""


class Headers:
    """Streams by their headers: many messages, few streams."""

    def __init__(self) -> None:
        self._alike: dict[Pairs, Stream] = {}
        """By all headers as they stand, of messages that have none of their own."""
        self._streams: dict[tuple[bytes | None, ...], Stream] = {}

    def messages(self, came: Sequence[KafkaMessage]) -> Messages:
        """Kafka messages side by side, by partition, then offset; none is an error event."""
        count = len(came)
        source_records: list[bytes | None] = [None] * count
        traceparents: list[bytes | None] = [None] * count
        numbers: dict[int, int] = {}
        streams: list[Stream] = []
        stream_numbers = []
        known = self._alike.get
        for place, message in enumerate(came):
            pairs: Pairs = tuple(message.headers() or ())
            stream = known(pairs)
            if stream is None:
                stream, source_records[place], traceparents[place] = self._read(pairs)
            number = numbers.get(id(stream))
            if number is None:
                number = numbers[id(stream)] = len(streams)
                streams.append(stream)
            stream_numbers.append(number)
        payloads = [message.value() or b"" for message in came]
        found = Messages(
            np.array([message.partition() for message in came], np.int32),
            np.array([message.offset() for message in came], np.int64),
            np.array([message.timestamp()[1] for message in came], np.int64) * 1000,
            streams,
            np.array(stream_numbers, np.int64),
            payloads,
            np.fromiter(map(len, payloads), np.int64, count),
            source_records,
            traceparents,
        )
        order = np.lexsort((found.offset, found.partition))
        return found if (order[1:] > order[:-1]).all() else found.at(order)

    def _read(self, pairs: Pairs) -> tuple[Stream, bytes | None, bytes | None]:
        """The stream of a message, and what it says of itself; of equal names the last one counts."""
        headers = {name: value or b"" for name, value in pairs}
        named = tuple(headers.get(name) for name in _OF_STREAM)
        stream = self._streams.get(named)
        if stream is None:
            stream = stream_of(*named)
            if sum(len(header or b"") for header in named) <= MOST_HEADER_BYTES:
                if len(self._streams) >= MOST_STREAMS:
                    self._streams.clear()
                    self._alike.clear()
                self._streams[named] = stream
        if len(headers) == len(pairs) and headers.keys() <= set(_OF_STREAM) and named in self._streams:
            self._alike[pairs] = stream
        return stream, headers.get(SOURCE_RECORDS_HEADER), headers.get(TRACEPARENT_HEADER)
