"""What was sent: the records in topic `raw`, counted message by message as ingest cuts them."""

import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from confluent_kafka import OFFSET_BEGINNING, Message, TopicPartition

from pipeline.errors import KafkaUnreachable
from pipeline.runtime.kafka import clients
from pipeline.settings import Settings
from schemas.sources import sources

Ints = npt.NDArray[np.int64]
MARK = b"end-of-source"
LINED = frozenset(name.encode() for source in sources().values() for name in source.content_types)
"""Formats with a record a line; ingest takes a message of any other as one record."""
TABBED = frozenset(name for name in LINED if name.endswith(b"+tsv"))
LONGEST_NAME = 128
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
WINDOW_BYTES = 32 * 1024 * 1024
POLL_S = 0.1
PATIENCE_S = 30.0
SETTLED_S = 1.0


class Mark(NamedTuple):
    """An end-of-source mark: which message of the window it is, and how many records it says were sent."""

    message: int
    records: int


class RawWindow(NamedTuple):
    """Raw messages of one partition in offset order: how many records each holds, and whose they are."""

    offsets: Ints
    records: Ints
    senders: list[tuple[str, str]]
    marks: list[Mark]
    end: int  # offset after the window


def windows(settings: Settings, partition: int) -> Iterator[RawWindow]:
    """All of a `raw` partition that is in Kafka now, a window of messages at a time."""
    consumer = clients.reader(
        settings, "verify", **{"queued.max.messages.kbytes": 65_536, "enable.partition.eof": True}
    )
    try:
        low, high = consumer.get_watermark_offsets(TopicPartition(settings.topics.raw, partition), timeout=PATIENCE_S)
        consumer.assign([TopicPartition(settings.topics.raw, partition, OFFSET_BEGINNING if low == 0 else low)])
        messages: list[Message] = []
        size, at_end, heard = 0, low >= high, time.monotonic()
        while not at_end:
            got = consumer.consume(1000, POLL_S)
            if got:
                heard = time.monotonic()
            elif time.monotonic() - heard > PATIENCE_S:
                raise KafkaUnreachable(
                    f"topic {settings.topics.raw}[{partition}]: nothing came for {PATIENCE_S:.0f} s before offset "
                    f"{high}; look at the broker with `forebay doctor`"
                )
            for message in got:
                error = message.error()
                if error is not None and error.name() == "_PARTITION_EOF":
                    at_end = True
                    continue
                clients.raise_for(message)
                if (message.offset() or 0) >= high:
                    at_end = True
                    break
                messages.append(message)
                size += len(message.value() or b"") + 100
            if size >= WINDOW_BYTES:
                yield _window(messages, (messages[-1].offset() or 0) + 1)
                messages, size = [], 0
        yield _window(messages, high)
    finally:
        consumer.close()


class RawCounter:
    """Counts the records of all partitions of `raw` per sensor, each message once."""

    def __init__(self, settings: Settings) -> None:
        self._consumer = clients.reader(settings, "account", **{"queued.max.messages.kbytes": 65_536})
        topic = settings.topics.raw
        self._consumer.assign(
            [TopicPartition(topic, number, OFFSET_BEGINNING) for number in range(settings.partitions)]
        )
        self._ends = {number: -1 for number in range(settings.partitions)}
        self._topic = topic

    def poll(self) -> dict[tuple[str, str], int]:
        """Records that have come since the last look; reads on until it has caught up with the ends as they are now."""
        wanted = {
            number: self._consumer.get_watermark_offsets(TopicPartition(self._topic, number), timeout=PATIENCE_S)
            for number in self._ends
        }
        found: dict[tuple[str, str], int] = {}
        heard = time.monotonic()
        while any(low < high and self._ends[number] < high for number, (low, high) in wanted.items()):
            messages = [clients.raise_for(message) for message in self._consumer.consume(5_000, POLL_S)]
            if messages:
                heard = time.monotonic()
                window = _window(messages, 0)
                for sender, records in zip(window.senders, window.records.tolist(), strict=True):
                    if records:
                        found[sender] = found.get(sender, 0) + records
            elif time.monotonic() - heard > SETTLED_S:
                break  # what lies before the end are marks of transactions
            for at in self._consumer.position([TopicPartition(self._topic, number) for number in self._ends]):
                self._ends[at.partition] = max(self._ends[at.partition], at.offset)
        return found

    def close(self) -> None:
        """Leave."""
        self._consumer.close()


def _window(messages: list[Message], end: int) -> RawWindow:
    senders, marks, payloads = [], [], []
    tabs_are_text = np.zeros(len(messages), bool)
    whole = np.zeros(len(messages), bool)
    for number, message in enumerate(messages):
        headers = clients.headers_of(message)
        senders.append((_name(headers.get("site")), _name(headers.get("sensor"))))
        content_type = headers.get("content-type", b"")
        payload = message.value() or b""
        if content_type == MARK:
            payload, stated = b"", headers.get("records", b"")
            if stated.isdigit():
                marks.append(Mark(number, int(stated)))
        payloads.append(payload.removeprefix(BYTE_ORDER_MARK))
        whole[number] = bool(payload) and content_type not in LINED
        tabs_are_text[number] = content_type in TABBED
    offsets = np.array([message.offset() for message in messages], np.int64)
    records = np.where(whole, 1, count_records(payloads, tabs_are_text))
    return RawWindow(offsets, records, senders, marks, end)


def _name(value: bytes | None) -> str:
    """A site's or sensor's name as ingest reads it from a header: empty where it is none."""
    if value is None or len(value) > LONGEST_NAME:
        return ""
    text = value.decode("utf-8", "replace")
    return "" if "\ufffd" in text or any(ord(letter) < 32 or ord(letter) == 127 for letter in text) else text


def count_records(payloads: list[bytes], tabs_are_text: npt.NDArray[np.bool_]) -> Ints:
    """Records of each message, (m,) int64: its lines that hold more than blanks (and tabs, unless those separate
    fields).
    """
    text = np.frombuffer(b"".join(payloads), np.uint8)
    sizes = np.array([len(payload) for payload in payloads], np.int64)
    message = np.repeat(np.arange(len(payloads)), sizes)
    blank = (text == 0x20) | (text == 0x0D) | (text == 0x0A)
    blank |= (text == 0x09) & ~tabs_are_text[message]
    # A line's number over all messages: line ends so far, and one more for each message before.
    line = (np.cumsum(text == 0x0A) + message)[~blank]
    starts = np.ones(len(line), bool)
    starts[1:] = np.diff(line) != 0
    return np.bincount(message[~blank][starts], minlength=len(payloads)).astype(np.int64)
