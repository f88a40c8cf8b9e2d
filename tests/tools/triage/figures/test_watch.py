"""Figures are read by the clock, never for a request; lag and loss while somebody looks."""

from collections import Counter
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from pipeline.errors import KafkaUnreachable
from pipeline.tools.triage.figures.hop_lag import Lags
from pipeline.tools.triage.figures.readings import RECORDS, Reading, Series
from pipeline.tools.triage.figures.watch import PENDING, Watch

NOW_US = 1_678_443_600_000_000


class Asked:
    """Stages, Kafka and an archive that count how often they are asked."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.times: Counter[str] = Counter()
        self._fault = fault

    def scrape(self) -> tuple[dict[str, list[Reading]], list[str]]:
        self.times["stages"] += 1
        count = self.times["stages"]
        reading = Reading("ingest", NOW_US, True, 0, {}, {Series(RECORDS, "plant", "left"): count})
        return {"a": [reading]}, ["score: no answer"]

    def lags(self) -> Lags:
        self.times["lags"] += 1
        if self._fault is not None:
            raise self._fault
        return {}

    def losses(self) -> dict[Any, Any]:
        self.times["losses"] += 1
        return {}

    def watch(self) -> Watch:
        return Watch(None, self.scrape, self.lags, self.losses)


def test_no_request_asks_anybody() -> None:
    asked = Asked()
    watch = asked.watch()
    for _ in range(100):
        known = watch.known()
    assert known.no_lags == PENDING and not asked.times


def test_lag_and_loss_are_read_only_while_somebody_looks() -> None:
    asked = Asked()
    watch = asked.watch()
    watch.round(NOW_US)
    assert asked.times == {"stages": 1}
    watch.known()
    watch.round(NOW_US + 1)
    watch.round(NOW_US + 2)
    assert asked.times == {"stages": 3, "lags": 2, "losses": 1}
    known = watch.known()
    assert (known.at_us, known.began_us, known.lags_at_us, known.losses_at_us) == (
        NOW_US + 2,
        NOW_US,
        NOW_US + 2,
        NOW_US + 1,
    )
    assert known.stages["ingest"].counts["records", "plant", "left"] == 3
    assert known.problems == ("score: no answer",)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (KafkaUnreachable("no broker answers"), "no broker answers"),
        (TimeoutError(), "Kafka does not answer in time"),
        (KafkaException(KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED)), "ACL"),
        (KafkaException(KafkaError(KafkaError._NOENT, "No leaders found")), "Kafka: No leaders found"),
    ],
)
def test_a_broker_that_is_away_or_refuses_is_a_reason_and_no_end(fault: Exception, says: str) -> None:
    watch = Asked(fault).watch()
    watch.known()
    watch.round(NOW_US)
    assert says in watch.known().no_lags
    assert watch.known().stages["ingest"].seen_us == {}
