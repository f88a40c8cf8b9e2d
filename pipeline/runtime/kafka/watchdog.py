"""A way out of a call into the Kafka client that never comes back.

send_offsets_to_transaction does not keep its timeout: it waits for the client to notice that the group's coordinator
is there again, and after a broker's crash it may not notice at all (librdkafka #5456, #5511). Nothing in the process
can end the call. So it runs in another thread, which is left behind with its producer where it hangs: all that a stage
knows is committed, and a new session fences that producer.
"""

import os
import sys
import threading
import time
import weakref
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from confluent_kafka import Producer, TopicPartition

from pipeline.errors import KafkaUnreachable
from pipeline.runtime.telemetry import log

# Longer than a coordinator takes to be elected and loaded: a call that lasts so long although Kafka answers hangs.
STUCK_S = 45.0
# Beyond its timeout, where waiting is hopeless: the client rounds timeouts up.
GRACE_S = 2.0
# A producer left behind keeps some threads and a few MiB; after so many the process replaces itself (exec).
MAX_LEFT_BEHIND = 10
WAIT_S = 0.2


class _Watched:
    """A call that a thread is to make, and whether it has come back."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call
        self._raised: BaseException | None = None
        self._returned = threading.Event()

    def run(self) -> None:
        """Make the call; what it raises is for who waits."""
        try:
            self._call()
        except BaseException as error:
            self._raised = error
        finally:
            self._returned.set()

    def returned(self, within_s: float) -> bool:
        """Whether the call returns within so many seconds; raises what it raised."""
        if not self._returned.wait(within_s):
            return False
        if self._raised is not None:
            raise self._raised
        return True


class _Caller:
    """A daemon thread that makes calls one after the other: a thread for each would cost more than most calls do."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[_Watched | None] = SimpleQueue()
        threading.Thread(target=_make_calls, args=(self._calls,), name="watched calls", daemon=True).start()
        weakref.finalize(self, self._calls.put, None)

    def start(self, call: Callable[[], object]) -> _Watched:
        """Hand a call over; the one before has come back."""
        watched = _Watched(call)
        self._calls.put(watched)
        return watched


def _make_calls(calls: "SimpleQueue[_Watched | None]") -> None:
    while (watched := calls.get()) is not None:
        watched.run()
        del watched  # what the call holds is not held until the next one


def returns(call: Callable[[], object], within_s: float) -> bool:
    """Make a call that may hang; False where it has not returned within `within_s`: it is left behind in its thread.

    Raises what the call raises.
    """
    return _Caller().start(call).returned(within_s)


class LeftBehind(KafkaUnreachable):
    """A call into the client did not come back in time; its producer is not to be used again."""


class Watchdog:
    """Makes calls that may hang, and leaves those that do behind.

    Parameters
    ----------
    hopeless : callable
        Whether waiting makes no sense: Kafka is away, or the worker is to stop.
    """

    _left_behind = 0

    def __init__(self, stage: str, hopeless: Callable[[], bool], stuck_s: float = STUCK_S) -> None:
        self._stage, self._hopeless, self._stuck_s = stage, hopeless, stuck_s
        self._caller = _Caller()

    def send_offsets(
        self, producer: Producer, offsets: list[TopicPartition], membership: Any, timeout_s: float
    ) -> None:
        """Producer.send_offsets_to_transaction; LeftBehind where it does not come back.

        membership : Consumer.consumer_group_metadata()
        """
        self.call(lambda: producer.send_offsets_to_transaction(offsets, membership, timeout_s), timeout_s)

    def call(self, call: Callable[[], object], timeout_s: float) -> None:
        """Make a call that should end within `timeout_s`, in another thread; raises what it raises."""
        watched = self._caller.start(call)
        started = time.monotonic()
        while not watched.returned(WAIT_S):
            waited_s = time.monotonic() - started
            if waited_s > self._stuck_s or (waited_s > timeout_s + GRACE_S and self._hopeless()):
                self._leave_behind(waited_s)

    def _leave_behind(self, waited_s: float) -> None:
        Watchdog._left_behind += 1
        self._caller = _Caller()
        if Watchdog._left_behind > MAX_LEFT_BEHIND and not self._hopeless():
            log(self._stage).error(
                "restarting in this process: the Kafka client has hung too often", times=Watchdog._left_behind
            )
            sys.stdout.flush()
            sys.stderr.flush()
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606
        raise LeftBehind(
            f"{self._stage}: the Kafka client did not come back within {waited_s:.0f} s; a new one reads on from what "
            "was committed"
        )
