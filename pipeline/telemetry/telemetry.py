"""Spans, metrics and logs of one room: one span and one metric update a batch, never one a record.

Names follow the messaging conventions of OpenTelemetry (status: development), kept to this file.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import orjson
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from pipeline.settings import Settings
from pipeline.telemetry import traceparent

Labels = dict[str, str]
Attribute = str | int | float | bool
MAX_LINKS = 32
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Span:
    """A running span: what its message carries on, and what is known only at the end."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    @property
    def traceparent(self) -> str:
        """The header that lets the next room continue this trace."""
        return traceparent.render(self._span.get_span_context())

    def set(self, name: str, value: Attribute) -> None:
        """Set an attribute."""
        self._span.set_attribute(name, value)


class _FileExporter(SpanExporter):
    """Spans as JSON lines, for tests and for a look without a collector."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab")
        self._lock = threading.Lock()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        lines = [orjson.dumps(_as_document(span)) + b"\n" for span in spans]
        with self._lock:
            # One write a call: several rooms append to the same file.
            self._file.write(b"".join(lines))
            self._file.flush()
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self._file.close()


def _as_document(span: ReadableSpan) -> dict[str, object]:
    context = span.get_span_context()
    assert context is not None  # noqa: S101 - an ended span has one
    return {
        "room": span.resource.attributes.get("service.name"),
        "name": span.name,
        "trace_id": f"{context.trace_id:032x}",
        "span_id": f"{context.span_id:016x}",
        "parent_id": f"{span.parent.span_id:016x}" if span.parent else None,
        "start_ns": span.start_time,
        "end_ns": span.end_time,
        "attributes": dict(span.attributes or {}),
        "links": [f"{link.context.trace_id:032x}" for link in span.links],
    }


class Telemetry:
    """What a room's door reports through; nothing inside the pure functions knows of it."""

    def __init__(self, room: str, settings: Settings) -> None:
        self.room = room
        self._provider = TracerProvider(
            resource=Resource.create({"service.name": f"forebay-{room}", "service.instance.id": settings.instance_id})
        )
        if settings.otlp_endpoint:
            endpoint = settings.otlp_endpoint.rstrip("/") + "/v1/traces"
            self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
        if settings.trace_file is not None:
            self._provider.add_span_processor(SimpleSpanProcessor(_FileExporter(settings.trace_file)))
        self._tracer = self._provider.get_tracer("forebay")
        self.registry = CollectorRegistry()
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        self.metrics_port: int | None = None
        self._server = None
        if settings.metrics_port >= 0:
            self._server, self._thread = start_http_server(
                settings.metrics_port, addr=settings.metrics_host, registry=self.registry
            )
            self.metrics_port = self._server.server_port
        self.gauge("forebay_up", 1)

    @contextmanager
    def span(
        self,
        name: str,
        parent: bytes | str | None = None,
        links: Sequence[bytes | str | None] = (),
        **attributes: Attribute,
    ) -> Iterator[Span]:
        """A span around one batch; its duration also goes to `messaging_process_duration_seconds`.

        `parent` is the incoming message's traceparent; `links` are further ones (at most 32 are kept).
        """
        context = traceparent.parse(parent)
        linked = [trace.Link(one) for one in map(traceparent.parse, links[:MAX_LINKS]) if one is not None]
        started = time.perf_counter()
        with self._tracer.start_as_current_span(
            name,
            context=trace.set_span_in_context(trace.NonRecordingSpan(context)) if context else None,
            kind=trace.SpanKind.CONSUMER,
            links=linked,
            attributes={"messaging.system": "kafka", **attributes},
        ) as span:
            yield Span(span)
        self.observe("messaging_process_duration_seconds", time.perf_counter() - started, operation=name)

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        """Add to a counter; `name` without the `_total` that Prometheus appends."""
        counter = self._counters.get(name)
        if counter is None:
            counter = Counter(name, name.replace("_", " "), sorted(labels), registry=self.registry)
            self._counters[name] = counter
        (counter.labels(**labels) if labels else counter).inc(amount)

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        gauge = self._gauges.get(name)
        if gauge is None:
            gauge = Gauge(name, name.replace("_", " "), sorted(labels), registry=self.registry)
            self._gauges[name] = gauge
        (gauge.labels(**labels) if labels else gauge).set(value)

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Put a value (seconds) into a histogram."""
        histogram = self._histograms.get(name)
        if histogram is None:
            histogram = Histogram(name, name.replace("_", " "), sorted(labels), registry=self.registry, buckets=BUCKETS)
            self._histograms[name] = histogram
        (histogram.labels(**labels) if labels else histogram).observe(value)

    def close(self) -> None:
        """Flush what is left and stop the endpoint."""
        self._provider.shutdown()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


def start(room: str, settings: Settings) -> Telemetry:
    """Telemetry of one room, with its Prometheus endpoint if the settings want one."""
    return Telemetry(room, settings)
