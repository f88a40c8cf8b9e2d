"""The output worker: alerts out to where people look; a thread an output, each with a position of its own.

A position is committed once the receiver has taken what lies before it (ADR 40): after a kill the last revisions may be
sent again, under the same key, and into files exactly once.
"""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import orjson
from confluent_kafka import OFFSET_BEGINNING, KafkaException, Message, TopicPartition

from pipeline.contracts.suppression import Suppressions
from pipeline.contracts.verdicts import Record, read_verdict, standing
from pipeline.errors import BadData, ForebayError, Misconfigured
from pipeline.runtime import failpoints
from pipeline.runtime.kafka import clients, errors, tail
from pipeline.runtime.kafka.outage import KafkaWatch
from pipeline.runtime.kafka.stage_process import stage_process
from pipeline.runtime.kafka.stall import ConsumerStall, StallDetector
from pipeline.runtime.kafka.tail import Follower
from pipeline.runtime.telemetry import Telemetry, log
from pipeline.settings import Settings
from pipeline.tools.outputs.alert_file import AlertFile
from pipeline.tools.outputs.delivery import STAGE, Delivery, Outcome
from pipeline.tools.outputs.formats.table import as_line
from pipeline.tools.outputs.parked import ParkedTopic, parked_now
from pipeline.tools.outputs.positions import group_of
from pipeline.tools.outputs.revision import Revision
from pipeline.tools.outputs.selection import MALFORMED, Selection
from pipeline.tools.outputs.senders import sender_of
from pipeline.tools.outputs.sending import delay_s
from schemas.outputs import FileOutput, OutputEntry, destination_of

# What is read at once, and after a kill sent again at most.
MAX_MESSAGES = 100
POLL_S = 0.25
# Read ahead by the client.
QUEUED_KIB = 8_192
# So many messages before the position are read, not sent: what an incident is part of, and what is a repeat.
REMEMBERED_BEFORE = 2_000
REQUEST_S = 10.0

Pending = tuple[Message, Revision | None]
"""A message that lies at or behind its partition's position, and the revision to send for it."""


class OutputWorker(ABC):
    """One session of one output: its consumer, and what of the topic is still to be sent."""

    def __init__(
        self, settings: Settings, output: OutputEntry, outcome: Outcome, telemetry: Telemetry, kafka: KafkaWatch
    ) -> None:
        self.settings, self.output, self.outcome = settings, output, outcome
        self.telemetry, self.kafka = telemetry, kafka
        self.selection = Selection(output)
        self.verdicts: dict[str, Record] = {}
        self.topic = settings.topics.alerts
        self.positions: dict[int, int] = {}
        self.oldest_us: int | None = None
        self.consumer = clients.consumer(
            settings, group_of(output), **tail.EOF_EVENTS, **{"queued.max.messages.kbytes": QUEUED_KIB}
        )
        self.feedback = Follower(settings, f"{group_of(output)}-verdicts", settings.topics.feedback)
        self.stall = ConsumerStall(StallDetector(settings, kafka), self.consumer)
        telemetry.gauge_function("forebay_output_oldest_unsent_seconds", self.unsent_s, output=output.name)

    def unsent_s(self) -> float:
        """Age of the oldest alert at hand that is not sent yet; 0 where all are."""
        oldest_us = self.oldest_us
        return 0.0 if oldest_us is None else max(0.0, time.time() - oldest_us / 1e6)

    def run(self) -> None:
        """Send until asked to stop."""
        self.know(self.feedback.catch_up())
        self.assign()
        self.telemetry.started()
        self.kafka.announce(self.positions)
        while not self.kafka.stopping():
            self.telemetry.beat()
            consumed = self.consumer.consume(MAX_MESSAGES, POLL_S)
            self.stall.observe(consumed)
            messages = errors.records(consumed)
            self.oldest_us = clients.oldest_us(messages)
            if messages and not self.process(messages):
                return
            self.oldest_us = None

    def close(self) -> None:
        """Leave the consumers."""
        clients.abandon(self.consumer, None)
        self.feedback.close()

    def know(self, messages: Iterable[Message]) -> None:
        """Know further verdicts: what they suppress is not sent from now on. What is no verdict is left out."""
        before = len(self.verdicts)
        for message in messages:
            with suppress(BadData):
                record = read_verdict(message.value() or b"")
                self.verdicts[record["id"]] = record
        if len(self.verdicts) > before:
            self.selection.rules = Suppressions(standing(self.verdicts.values()))

    def assign(self) -> None:
        """Read on from the positions, and somewhat before them: that is remembered, not sent."""
        partitions = [TopicPartition(self.topic, number) for number in tail.partitions_of(self.consumer, self.topic)]
        for position in self.consumer.committed(partitions, REQUEST_S):
            if position.error is not None:
                raise KafkaException(position.error)
            self.positions[position.partition] = position.offset
        for number, offset in self.own_positions().items():
            self.positions[number] = max(offset, self.positions.get(number, offset))
        unknown = [number for number, offset in self.positions.items() if offset < 0]
        if unknown:
            self.start_at(unknown)
        starts = [
            TopicPartition(self.topic, number, max(offset - REMEMBERED_BEFORE, 0) or OFFSET_BEGINNING)
            for number, offset in self.positions.items()
        ]
        self.consumer.assign(starts)

    def own_positions(self) -> Mapping[int, int]:
        """Positions that are kept with what was sent, not in Kafka."""
        return {}

    def start_at(self, partitions: Sequence[int]) -> None:
        """The first start: from the end of the topic, or its beginning, and committed before anything comes."""
        ends = tail.ends(self.settings, self.topic, partitions) if self.output.start == "now" else {}
        self.positions |= {number: ends.get(number, 0) for number in partitions}
        self.commit()
        log(STAGE).info("first start", output=self.output.name, start=self.output.start, partitions=list(partitions))

    def process(self, messages: Sequence[Message]) -> bool:
        """Send what is to be sent, and move the position; False where the worker was asked to stop before."""
        self.know(self.feedback.poll())
        new = [each for each in messages if (each.offset() or 0) >= self.positions[each.partition() or 0]]
        read = [_alert(each) for each in messages]
        chosen = self.selection.choose(alert for alert in read if alert is not None)
        started = time.perf_counter()
        self.telemetry.stage.rows_in(len(new))
        done = self.send(list(self._to_send(messages, read, chosen)))
        self.commit()
        failpoints.reached("output.committed")
        self.kafka.progressed()
        self.telemetry.stage.batch(time.perf_counter() - started)
        return done

    def _to_send(
        self, messages: Sequence[Message], read: Sequence[Any], chosen: list[Revision | str]
    ) -> Iterator[Pending]:
        """What of the messages is still to be dealt with, and how."""
        choices = iter(chosen)
        for message, alert in zip(messages, read, strict=True):
            choice = next(choices) if alert is not None else None
            if (message.offset() or 0) < self.positions[message.partition() or 0]:
                continue
            if isinstance(choice, str):
                self.telemetry.count("forebay_output_withheld", output=self.output.name, reason=choice)
                if choice == MALFORMED:
                    self.telemetry.stage.rejected(1)
            yield message, choice if isinstance(choice, Revision) else None

    @abstractmethod
    def send(self, pending: Sequence[Pending]) -> bool:
        """Send in order, and move the position behind what was taken; False where asked to stop before."""

    def moved(self, message: Message) -> None:
        """What lies before the end of this message is dealt with."""
        self.positions[message.partition() or 0] = (message.offset() or 0) + 1

    def commit(self) -> None:
        """Make the positions durable in Kafka."""
        offsets = [TopicPartition(self.topic, number, offset) for number, offset in self.positions.items()]
        for position in self.consumer.commit(offsets=offsets, asynchronous=False) or []:
            if position.error is not None:
                raise KafkaException(position.error)


class SendingWorker(OutputWorker):
    """An output to a receiver: each revision at least once."""

    def __init__(self, delivery: Delivery, *others: Any) -> None:
        self.delivery = delivery
        super().__init__(*others)

    def assign(self) -> None:
        """The same, and what is refused must have its topic: Failed now, rather than at the first refusal."""
        tail.partitions_of(self.consumer, self.settings.topics.parked)
        super().assign()

    def send(self, pending: Sequence[Pending]) -> bool:
        """One after the other; the position follows each that was taken."""
        for message, revision in pending:
            if revision is not None:
                if not self.delivery.deliver(revision):
                    return False
                failpoints.reached("output.sent")
            self.moved(message)
        return True


class FileWorker(OutputWorker):
    """An output into a file, whose position lies beside it: each revision exactly once."""

    def __init__(self, file: AlertFile, *others: Any) -> None:
        self.file = file
        super().__init__(*others)

    def own_positions(self) -> Mapping[int, int]:
        """The positions beside the file; where it has none, those of Kafka."""
        return self.file.positions or {}

    def send(self, pending: Sequence[Pending]) -> bool:
        """Write all at once, with the position."""
        before = dict(self.positions)
        for message, _ in pending:
            self.moved(message)
        revisions = [revision for _, revision in pending if revision is not None]
        if not revisions or self.write(revisions):
            return True
        self.positions = before
        return False

    def write(self, revisions: Sequence[Revision]) -> bool:
        """Append the lines; a disk that is full is waited for. False where the worker was asked to stop before."""
        lines, attempt = [as_line(each, self.output.format) for each in revisions], 0
        while not self.kafka.stopping():
            self.telemetry.beat()
            try:
                if self.file.is_pending:
                    self.file.redo()
                else:
                    self.file.append(lines, self.positions)
            except (OSError, Misconfigured) as error:
                attempt += 1
                self.outcome.failed(error)
                self.kafka.stop.wait(delay_s(attempt, 1.0))
            else:
                self.outcome.succeeded(f"{len(lines)} lines written", revisions[-1].key, len(lines))
                return True
        return False


def _alert(message: Message) -> Any:
    """What a message holds; None for a tombstone. What is no JSON is an alert of nobody: its bytes."""
    value = message.value()
    if value is None:
        return None
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return value


def run(settings: Settings) -> None:
    """Run a thread an output until SIGINT or SIGTERM; Misconfigured where no output is set."""
    if not settings.outputs:
        raise Misconfigured(
            "FOREBAY_OUTPUTS: got no outputs, expected the name of a YAML file with some; docs/outputs.md has examples"
        )
    with stage_process(STAGE, settings) as (telemetry, kafka):
        failures: list[BaseException] = []
        threads = [
            threading.Thread(target=_thread, args=(output, settings, telemetry, kafka, failures), name=output.name)
            for output in settings.outputs
        ]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            kafka.stop.wait(POLL_S)
            for thread in threads:
                thread.join(POLL_S / len(threads))
        if failures:
            raise failures[0]


def _thread(
    output: OutputEntry, settings: Settings, telemetry: Telemetry, kafka: KafkaWatch, failures: list[BaseException]
) -> None:
    """An output's thread; what ends one otherwise than by a stop ends the worker, so that it is started again."""
    log(STAGE).info("output", output=output.name, destination=destination_of(output), format=output.format)
    outcome = Outcome(output.name, telemetry)
    try:
        if isinstance(output, FileOutput):
            file = _opened(Path(output.file), outcome, kafka)
            if file is None:
                return
            with closing(file):
                kafka.run(lambda: session(FileWorker(file, settings, output, outcome, telemetry, kafka)))
        else:
            with closing(sender_of(output)) as sender:
                parked = ParkedTopic(settings, kafka.stopping)

                def park(revision: Revision, reason: str) -> bool:
                    return parked.put(parked_now(output.name, revision, reason, time.time_ns() // 1000))

                delivery = Delivery(outcome, sender, kafka.stop, telemetry.beat, park)
                kafka.run(lambda: session(SendingWorker(delivery, settings, output, outcome, telemetry, kafka)))
    except BaseException as error:
        if not isinstance(error, ForebayError):
            log(STAGE).exception("output ended", output=output.name)
        failures.append(error)
        kafka.stop.requested = True


def _opened(path: Path, outcome: Outcome, kafka: KafkaWatch) -> AlertFile | None:
    """The file, once it can be written: until then the other outputs go on. None where asked to stop before."""
    attempt = 0
    while not kafka.stopping():
        try:
            return AlertFile(path)
        except (ForebayError, OSError) as error:
            attempt += 1
            outcome.failed(error)
            kafka.stop.wait(delay_s(attempt, 1.0))
    return None


def session(worker: OutputWorker) -> None:
    """Send until asked to stop, with a consumer that ends with the session."""
    try:
        worker.run()
    finally:
        worker.close()
