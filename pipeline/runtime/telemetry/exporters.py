"""Where spans go: a file of JSON lines, or a collector that may be absent without anybody noticing in the stage."""

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import orjson
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from pipeline.runtime.telemetry.logs import log

EXPORT_TIMEOUT_S = 2.0
# After a failure the collector is left alone this long; what comes meanwhile is dropped and counted.
PAUSE_S = 30.0
# The libraries report every failed attempt and every dropped span; we report the first of a row, and the end of it.
NOISY = ("opentelemetry.exporter.otlp.proto.http.trace_exporter", "opentelemetry.sdk._shared_internal")


class FileExporter(SpanExporter):
    """Spans as JSON lines, for tests and for a look without a collector; several stages may share the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor: int | None = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._lock = threading.Lock()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Append the spans; a full disk ends the file, not the stage."""
        lines = b"".join(orjson.dumps(document(span)) + b"\n" for span in spans)
        with self._lock:
            if self._descriptor is None:
                return SpanExportResult.FAILURE
            try:
                # One write a call: the system appends it in one piece.
                os.write(self._descriptor, lines)
            except OSError as error:
                log("telemetry").warning("trace_file_ended", path=str(self._path), error=str(error))
                self._close()
                return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Close the file."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def document(span: ReadableSpan) -> dict[str, object]:
    """A span as the JSON document a line of the trace file holds."""
    context = span.get_span_context()
    assert context is not None  # noqa: S101 - an ended span has one
    return {
        "stage": span.resource.attributes.get("service.name"),
        "name": span.name,
        "trace_id": f"{context.trace_id:032x}",
        "span_id": f"{context.span_id:016x}",
        "parent_id": f"{span.parent.span_id:016x}" if span.parent else None,
        "start_ns": span.start_time,
        "end_ns": span.end_time,
        "attributes": dict(span.attributes or {}),
        "links": [f"{link.context.trace_id:032x}" for link in span.links],
    }


class CollectorExporter(SpanExporter):
    """OTLP over HTTP, as a guest in the stage: bounded in time, silent while the collector is away, counted.

    It runs in the batch processor's thread; the stage itself never waits for it, but at its end.
    """

    def __init__(self, endpoint: str, dropped: Callable[[int], None]) -> None:
        # Imported where it is wanted: it costs 0.2 s of a stage's start.
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        for name in NOISY:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._endpoint = endpoint
        self._inner = OTLPSpanExporter(endpoint=endpoint, timeout=EXPORT_TIMEOUT_S)
        self._dropped = dropped
        self._away = False
        self._not_before = 0.0
        self._deadline = float("inf")

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send the spans, or drop and count them."""
        now = time.monotonic()
        if now >= self._not_before and now < self._deadline:
            if self._inner.export(spans) is SpanExportResult.SUCCESS:
                if self._away:
                    log("telemetry").info("collector_back", endpoint=self._endpoint)
                self._away = False
                return SpanExportResult.SUCCESS
            self._not_before = time.monotonic() + PAUSE_S
            if not self._away:
                log("telemetry").warning("collector_away", endpoint=self._endpoint, next_try_s=PAUSE_S)
            self._away = True
        self._dropped(len(spans))
        return SpanExportResult.FAILURE

    def last_call(self, within_s: float) -> None:
        """From now on nothing is sent later than `within_s` from here."""
        self._deadline = time.monotonic() + within_s

    def shutdown(self) -> None:
        """Close the connection."""
        self._inner.shutdown()  # type: ignore[no-untyped-call]
