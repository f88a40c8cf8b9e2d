"""A way out of a call into the Kafka client that never comes back.

send_offsets_to_transaction does not keep its timeout: it waits for the client to notice that the group's coordinator
is there again, and after a broker's crash it may not notice at all (librdkafka #5456, #5511). Nothing in the process
can end the call. All that a room knows is committed, so it may start anew.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from confluent_kafka import Consumer, Producer, TopicPartition

from pipeline.errors import KafkaUnreachable
from pipeline.runtime.kafka.clients import require_broker
from pipeline.runtime.telemetry import log
from pipeline.settings import Settings

STUCK_S = 45.0
LOOK_EVERY_S = 1.0


class Watchdog:
    """Starts the process anew, in place, when a watched call hangs although the broker answers.

    The process keeps its id, so that who started it sees nothing; while the broker is away it goes on waiting.
    """

    def __init__(self, room: str, answers: Callable[[], bool], stuck_s: float = STUCK_S) -> None:
        self._room, self._answers, self._stuck_s = room, answers, stuck_s
        self._since: float | None = None
        self._thread: threading.Thread | None = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """The call inside is watched."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._look, name="watchdog", daemon=True)
            self._thread.start()
        self._since = time.monotonic()
        try:
            yield
        finally:
            self._since = None

    def send_offsets(
        self, producer: Producer, offsets: list[TopicPartition], consumer: Consumer, timeout_s: float
    ) -> None:
        """Producer.send_offsets_to_transaction, watched."""
        with self.watching():
            producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), timeout_s)

    def _look(self) -> None:
        while True:
            time.sleep(min(LOOK_EVERY_S, self._stuck_s))
            since = self._since
            if since is None or time.monotonic() - since < self._stuck_s or not self._answers():
                continue
            if self._since != since:
                continue  # it came back while we asked
            log(self._room).error(
                "starting anew: the Kafka client does not come back although the broker answers",
                waited_s=round(time.monotonic() - since),
            )
            sys.stdout.flush()
            sys.stderr.flush()
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606


def broker_answers(settings: Settings) -> bool:
    """Whether the broker answers a client made for the question."""
    with suppress(KafkaUnreachable):
        require_broker(settings, 3.0)
        return True
    return False
