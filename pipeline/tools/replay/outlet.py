"""Where a replay's results go beside its files: the run's own topics, never those that people watch."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pyarrow as pa
from confluent_kafka import Message, Producer

from pipeline.contracts.envelope import RowsFacts
from pipeline.errors import Failed
from pipeline.featurize.messages import MAX_MESSAGE_ROWS
from pipeline.runtime.kafka import clients
from pipeline.runtime.kafka.producing import produce
from pipeline.runtime.wire.batches import CONTENT_TYPE
from pipeline.runtime.wire.messages import write
from pipeline.settings import Settings
from pipeline.tools.replay.request import Request

# Half of what Kafka takes. Messages of the topic are smaller; a step of an archive may be a whole file.
MAX_MESSAGE_BYTES = 4 * 1024 * 1024


def settings_of(settings: Settings, run: str) -> Settings:
    """The same cluster, with the run's own topics."""
    return settings.model_copy(update={"topic_prefix": f"{settings.topic_prefix}replay.{run}."})


@dataclass(frozen=True, slots=True)
class ReplayedFacts:
    """Facts of a message of a run's own topics: those of its rows, the step they came from, and which part of it they
    are, where a step was cut.
    """

    rows: RowsFacts
    position: int
    part: int | None = None

    def document(self) -> dict[str, object]:
        """The facts as JSON knows them: those of the rows, and `position` and `part` beside them."""
        document = {**self.rows.document(), "position": self.position}
        return document if self.part is None else {**document, "part": self.part}


def cut(
    batch: pa.RecordBatch, facts: ReplayedFacts, rows: int = MAX_MESSAGE_ROWS, size: int = MAX_MESSAGE_BYTES
) -> Iterator[tuple[pa.RecordBatch, ReplayedFacts]]:
    """A message in parts that Kafka takes: nearly always one.

    Parts have the message's seq, and a number of their own, `part`; watermarks and ends of sources belong to the last.
    """
    each = max(1, min(rows, size * len(batch) // max(1, batch.nbytes)))
    if len(batch) <= each:
        yield batch, facts
        return
    for number, start in enumerate(range(0, len(batch), each)):
        stated = replace(facts.rows, watermarks=(), ended=(), evicted=()) if start + each < len(batch) else facts.rows
        yield batch.slice(start, each), replace(facts, rows=stated, part=number)


class Outlet:
    """The run's topics `archive`, `suspects` and `alerts`; re-emitted after a kill, messages carry the seq they had."""

    def __init__(self, settings: Settings, request: Request, partition: int) -> None:
        run_settings = settings_of(settings, request.run)
        self._topics, self._partition = run_settings.topics, partition
        self._refused: str | None = None
        self._producer: Producer | None = clients.producer(run_settings, "replay") if request.topics else None

    def put(
        self,
        scored: pa.RecordBatch,
        suspects: pa.RecordBatch,
        events: list[tuple[str, bytes]],
        facts: ReplayedFacts,
    ) -> None:
        """One message's results."""
        if self._producer is None:
            return
        headers: list[tuple[str, str | bytes | None]] = [("content-type", CONTENT_TYPE)]
        for topic, batch in ((self._topics.archive, scored), (self._topics.suspects, suspects)):
            for part, stated in cut(batch, facts):
                self._send(topic, None, write(part, stated), headers)
        for uid, event in events:
            self._send(self._topics.alerts, uid.encode(), event, [("content-type", "application/json")])

    def _send(self, topic: str, key: bytes | None, value: bytes, headers: list[tuple[str, str | bytes | None]]) -> None:
        if self._producer is None:
            return
        produce(
            self._producer,
            topic,
            value,
            key=key,
            partition=self._partition,
            headers=headers,
            on_delivery=self._delivered,
        )
        self._producer.poll(0)

    def _delivered(self, error: object, message: Message) -> None:
        if error is not None and self._refused is None:
            self._refused = f"{message.topic()}[{self._partition}]: {error}"

    def flush(self) -> None:
        """Wait until Kafka has all of it; Failed where it does not take a message, by the first one's error."""
        left = self._producer.flush(60) if self._producer is not None else 0
        if self._refused is not None:
            raise Failed(
                f"replay: {self._refused}; a message was not taken: check the brokers; the same command resumes"
            )
        if left:
            raise Failed(f"replay: {left} messages not acknowledged in 60 s; check the brokers")
