"""What keeps the store a copy: it reads the topics `alerts`, `feedback` and `baselines` from where the store stands."""

import threading
import time
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from pipeline.errors import Failed, ForebayError, KafkaUnreachable
from pipeline.runtime.kafka import clients, tail
from pipeline.runtime.kafka.errors import typed
from pipeline.runtime.telemetry import log
from pipeline.settings import Settings
from pipeline.tools.triage.store import ALERTS, BASELINES, FEEDBACK, Store, TopicMessage

BATCH = 1_000
WAIT_S = 0.3
RETRY_S = (1.0, 2.0, 5.0, 10.0)
ANSWER_S = 10.0
STARTING, READING, FOLLOWING, AWAY = "starting", "reading", "following", "away"


class TopicFeed:
    """A thread that reads; where Kafka or the store is away it waits and tries again, for ever."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings, self._store = settings, store
        names = settings.topics
        self._names = {names.alerts: ALERTS, names.feedback: FEEDBACK, names.baselines: BASELINES}
        self._copy = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="topic-feed", daemon=True)
        self._log = log("triage")
        self._state, self._since_us, self._error, self._malformed = STARTING, time.time_ns() // 1000, "", 0

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def close(self) -> None:
        """Stop reading, once what was read is written."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(ANSWER_S)

    def state(self) -> dict[str, Any]:
        """How it does: starting, reading (what came before), following, away; since when, and why."""
        return {
            "state": self._state,
            "since_us": self._since_us,
            "error": self._error,
            "malformed": self._malformed,
        }

    def _turn(self, state: str, error: str = "") -> None:
        if (state, error) != (self._state, self._error):
            self._state, self._since_us, self._error = state, time.time_ns() // 1000, error

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            try:
                self._follow()
                return
            except KafkaException as error:
                problem: ForebayError = typed(error.args[0], "Kafka", "")
            except ForebayError as error:
                problem = error
            except Exception as error:  # a thread that ends would leave an old page standing without a word
                self._log.exception("what was read cannot be written")
                problem = Failed(f"a fault of the page's own: got {error!r:.200}; its log says more")
            if self._state != AWAY:
                failures = 0
                self._log.warning("the topics cannot be read; tried again", reason=str(problem))
            self._turn(AWAY, str(problem))
            self._stop.wait(RETRY_S[min(failures, len(RETRY_S) - 1)])
            failures += 1

    def _follow(self) -> None:
        """Read until asked to stop, from where the store stands."""
        clients.require_broker(self._settings, ANSWER_S)
        consumer = clients.reader(self._settings, "triage", **tail.EOF_EVENTS, **clients.WORKER_WAIT)
        try:
            positions = self._positions(consumer)
            consumer.assign([TopicPartition(*each, offset) for each, offset in positions.items()])
            self._turn(READING)
            behind = set(positions)
            answered_at = time.monotonic()
            while not self._stop.is_set():
                came = consumer.consume(BATCH, WAIT_S)
                messages = [each for each in came if self._is_message(each, behind)]
                if messages:
                    self._malformed += self._store.take([self._taken(each) for each in messages], self._copy)
                if came:
                    answered_at = time.monotonic()
                elif time.monotonic() - answered_at > ANSWER_S:
                    consumer.list_topics(timeout=ANSWER_S)  # it says nothing of a broker that is away
                    answered_at = time.monotonic()
                self._turn(READING if behind else FOLLOWING)
        finally:
            consumer.close()

    def _positions(self, consumer: Consumer) -> dict[tuple[str, int], int]:
        """Where to read each partition from; the store is emptied where topics were made anew since."""
        found: dict[tuple[str, int], int] = {}
        for attempt in range(2):
            self._copy = self._store.copies_made()
            for name, topic in self._names.items():
                at = self._store.positions(topic)
                ends = tail.ends(self._settings, name, tail.partitions_of(consumer, name), ANSWER_S)
                found |= {(name, number): at.get(number, 0) for number in ends}
                if any(at.get(number, 0) > end for number, end in ends.items()) or not set(at) <= set(ends):
                    break
            else:
                return found
            if attempt == 0:
                self._log.warning("the topics are others than those that were read; the store is made again")
                self._store.rebuild()
        raise Failed("topics: got ends before the start, expected topics that grow; `forebay topic check`")

    def _is_message(self, message: Message, behind: set[tuple[str, int]]) -> bool:
        """Whether it is one; the end of a partition is noted, any other error raised."""
        error = message.error()
        if error is None:
            return True
        if error.code() == KafkaError._PARTITION_EOF:
            behind.discard((message.topic() or "", message.partition() or 0))
            return False
        if error.code() in (KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT):
            raise KafkaUnreachable(f"Kafka at {self._settings.bootstrap} does not answer ({error.str()})")
        raise KafkaException(error)

    def _taken(self, message: Message) -> TopicMessage:
        topic = self._names[message.topic() or ""]
        at = message.partition() or 0, message.offset() or 0
        return TopicMessage(topic, *at, message.value(), message.timestamp()[1] * 1_000)
