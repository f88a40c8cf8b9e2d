"""The process of a stage: what each of them begins with, in this order, and ends with."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.runtime import failpoints, heap
from pipeline.runtime.kafka import clients
from pipeline.runtime.kafka.outage import KafkaWatch
from pipeline.runtime.shutdown import Stop
from pipeline.runtime.telemetry import Telemetry, configure, start
from pipeline.settings import Settings


@contextmanager
def stage_process(stage: str, settings: Settings, stop: Stop | None = None) -> Iterator[tuple[Telemetry, KafkaWatch]]:
    """One heap, logs, failpoints, signals, a broker that answers, telemetry, the watch of Kafka that runs the sessions.

    SIGINT and SIGTERM are taken over in the main thread, unless `stop` is given. KafkaUnreachable without a broker.
    """
    heap.share()
    configure(settings.log_level)
    failpoints.arm(settings.failpoint)
    if stop is None:
        stop = Stop()
        stop = stop.listen() if threading.current_thread() is threading.main_thread() else stop
    clients.require_broker(settings)
    telemetry = start(stage, settings)
    try:
        with KafkaWatch(stage, settings, telemetry, stop) as kafka:
            yield telemetry, kafka
    finally:
        telemetry.close()
