"""What was sent: the records in topic `raw`, counted message by message as ingest cuts them."""

import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from confluent_kafka import OFFSET_BEGINNING, Message, TopicPartition

from pipeline.contracts import raw
from pipeline.contracts.raw import Framing
from pipeline.errors import KafkaUnreachable
from pipeline.runtime.kafka import clients
from pipeline.settings import Settings

Ints = npt.NDArray[np.int64]
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
                yield window_of(messages, (messages[-1].offset() or 0) + 1)
                messages, size = [], 0
        yield window_of(messages, high)
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
        """Records that have come since the last call; reads until it has caught up with the ends as they are now."""
        wanted = {
            number: self._consumer.get_watermark_offsets(TopicPartition(self._topic, number), timeout=PATIENCE_S)
            for number in self._ends
        }
        counts: dict[tuple[str, str], int] = {}
        heard = time.monotonic()
        while any(low < high and self._ends[number] < high for number, (low, high) in wanted.items()):
            messages = [clients.raise_for(message) for message in self._consumer.consume(5_000, POLL_S)]
            if messages:
                heard = time.monotonic()
                window = window_of(messages, 0)
                for sender, records in zip(window.senders, window.records.tolist(), strict=True):
                    if records:
                        counts[sender] = counts.get(sender, 0) + records
            elif time.monotonic() - heard > SETTLED_S:
                break  # what lies before the end are marks of transactions
            for at in self._consumer.position([TopicPartition(self._topic, number) for number in self._ends]):
                self._ends[at.partition] = max(self._ends[at.partition], at.offset)
        return counts

    def close(self) -> None:
        """Leave."""
        self._consumer.close()


def window_of(messages: Sequence[Message], end: int) -> RawWindow:
    """Messages of one partition in offset order, none an error event, counted."""
    senders, marks, payloads, framings = [], [], [], []
    for number, message in enumerate(messages):
        headers = clients.headers_of(message)
        senders.append((raw.name_of(headers.get(raw.SITE_HEADER)), raw.name_of(headers.get(raw.SENSOR_HEADER))))
        content_type = raw.content_type_of(headers.get(raw.CONTENT_TYPE_HEADER))
        if content_type == raw.END_OF_SOURCE:
            records = raw.stated_records(headers.get(raw.RECORDS_HEADER))
            if records is not None:
                marks.append(Mark(number, records))
        payloads.append(message.value() or b"")
        framings.append(raw.framing_of(content_type))
    offsets = np.array([message.offset() for message in messages], np.int64)
    return RawWindow(offsets, count_records(payloads, framings), senders, marks, end)


def count_records(payloads: Sequence[bytes], framings: Sequence[Framing]) -> Ints:
    """Records of each message, (m,) int64, by the rules of pipeline/contracts/raw.py.

    Ingest cuts lines in a compiled loop; this counts them by arrays and shares no code with it, so that a mistake in
    either shows.
    """
    lined = [
        payload.removeprefix(raw.BYTE_ORDER_MARK) if framing in (Framing.LINES, Framing.TABBED_LINES) else b""
        for payload, framing in zip(payloads, framings, strict=True)
    ]
    tabs_are_text = np.array([framing is Framing.TABBED_LINES for framing in framings], bool)
    is_whole = [
        framing is Framing.WHOLE and len(payload) > 0 for payload, framing in zip(payloads, framings, strict=True)
    ]
    return np.where(np.array(is_whole, bool), 1, _count_lines(lined, tabs_are_text))


def _count_lines(payloads: list[bytes], tabs_are_text: npt.NDArray[np.bool_]) -> Ints:
    """Lines of each message, (m,) int64, that hold more than blanks (and tabs, unless those separate fields)."""
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
