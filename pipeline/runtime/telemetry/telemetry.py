"""Spans, metrics and logs of one stage: one span and one metric update a batch, never one a record.

Names follow the messaging conventions of OpenTelemetry (status: development), which only this file uses.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

from pipeline.runtime.telemetry.endpoint import Endpoint, Health
from pipeline.runtime.telemetry.exporters import CollectorExporter, FileExporter
from pipeline.runtime.telemetry.metrics import Metrics
from pipeline.runtime.telemetry.resources import watch_resources
from pipeline.runtime.telemetry.stage_metrics import StageMetrics
from pipeline.runtime.wire import traceparent
from pipeline.settings import Settings

Attribute = str | int | float | bool

MAX_LINKS = 32
# Where a stage's endpoint listens when no setting says so: all fit one machine, a scraper knows where to look.
PORTS = {
    "ingest": 9471,
    "featurize": 9472,
    "score": 9473,
    "alert": 9474,
    "archive": 9475,
    "retrain": 9476,
    "intake": 9477,
    "output": 9479,
    "serve": 9486,
    "shadow": 9487,
}
# What is left of spans gets this long at the end; then the stage leaves without them.
LAST_SPANS_S = 2.0
CLOSE_WITHIN_S = 4.5


class Span:
    """A running span: what its message carries on, and what is known only at the end."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    @property
    def traceparent(self) -> str:
        """The header that lets the next stage continue this trace."""
        return traceparent.render(self._span.get_span_context())

    def set(self, name: str, value: Attribute) -> None:
        """Set an attribute."""
        self._span.set_attribute(name, value)


class Telemetry(Metrics):
    """What a stage's worker reports through; nothing inside the pure functions knows of it."""

    def __init__(self, stage_name: str, settings: Settings) -> None:
        super().__init__(stage_name)
        self.health = Health()
        self._provider = TracerProvider(
            resource=Resource.create(
                {"service.name": f"forebay-{stage_name}", "service.instance.id": settings.instance_id}
            )
        )
        self._collector: CollectorExporter | None = None
        if settings.otlp_endpoint:
            endpoint = settings.otlp_endpoint.rstrip("/") + "/v1/traces"
            self._collector = CollectorExporter(endpoint, lambda spans: self.count("forebay_spans_dropped", spans))
            self._provider.add_span_processor(BatchSpanProcessor(self._collector))
        if settings.trace_file is not None:
            self._provider.add_span_processor(SimpleSpanProcessor(FileExporter(settings.trace_file)))
        self._recording = bool(settings.otlp_endpoint) or settings.trace_file is not None
        self._tracer = self._provider.get_tracer("forebay")
        self._endpoint: Endpoint | None = None
        port, else_free = settings.metrics_port, settings.metrics_port is None
        if port is None:
            port = PORTS.get(stage_name, -1)
        if port >= 0:
            self._endpoint = Endpoint(settings.metrics_host, port, self.registry, self.health, else_free)
        self.gauge("forebay_up", 1)
        self.gauge("forebay_start_time_seconds", time.time(), stage=stage_name)
        self.gauge_function("forebay_ready", lambda: float(self.health.ready), stage=stage_name)
        watch_resources(self, settings)
        self.stage = StageMetrics(self, stage_name)

    @property
    def metrics_port(self) -> int | None:
        """The port that the endpoint listens on, or None where there is no endpoint."""
        return None if self._endpoint is None else self._endpoint.port

    @contextmanager
    def span(
        self,
        name: str,
        parent: bytes | str | None = None,
        links: Sequence[bytes | str | None] = (),
        **attributes: Attribute,
    ) -> Iterator[Span]:
        """A span around one batch, named "<operation> <destination>" ("process flows").

        `parent` is the incoming message's traceparent, None begins a trace; `links` are further ones (at most 32). An
        exception is recorded and raised again. Where spans go nowhere there is only what the message carries on.
        """
        context = traceparent.parse(parent)
        if not self._recording:
            yield Span(trace.NonRecordingSpan(traceparent.child_of(context)))
            return
        linked = [trace.Link(parsed) for parsed in map(traceparent.parse, links[:MAX_LINKS]) if parsed is not None]
        operation, _, destination = name.partition(" ")
        with self._tracer.start_as_current_span(
            name,
            context=trace.set_span_in_context(trace.NonRecordingSpan(context or trace.INVALID_SPAN_CONTEXT)),
            kind=trace.SpanKind.CONSUMER,
            links=linked,
            attributes={
                "messaging.system": "kafka",
                "messaging.operation.name": operation,
                "messaging.destination.name": destination,
                **attributes,
            },
        ) as span:
            try:
                yield Span(span)
            except BaseException as error:
                span.set_attribute("error.type", type(error).__qualname__)
                raise

    def beat(self) -> None:
        """Say that the stage's loop came round: `/livez` fails five minutes after the last time."""
        self.health.beat()

    def started(self) -> None:
        """Say that the stage has restored what it starts from: what `/startupz` answers; being ready says it too."""
        self.health.started = True

    def ready(self, now: bool = True) -> None:
        """Say whether the stage has its partitions and works: what `/readyz` answers."""
        self.health.ready = now

    def kafka_answers(self, now: bool, unanswered_s: float = 0.0) -> None:
        """Say whether Kafka answers, or has not for `unanswered_s` seconds: `/readyz` fails and lag grows meanwhile."""
        self.health.kafka_answers = now
        self.stage.away_since(None if now else time.time() - unanswered_s)

    def close(self) -> None:
        """Send what is left of spans, stop the endpoint; never longer than five seconds."""
        self.ready(False)
        if self._collector is not None:
            self._collector.last_call(LAST_SPANS_S)
        # The collector's name may not even resolve, and nothing bounds that but leaving it behind.
        closing = threading.Thread(target=self._provider.shutdown, name="last spans", daemon=True)
        closing.start()
        closing.join(CLOSE_WITHIN_S)
        if self._endpoint is not None:
            self._endpoint.close()
            self._endpoint = None


def start(stage_name: str, settings: Settings) -> Telemetry:
    """Telemetry of one stage, with its HTTP endpoint if the settings want one."""
    return Telemetry(stage_name, settings)
