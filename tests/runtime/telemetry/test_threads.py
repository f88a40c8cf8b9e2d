"""Threads that report the same metric for the first time, at once."""

import threading

from pipeline.runtime.telemetry import Telemetry
from pipeline.settings import load_settings

THREADS = 16


def test_threads_may_begin_the_same_metric_at_once() -> None:
    telemetry = Telemetry("output", load_settings(metrics_port=-1))
    for number in range(50):
        start, failed = threading.Barrier(THREADS), list[BaseException]()

        def begin(at: int, name: str, start: threading.Barrier, failed: list[BaseException]) -> None:
            start.wait()
            try:
                telemetry.count(name, 1, output=str(at))
            except BaseException as error:
                failed.append(error)

        name = f"forebay_test_{number}"
        threads = [threading.Thread(target=begin, args=(at, name, start, failed)) for at in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failed
