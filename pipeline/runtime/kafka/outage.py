"""Kafka away for any time: noticed once, reported once, waited for, and resumed from what was committed.

A stage does its work in sessions. A session is its Kafka clients and all that it knows through them. What an outage
breaks (a transaction past its timeout, a membership past its session) ends the session, never the worker: clients are
closed, Kafka is waited for, and a new session reads on from the committed positions, as a restarted worker would.
"""

import threading
import time
from collections.abc import Callable, Iterable
from typing import Self

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from pipeline.errors import Failed, ForebayError, KafkaUnreachable
from pipeline.runtime.kafka import clients, errors
from pipeline.runtime.kafka.errors import Kind
from pipeline.runtime.kafka.producing import ProducerBroken
from pipeline.runtime.shutdown import Stop
from pipeline.runtime.telemetry import Telemetry, log
from pipeline.settings import Settings

# How often Kafka is asked whether it answers: one small request, so an idle stage stays idle.
PROBE_EVERY_S = 2.0
# A broker that does not answer for so long is away. A garbage collection or an election takes less.
AWAY_AFTER_S = 5.0
# Of a session timeout, so that Kafka's absence is known before the membership ends.
SESSION_SHARE = 3
# A step of a transaction is tried so long at a time, so that a request to stop is heard.
STEP_TRY_S = 5.0
# Then it is abandoned, and all is read again: as long as Kafka keeps a transaction open.
STEP_S = 60.0
# A step that takes so long although Kafka answers is said.
STEP_SLOW_S = 10.0
# Between two sessions: a coordinator that is being elected answers soon.
NEXT_SESSION_S = 1.0
# Sessions that end so often in a row, without a commit and while Kafka answers, will not pass by themselves.
MAX_SESSIONS = 20
# What an outage has broken shows itself when the next request is sent: so long after the outage it may be its fault.
AFTERMATH_S = 180.0


class KafkaWatch:
    """Asks Kafka whether it answers, from a thread of its own, and says it where that changes: log and `/readyz`.

    Parameters
    ----------
    answers : callable, optional
        Replaces the question to the broker: whether it answers. For tests.
    """

    def __init__(
        self,
        stage: str,
        settings: Settings,
        telemetry: Telemetry,
        stop: Stop,
        answers: Callable[[], bool] | None = None,
    ) -> None:
        self.stop = stop
        self._stage, self._settings, self._telemetry = stage, settings, telemetry
        session_s = settings.session_timeout_s
        self._timeout_s = min(AWAY_AFTER_S, session_s / SESSION_SHARE) if session_s else AWAY_AFTER_S
        self._answers = answers or self._ask
        self._admin: AdminClient | None = None
        self._asking = threading.Lock()
        self._closed = threading.Event()
        self._away_since: float | None = None
        self._last_away: float | None = None
        """When Kafka was last known to be away."""
        self._progress_at = time.monotonic()
        self._failures = 0
        telemetry.count("forebay_kafka_sessions_ended", 0, stage=stage)
        self._announced: list[int] | None = None
        self._thread = threading.Thread(target=self._watch, name="kafka watch", daemon=True)

    def __enter__(self) -> Self:
        """Start the watch."""
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        """Stop the watch."""
        self._closed.set()

    @property
    def away(self) -> bool:
        """Whether Kafka does not answer, as far as is known."""
        return self._away_since is not None

    def stopping(self) -> bool:
        """Whether the worker is asked to stop."""
        return self.stop.requested

    def hopeless(self) -> bool:
        """Whether waiting for Kafka inside a transaction makes no sense: it is away, or the worker is to stop."""
        return self.away or self.stop.requested

    def answers(self) -> bool:
        """Ask now; what changes is reported."""
        with self._asking:
            answered = self._answers()
            if not self._closed.is_set():
                self._note(answered)
        return answered

    def _watch(self) -> None:
        while not self._closed.wait(PROBE_EVERY_S):
            self.answers()

    def _note(self, answered: bool) -> None:
        now = time.monotonic()
        if not answered:
            self._last_away = now
            # A loop that waits for Kafka does not hang by a fault of its own: `/livez` must not fail by it.
            self._telemetry.beat()
        if answered == (self._away_since is None):
            return
        self._telemetry.kafka_answers(answered, unanswered_s=self._timeout_s)
        if answered:
            away_s = round(now - (self._away_since or now), 1)
            self._away_since = None
            log(self._stage).info("Kafka is back", bootstrap=self._settings.bootstrap, away_s=away_s)
        else:
            self._away_since = now - self._timeout_s
            log(self._stage).warning(
                "Kafka is away", bootstrap=self._settings.bootstrap, remedy="nothing is lost: start the broker again"
            )

    def _ask(self) -> bool:
        if self._admin is None:
            self._admin = clients.admin(self._settings)
        try:
            # Not describe_cluster: librdkafka 2.16 aborts the process where the broker, as it starts, lists no broker.
            self._admin.list_topics(timeout=self._timeout_s)
        except KafkaException as error:
            return errors.kind_of(error.args[0]) not in (Kind.PASSES, Kind.AWAY)
        return True

    # ---- sessions

    def announce(self, partitions: Iterable[int], ready: bool = True, **facts: object) -> bool:
        """Say which partitions the worker has, where that is news; a new session with the same ones is none."""
        now = sorted(partitions)
        self._telemetry.ready(ready)
        if now == self._announced:
            return False
        self._announced = now
        log(self._stage).info("ready", partitions=now, metrics_port=self._telemetry.metrics_port, **facts)
        return True

    def progressed(self) -> None:
        """Something was committed: what breaks from now on is not an earlier outage's fault."""
        self._progress_at = time.monotonic()
        self._failures = 0

    def run(self, session: Callable[[], None]) -> None:
        """Run a session until the worker is asked to stop; one that Kafka's absence ends is followed by another.

        Raises Fenced, PositionLost, KafkaDenied, MessageTooLarge or Failed where another session would not help.
        """
        while not self.stop.requested:
            try:
                session()
                return
            # What a callback of the consumer raises comes out of `consume` as the bare KafkaError. It can be raised and
            # caught, though its types do not say so, and it is no Exception.
            except (KafkaException, KafkaError, KafkaUnreachable, ProducerBroken) as raised:  # type: ignore[misc]
                error = KafkaException(raised) if isinstance(raised, KafkaError) else raised
                if self.stopping():
                    log(self._stage).warning("left uncommitted, the next worker does it again", error=str(error))
                    return
                # Nothing is read before the next session has its partitions: `announce` says so then.
                self._telemetry.ready(False)
                self.endure(error)
            self.wait_until_back()

    def endure(self, error: Exception) -> None:
        """Return where another session helps after this error; else raise it, typed."""
        self._telemetry.stage.error()
        if not self.passes(error):
            raise self._typed(error) from error
        self._failures += 1
        if self._failures > MAX_SESSIONS and not self.away:
            raise Failed(
                f"{self._stage}: Kafka answers, but got {self._failures} failed tries in a row, expected one to "
                f"pass; the last one's reason: {error}; `forebay topic check` compares the topics with what is expected"
            ) from error
        self._telemetry.count("forebay_kafka_sessions_ended", stage=self._stage)
        # While Kafka is away that is said already; a session that ends while Kafka answers is never silent.
        report = log(self._stage).debug if self.away else log(self._stage).info
        report("session ended, another one follows", error=str(error), in_a_row=self._failures)

    def passes(self, error: Exception) -> bool:
        """Whether a new session helps after this error."""
        if not isinstance(error, KafkaException):
            return isinstance(error, KafkaUnreachable | ProducerBroken)
        kind = errors.kind_of(error.args[0])
        # An outage longer than a session or a transaction looks like a takeover: then, and only then, try again.
        return kind in errors.RECOVERABLE or (kind is Kind.FENCED and self._in_aftermath())

    def _in_aftermath(self) -> bool:
        last = self._last_away
        return last is not None and last > self._progress_at and time.monotonic() - last < AFTERMATH_S

    def _typed(self, error: Exception) -> ForebayError:
        if isinstance(error, KafkaException):
            return errors.typed(error.args[0], self._stage, self._settings.instance_id)
        assert isinstance(error, ForebayError)  # noqa: S101 - `run` catches no others
        return error

    def wait_until_back(self) -> bool:
        """Wait until Kafka answers, for any time; False where the worker is asked to stop meanwhile."""
        while self.stop.wait(NEXT_SESSION_S):
            self._telemetry.beat()
            if self.answers():
                return True
        return False

    def abort(self, producer: Producer, error: KafkaException, **facts: object) -> None:
        """Abort the transaction that this error has broken; the log has the facts.

        Raises the error where the session is over: its successor reads on from the committed positions.
        """
        reason = error.args[0]
        if reason.fatal() or not reason.txn_requires_abort():
            raise error
        self._telemetry.stage.error()
        log(self._stage).warning("transaction aborted, reading again", error=str(reason), **facts)
        self.step(producer.abort_transaction)

    def step(self, step: Callable[[float], object]) -> None:
        """Take a step of a transaction, again while that may help: `step` is given its timeout in seconds.

        Raises KafkaException where the transaction has failed, where Kafka is away, or on a request to stop.
        """
        started, warned = time.monotonic(), False
        while True:
            try:
                step(STEP_TRY_S)
                return
            except KafkaException as error:
                reason = error.args[0]
                waited_s = time.monotonic() - started
                over = self.hopeless() or waited_s > STEP_S
                if over or reason.txn_requires_abort() or not reason.retriable():
                    raise
                if waited_s > STEP_SLOW_S and not warned:
                    warned = True
                    log(self._stage).warning("a transaction waits for Kafka", reason=str(reason))
