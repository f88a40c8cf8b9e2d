"""Kafka messages as the decoders see them: side by side, with what their headers say read once for all alike."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from pipeline.contracts.raw import (
    COLUMNS_HEADER,
    CONTENT_TYPE_HEADER,
    LATENESS_HEADER,
    SENSOR_HEADER,
    SITE_HEADER,
    SOURCE_RECORDS_HEADER,
    TIME_ZONE_HEADER,
    SourceInfo,
    source_info_of,
)
from pipeline.ingest.messages import Messages
from pipeline.runtime.wire.traceparent import HEADER as TRACEPARENT_HEADER

# What headers say is cached by the headers; a producer that makes up headers must not fill memory. A cache that is full
# is emptied: honest sensors, far fewer, are read again once. A plant has hundreds of sensors: 4,096 leaves room.
MAX_ENTRIES = 4_096
# Bytes of header text that both caches hold together. What is parsed from it (column names as texts of their own) takes
# about four times as much: some 64 MiB at worst.
MAX_CACHED_BYTES = 16_777_216
# A message's headers larger than this are read every time. Those of 1,024 columns of 12 letters still fit.
MAX_HEADER_BYTES = 16_384

_OF_SOURCE = (CONTENT_TYPE_HEADER, COLUMNS_HEADER, SITE_HEADER, SENSOR_HEADER, TIME_ZONE_HEADER, LATENESS_HEADER)

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


class HeaderCache:
    """What messages' headers say, by the headers: many messages, few sources. Bounded by entries and by bytes."""

    def __init__(self) -> None:
        self._by_raw_headers: dict[Pairs, SourceInfo] = {}
        """By all headers as they stand, of messages that have none of their own."""
        self._by_values: dict[tuple[bytes | None, ...], SourceInfo] = {}
        """By the values of the headers that say what the source is."""
        self._bytes = 0

    def messages(self, consumed: Sequence[KafkaMessage]) -> Messages:
        """Kafka messages side by side, by partition, then offset; none is an error event."""
        count = len(consumed)
        source_records: list[bytes | None] = [None] * count
        traceparents: list[bytes | None] = [None] * count
        numbers: dict[int, int] = {}
        sources: list[SourceInfo] = []
        source_numbers = []
        cached = self._by_raw_headers.get
        for index, message in enumerate(consumed):
            pairs: Pairs = tuple(message.headers() or ())
            if pairs and pairs[-1][0] == SOURCE_RECORDS_HEADER:  # each message's own: most senders put it last
                pairs, source_records[index] = pairs[:-1], pairs[-1][1] or b""
            source = cached(pairs)
            if source is None:
                source, records, traceparents[index] = self._read(pairs)
                source_records[index] = records if source_records[index] is None else source_records[index]
            number = numbers.get(id(source))
            if number is None:
                number = numbers[id(source)] = len(sources)
                sources.append(source)
            source_numbers.append(number)
        payloads = [message.value() or b"" for message in consumed]
        messages = Messages(
            np.array([message.partition() for message in consumed], np.int32),
            np.array([message.offset() for message in consumed], np.int64),
            np.array([message.timestamp()[1] for message in consumed], np.int64) * 1000,
            sources,
            np.array(source_numbers, np.int64),
            payloads,
            np.fromiter(map(len, payloads), np.int64, count),
            source_records,
            traceparents,
        )
        order = np.lexsort((messages.offset, messages.partition))
        return messages if (order[1:] > order[:-1]).all() else messages.at(order)

    def _read(self, pairs: Pairs) -> tuple[SourceInfo, bytes | None, bytes | None]:
        """The source of a message, and what the message says of itself; of equal names the last one counts."""
        headers = {name: value or b"" for name, value in pairs}
        values = tuple(headers.get(name) for name in _OF_SOURCE)
        source = self._by_values.get(values)
        if source is None:
            source = source_info_of(*values)
            self._cache(self._by_values, values, source, sum(len(value or b"") for value in values))
        if len(headers) == len(pairs) and headers.keys() <= set(_OF_SOURCE):
            size = sum(len(name) + len(value or b"") for name, value in pairs)
            self._cache(self._by_raw_headers, pairs, source, size)
        return source, headers.get(SOURCE_RECORDS_HEADER), headers.get(TRACEPARENT_HEADER)

    def _cache(self, cache: dict[Any, SourceInfo], key: object, source: SourceInfo, size: int) -> None:
        if size > MAX_HEADER_BYTES:
            return
        if len(cache) >= MAX_ENTRIES or self._bytes + size > MAX_CACHED_BYTES:
            self._by_values.clear()
            self._by_raw_headers.clear()
            self._bytes = 0
        cache[key] = source
        self._bytes += size
