"""What a sender says that it sent, against a Kafka that takes everything."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from loadtest.workload import sender
from loadtest.workload.recording import PlantPart
from loadtest.workload.scenario import LoadScenario
from loadtest.workload.schedule import schedule_of
from loadtest.workload.sender import run_load
from loadtest.workload.streams import streams_of, tapes_of

SCENARIO = LoadScenario("two", "two sites", PlantPart(from_hour=1, hours=0.5), sites=2, seeds=2)
TAPES = tapes_of(SCENARIO, 3)


class Taking:
    """A producer whose messages are taken at once. taken: numbers of records, by key."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, int]] = []

    def produce(self, _topic: str, value: bytes, key: str, headers: list[tuple[str, Any]]) -> None:
        if value:
            numbers = np.frombuffer(dict(headers)["source-records"], "<u8")
            self.taken += [(key, int(number)) for number in numbers]

    def poll(self, _seconds: float) -> int:
        return 0

    def __len__(self) -> int:
        return 0


@pytest.mark.parametrize(("pack", "stop_after"), [(1, 300), (4, 300), (1, 0), (1, 10**9)])
def test_the_last_record_of_each_sensor_is_the_last_that_was_handed_over(
    pack: int, stop_after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    kafka = Taking()
    monkeypatch.setattr(sender, "producer_of", lambda _configuration, _deliveries: kafka)
    schedule = schedule_of(sender._now_us(), 600_000, 3_000.0)
    streams = streams_of(SCENARIO, TAPES, schedule.event_span_us, 3)
    sent = run_load(SCENARIO, streams, schedule, "raw", {}, pack, lambda: len(kafka.taken) >= stop_after)
    assert sent.finished == (stop_after == 10**9)
    last = {f"two-{sensor + 1}/tap-1": number for sensor, number in sent.last.items()}
    assert last == {key: max(number for its, number in kafka.taken if its == key) for key in last}
    assert {key: number + 1 for key, number in last.items()} == dict(Counter(key for key, _ in kafka.taken))
    assert sent.records == len(kafka.taken) == sent.behind.count * pack or pack > 1
