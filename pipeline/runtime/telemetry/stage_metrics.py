"""The contract of what every stage reports: the same six metrics of each, with the label `stage`.

All six are there from the first scrape, at zero. docs/metrics.md says what a row in and a row out is of each stage.
"""

import time
from collections.abc import Callable

from pipeline.runtime.telemetry.metrics import Metrics

# Beside `stage`, what a stage's counters are split by. Names from outside are bounded by whoever counts them.
ROWS_OUT_LABELS = {"ingest": ("site", "sensor"), "alert": ("activity",), "archive": ("table",)}
REJECTED_LABELS = {"ingest": ("site", "sensor", "reason"), "serve": ("reason",)}


class StageMetrics:
    """What one stage has taken in, passed on and refused, what went wrong, and how far behind it is."""

    def __init__(self, metrics: Metrics, stage: str) -> None:
        self._metrics = metrics
        self._stage = stage
        self._oldest_us: int | None = None
        self._uncommitted_us: Callable[[], int | None] = lambda: None
        self._away_since_s: float | None = None
        # An empty label is, to Prometheus, a label that is not there: a series at zero, before the first row.
        self.rows_in(0)
        self.rows_out(0, **dict.fromkeys(ROWS_OUT_LABELS.get(stage, ()), ""))
        self.rejected(0, **dict.fromkeys(REJECTED_LABELS.get(stage, ()), ""))
        metrics.count("forebay_errors", 0, stage=stage)
        metrics.gauge_function("forebay_lag_seconds", self._lag_s, stage=stage)
        metrics.histogram("forebay_batch_seconds", stage=stage)

    def rows_in(self, rows: int) -> None:
        """Rows (for ingest: records) taken from the input topics; a message seen before counts no second time."""
        self._metrics.count("forebay_rows_in", rows, stage=self._stage)

    def rows_out(self, rows: int, **labels: str) -> None:
        """Rows passed on; `labels` are those of ROWS_OUT_LABELS."""
        self._metrics.count("forebay_rows_out", rows, stage=self._stage, **labels)

    def rejected(self, rows: int, **labels: str) -> None:
        """Rows refused because of what they hold; `labels` are those of REJECTED_LABELS."""
        self._metrics.count("forebay_rejected", rows, stage=self._stage, **labels)

    def error(self) -> None:
        """Something went wrong that is not in the data: a batch to be done again, or what stops the worker."""
        self._metrics.count("forebay_errors", stage=self._stage)

    def batch(self, seconds: float) -> None:
        """Record how long a batch took."""
        self._metrics.observe("forebay_batch_seconds", seconds, stage=self._stage)

    def waiting_since(self, sent_us: int | None) -> None:
        """Kafka's timestamp of the oldest message at hand, in microseconds; None where the last read found nothing.

        Lag is the age of that message at the moment of a scrape: it grows while the worker hangs.
        """
        self._oldest_us = sent_us

    def uncommitted_since(self, oldest_us: Callable[[], int | None]) -> None:
        """Asked at a scrape: Kafka's timestamp of the oldest message that was read, and of which what came is not
        committed; None where all is.
        """
        self._uncommitted_us = oldest_us

    def away_since(self, since_s: float | None) -> None:
        """Unix time at which Kafka last answered; None while it does.

        What waits is not known then, but sensors send on: lag is at least as long, and grows until Kafka is back.
        """
        self._away_since_s = since_s

    def _lag_s(self) -> float:
        away_since_s = self._away_since_s
        since_s = [each / 1e6 for each in (self._oldest_us, self._uncommitted_us()) if each is not None]
        since_s += [away_since_s] if away_since_s is not None else []
        return max(0.0, time.time() - min(since_s)) if since_s else 0.0
