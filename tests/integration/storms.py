"""What tests of storms share: workers of a stage killed, paused, twinned and stopped at random, in transactions too."""

import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from confluent_kafka import Producer

from pipeline.runtime.kafka import clients
from pipeline.settings import Settings
from tests.integration.chains import GRACE_S
from tests.patience import PATIENCE_S

STOPPED = (0, -signal.SIGTERM, -signal.SIGKILL, 75)
"""How a worker ends that is asked to: before it listens, by its fail point, or fenced by a twin of before."""
NAMES = ("a", "b")
Process = subprocess.Popen[bytes]
Start = Callable[[str, str], Process]
"""Starts a worker by its name, with a fail point or with none."""


@contextmanager
def sending_meanwhile(
    settings: Settings, rng: random.Random, rate: float, send: Callable[[Producer], None]
) -> Iterator[None]:
    """Call `send` in a thread, at random moments, `rate` a second; all that it produced is in Kafka at the end."""
    over = threading.Event()

    def send_all() -> None:
        producer = clients.producer(settings, "test")
        while not over.wait(rng.expovariate(rate)):
            send(producer)
            producer.poll(0)
        assert producer.flush(PATIENCE_S) == 0

    thread = threading.Thread(target=send_all)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def shake(process: Process, rng: random.Random, twin: Callable[[], Process]) -> Process:
    """Do something to a worker; who goes on under its name."""
    what = rng.choice(("kill", "stop", "pause", "pause", "sleep", "twin"))
    if what == "kill":
        process.kill()
    elif what == "stop":
        process.send_signal(signal.SIGTERM)
        assert process.wait(GRACE_S) in STOPPED
    else:
        process.send_signal(signal.SIGSTOP)
        successor = twin() if what == "twin" else process
        time.sleep(rng.uniform(7.0, 12.0) if what == "sleep" else rng.uniform(0.05, 3.0))  # a session is 6 s
        process.send_signal(signal.SIGCONT)
        if what == "twin":
            time.sleep(3.0)  # Kafka lets one of the two live, or neither
            process.kill()
        return successor
    return process


class Storm:
    """Two workers of a stage; who ended is started again, perhaps with one of `points` to die at."""

    def __init__(self, start: Start, points: Sequence[str], rng: random.Random) -> None:
        self._start, self._points, self._rng = start, points, rng
        self._workers = {name: start(name, "") for name in NAMES}

    def strike(self) -> None:
        """After a moment, do something to one of them."""
        time.sleep(self._rng.uniform(0.3, 4.0))
        self._revive(armed=self._rng.random() < 0.6)
        name = self._rng.choice(NAMES)
        self._workers[name] = shake(self._workers[name], self._rng, lambda: self._start(name, ""))

    def end(self) -> None:
        """Workers from now on that nothing happens to."""
        for process in self._workers.values():
            process.kill()  # they may have a fail point to come
            process.wait()
        self._revive(armed=False)

    def _revive(self, armed: bool) -> None:
        for name, process in self._workers.items():
            if process.poll() is not None:
                point = f"{self._rng.choice(self._points)}:{self._rng.randint(1, 60)}" if armed else ""
                self._workers[name] = self._start(name, point)
