"""Alerts read in batches: soon where nothing follows, and within a second where more always does."""

from collections.abc import Iterator
from typing import Any

from pipeline.tools.alerts.reading import BATCH_S, batches


def test_a_batch_ends_where_nothing_comes_and_at_the_end() -> None:
    came: list[dict[str, Any] | None] = [None, {"n": 1}, {"n": 2}, None, None, {"n": 3}]
    assert list(batches(came, clock=lambda: 0.0)) == [[{"n": 1}, {"n": 2}], [{"n": 3}]]


def test_a_batch_ends_within_a_second_where_alerts_never_stop() -> None:
    now_s = 0.0

    def endless() -> Iterator[dict[str, Any]]:
        nonlocal now_s
        for number in range(100):
            now_s += BATCH_S / 10
            yield {"n": number}

    sizes = [len(batch) for batch in batches(endless(), clock=lambda: now_s)]
    assert sum(sizes) == 100 and max(sizes) <= 12
