"""A run's records into `raw`, each when it is due: the schedule waits for nothing, and lateness of our own is said."""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from confluent_kafka import KafkaError, Producer

from loadtest.sending import END_OF_SOURCE, NAP_S, Deliveries, flush, produce, producer_of
from loadtest.workload.histogram import Histogram
from loadtest.workload.scenario import LoadScenario
from loadtest.workload.schedule import Schedule
from loadtest.workload.slices import SLICE_US, Messages, slices
from loadtest.workload.streams import NUMBERS, Headers, Stream, headers_of

SHORTEST_NAP_S = 0.005
LINGER_MS = 1.4
"""Beyond a whole millisecond: librdkafka's thread was seen to poll without a pause through what is left of one."""
BURST = 256
"""At most so many messages are handed over before it is looked whether to stop."""
_AHEAD = 4  # slices that may lie ready
_LONG_AGO_US = 1_600_000_000_000_000


@dataclass(slots=True)
class SentLoad:
    """What was sent: acknowledged records and messages, and how late the generator was itself.

    planned: records of the run. `behind` has a latency for each message: from when it was due until the client had it.
    refused: why Kafka took something not, empty where it took all. last: the highest number of a record that was handed
    over, by sensor. kafka_away_us: when Kafka could first not be reached, 0 for never.
    """

    planned: int = 0
    records: int = 0
    messages: int = 0
    bytes: int = 0
    started_us: int = 0
    ended_us: int = 0
    finished: bool = False
    refused: str = ""
    last: dict[int, int] = field(default_factory=dict)
    kafka_away_us: int = 0
    behind: Histogram = field(default_factory=Histogram)

    def note(self, error: KafkaError) -> None:
        """An error of Kafka's client, which tries again by itself."""
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self.kafka_away_us = self.kafka_away_us or _now_us()


def planned_records(streams: list[Stream], schedule: Schedule) -> int:
    """How many records a run has; those that an outage swallows are none."""
    total = 0
    for stream in streams:
        numbers = np.arange(stream.sent_before(schedule.event_span_us))
        if schedule.outage is not None:
            event_us = schedule.event_start_us + stream.event_us(numbers)
            numbers = numbers[~schedule.never(event_us, stream.sensor)]
        total += len(numbers)
    return total


def ready(streams: list[Stream], pack: int) -> None:
    """Make a slice that nobody sends: what is compiled or loaded for the first one is no delay of the run."""
    hours_a_second = Schedule(0, _LONG_AGO_US, 3_600.0, SLICE_US)
    next(slices(streams[:1], hours_a_second, pack))


class _Ahead(threading.Thread):
    """Makes slices while others are sent, a few ahead."""

    def __init__(self, made: Iterator[Messages]) -> None:
        super().__init__(name="generator", daemon=True)
        self._made = made
        self._ready: queue.Queue[Messages | Exception | None] = queue.Queue(_AHEAD)
        self._left = threading.Event()

    def run(self) -> None:
        """Make all slices, or stop where nobody takes them any more."""
        last: Exception | None = None
        try:
            for part in self._made:
                if not self._put(part):
                    return
        except Exception as error:  # it belongs to whoever sends
            last = error
        self._put(last)

    def _put(self, part: Messages | Exception | None) -> bool:
        while not self._left.is_set():
            try:
                self._ready.put(part, timeout=NAP_S)
                return True
            except queue.Full:
                continue
        return False

    def slices(self) -> Iterator[Messages]:
        """What was made, as it is ready."""
        while (part := self._ready.get()) is not None:
            if isinstance(part, Exception):
                raise part
            yield part

    def leave(self) -> None:
        """Nobody takes any more."""
        self._left.set()


def run_load(
    scenario: LoadScenario,
    streams: list[Stream],
    schedule: Schedule,
    topic: str,
    connection: Mapping[str, Any],
    pack: int = 1,
    stopped: Callable[[], bool] = lambda: False,
    progress: Callable[[int], None] = lambda _records: None,
) -> SentLoad:
    """Send a run from `schedule.start_us` on, then each sensor's end-of-source mark; ends early when `stopped()`.

    `progress` is called with acknowledged records, at least every slice. `connection` is librdkafka's configuration.
    """
    sent = SentLoad(planned_records(streams, schedule))
    deliveries = Deliveries()
    producer = producer_of({"linger.ms": LINGER_MS, **connection, "error_cb": sent.note}, deliveries)
    keys = [f"{site}/{sensor}" for site, sensor in scenario.sensor_names]
    heads = [
        (key, headers_of(scenario, each.sensor, each.tapes.quiet)) for key, each in zip(keys, streams, strict=True)
    ]
    generator = _Ahead(slices(streams, schedule, pack))
    generator.start()
    try:
        for part in generator.slices():
            handed_over = _handed_over(part, heads, topic, producer, deliveries, sent, stopped)
            _note_last(part, handed_over, sent)
            if handed_over < len(part.due_us) or stopped() or deliveries.refused:
                break
            deliveries.answered(len(producer))
            progress(deliveries.records)
        else:
            sent.finished = True
    finally:
        generator.leave()
    sent.ended_us = _now_us()
    if sent.finished:
        _wait_until(schedule.start_us + schedule.duration_us, producer, stopped)
        for site_sensor, (site, sensor) in zip(keys, scenario.sensor_names, strict=True):
            names = [("site", site.encode()), ("sensor", sensor.encode())]
            mark: Headers = [("content-type", END_OF_SOURCE.encode()), *names]
            produce(producer, topic, b"", site_sensor, mark)
    flush(producer, deliveries, progress)
    sent.records, sent.messages, sent.refused = deliveries.records, deliveries.messages, deliveries.refused
    sent.finished = sent.finished and not sent.refused
    return sent


def _handed_over(
    part: Messages,
    heads: list[tuple[str, list[Headers]]],
    topic: str,
    producer: Producer,
    deliveries: Deliveries,
    sent: SentLoad,
    stopped: Callable[[], bool],
) -> int:
    """Hand messages over when they are due; how many were, which are less where it was stopped, or Kafka refuses."""
    first, every, behind = 0, len(part.due_us), np.empty(len(part.due_us), np.int64)
    while first < every:
        now = _wait_until(int(part.due_us[first]), producer, stopped)
        sent.started_us = sent.started_us or now
        last = min(int(np.searchsorted(part.due_us, now, "right")), first + BURST)
        if last <= first:  # stopped before any was due
            break
        columns = zip(
            part.sensor[first:last].tolist(),
            part.log[first:last].tolist(),
            part.value[first:last],
            part.numbers[first:last],
            strict=True,
        )
        for sensor, log, value, numbers in columns:
            key, headers = heads[sensor]
            produce(producer, topic, value, key, [*headers[log], (NUMBERS, numbers)])
        # When the last of them was handed over: no message is said to have been earlier than it was.
        behind[first:last] = _now_us() - part.due_us[first:last]
        deliveries.queued(last - first, int(part.records[first:last].sum()))
        sent.bytes += sum(map(len, part.value[first:last]))
        producer.poll(0)
        first = last
        if stopped() or deliveries.refused:
            break
    sent.behind.add(behind[:first])
    return first


def _note_last(part: Messages, handed_over: int, sent: SentLoad) -> None:
    """Note the last record of each sensor among the first messages of a part."""
    sensors, from_end = np.unique(part.sensor[:handed_over][::-1], return_index=True)
    for sensor, message in zip(sensors.tolist(), (handed_over - 1 - from_end).tolist(), strict=True):
        sent.last[sensor] = max(part.last_number(message), sent.last.get(sensor, 0))


def _wait_until(due_us: int, producer: Producer, stopped: Callable[[], bool]) -> int:
    while (left_us := due_us - (now := _now_us())) > 0 and not stopped():
        producer.poll(0)
        # Never less, which counts as the run's latency: waiting for each of 10,000 records a second took half a core
        # from what is measured. Kafka's own producers gather for as long.
        time.sleep(min(max(left_us / 1e6, SHORTEST_NAP_S), NAP_S))
    return now


def _now_us() -> int:
    return time.time_ns() // 1000
