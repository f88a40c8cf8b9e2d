"""Reads the stages' figures by the clock, in a thread of its own; whoever asks gets what was read last, and its age."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from confluent_kafka import KafkaException

from pipeline.contracts.envelope import SensorName
from pipeline.errors import ForebayError, KafkaDenied, KafkaUnreachable
from pipeline.runtime.kafka.errors import typed
from pipeline.runtime.telemetry import log
from pipeline.settings import Settings
from pipeline.tools.triage.figures.endpoints import ask, endpoints
from pipeline.tools.triage.figures.growth import Growth
from pipeline.tools.triage.figures.hop_lag import Lags, read_lags
from pipeline.tools.triage.figures.loss import Losses, LossReader
from pipeline.tools.triage.figures.readings import Reading

EVERY_S = 30.0
LOSS_EVERY_S = 600.0
ASKED_S = 600.0
"""Kafka and the archive are asked while somebody looks, and so long after."""
PENDING = "it is being read for the first time"
NO_STAGES = "the page shows alerts of a file: there are no stages to ask"
Scrape = Callable[[], tuple[Mapping[str, list[Reading]], list[str]]]


@dataclass(frozen=True, slots=True)
class StageFigures:
    """What is known of one stage."""

    at_us: int
    """When a worker of it answered last."""
    workers: tuple[Reading, ...]
    """Those that answered then."""
    since_us: int
    """From when on `counts` are."""
    counts: Mapping[tuple[str, str, str], int]
    """By figure, site and sensor."""
    reasons: Mapping[SensorName, Mapping[str, int]]
    """Of a sensor's rejects."""
    seen_us: Mapping[SensorName, int]
    """When its records were last seen to grow in number."""


@dataclass(frozen=True, slots=True)
class Known:
    """All that was read last; where a figure is not known, why."""

    at_us: int | None = None
    """When the stages were asked last."""
    began_us: int | None = None
    """When they were asked first."""
    stages: Mapping[str, StageFigures] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    """Who did not answer, or whom nobody knows how to ask."""
    lags: Lags = field(default_factory=dict)
    lags_at_us: int | None = None
    no_lags: str = PENDING
    losses: Losses = field(default_factory=dict)
    losses_at_us: int | None = None
    no_losses: str = PENDING


class Watch:
    """Figures of the stages: their metrics every 30 s; lag and loss only while somebody looks."""

    def __init__(
        self,
        settings: Settings | None,
        scrape: Scrape | None = None,
        lags: Callable[[], Lags] | None = None,
        losses: Callable[[], Losses] | None = None,
    ) -> None:
        self._scrape, self._lags, self._losses = scrape, lags, losses
        if settings is not None:
            self._scrape = scrape or (lambda: _scraped(settings))
            self._lags = lags or (lambda: read_lags(settings))
            self._losses = losses or LossReader(settings).read
        self._growth: dict[str, Growth] = {}
        self._known = Known() if self._scrape else Known(problems=(NO_STAGES,), no_lags=NO_STAGES, no_losses=NO_STAGES)
        self._asked_at: float | None = None
        self._losses_at: float | None = None
        self._stop = threading.Event()
        self._wake = threading.Event()

    def start(self) -> None:
        """Begin to read in the background."""
        if self._scrape is not None:
            threading.Thread(target=self._run, name="figures", daemon=True).start()

    def close(self) -> None:
        """Read no more."""
        self._stop.set()
        self._wake.set()

    def known(self) -> Known:
        """What was read last; somebody looks now."""
        before, self._asked_at = self._asked_at, time.monotonic()
        if before is None or self._asked_at - before > ASKED_S:
            self._wake.set()
        return self._known

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.round(time.time_ns() // 1000)
            except Exception as error:  # a thread that ends would leave old figures standing without a word
                log("triage").error("the stages' figures cannot be read; tried again", reason=repr(error))
            self._wake.wait(EVERY_S)
            self._wake.clear()

    def round(self, now_us: int) -> None:
        """Read what is due."""
        if self._scrape is not None:
            said, problems = self._scrape()
            self._take(said, problems, now_us)
        now = time.monotonic()
        if self._asked_at is None or now - self._asked_at > ASKED_S:
            return
        self._read_lags(now_us)
        if self._losses_at is None or now - self._losses_at >= LOSS_EVERY_S:
            self._losses_at = now
            self._read_losses(now_us)

    def _take(self, said: Mapping[str, list[Reading]], problems: list[str], now_us: int) -> None:
        by_stage: dict[str, dict[str, Reading]] = {}
        for worker, readings in said.items():
            for reading in readings:
                by_stage.setdefault(reading.stage, {})[worker] = reading
        stages = dict(self._known.stages)
        for stage, workers in by_stage.items():
            growth = self._growth.setdefault(stage, Growth())
            growth.take(workers, now_us)
            stages[stage] = _figures(tuple(workers.values()), growth, now_us)
        began_us = self._known.began_us or now_us
        self._known = replace(self._known, at_us=now_us, began_us=began_us, stages=stages, problems=tuple(problems))

    def _read_lags(self, now_us: int) -> None:
        if self._lags is None:
            return
        try:
            self._known = replace(self._known, lags=self._lags(), lags_at_us=now_us, no_lags="")
        except KafkaException as error:
            self._known = replace(self._known, lags={}, no_lags=_reason(error))
        except (ForebayError, TimeoutError) as error:
            self._known = replace(self._known, lags={}, no_lags=str(error) or "Kafka does not answer in time")

    def _read_losses(self, now_us: int) -> None:
        if self._losses is None:
            return
        try:
            self._known = replace(self._known, losses=self._losses(), losses_at_us=now_us, no_losses="")
        except (ForebayError, OSError) as error:
            self._known = replace(self._known, losses={}, no_losses=f"archive: {error}")


def _reason(error: KafkaException) -> str:
    known = typed(error.args[0], "Kafka", "")
    return str(known) if isinstance(known, KafkaDenied | KafkaUnreachable) else f"Kafka: {error.args[0].str()}"


def _figures(workers: tuple[Reading, ...], growth: Growth, now_us: int) -> StageFigures:
    counts: Counter[tuple[str, str, str]] = Counter()
    reasons: dict[SensorName, Counter[str]] = {}
    for series, count in growth.totals.items():
        counts[series[:3]] += count
        if series.reason:
            reasons.setdefault((series.site, series.sensor), Counter())[series.reason] += count
    return StageFigures(now_us, workers, growth.since_us or now_us, counts, reasons, dict(growth.seen_us))


def _scraped(settings: Settings) -> tuple[Mapping[str, list[Reading]], list[str]]:
    asked, problems = endpoints(settings)
    said, others = ask(asked)
    return said, [*problems, *others]
