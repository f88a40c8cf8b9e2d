"""The OTLP collector is a convenience: away, hanging or back, the stage does not notice."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from pipeline.runtime.telemetry import start
from pipeline.runtime.telemetry.exporters import EXPORT_TIMEOUT_S
from pipeline.settings import load_settings
from tests.contract.tree import ROOT
from tests.patience import PATIENCE_S

STAGE = """
import sys, time
from pipeline.settings import load_settings
from pipeline.runtime.telemetry import configure, start
configure("info")
stage = start("score", load_settings(otlp_endpoint=sys.argv[1]))
slowest = 0.0
for _ in range(4000):
    started = time.perf_counter()
    with stage.span("process flows"):
        pass
    slowest = max(slowest, time.perf_counter() - started)
started = time.perf_counter()
stage.close()
print(slowest, time.perf_counter() - started)
"""


@pytest.fixture(params=["closed", "hanging", "nameless"])
def away(request: pytest.FixtureRequest) -> Iterator[str]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        if request.param == "closed":
            listener.close()
        elif request.param == "hanging":
            # Connections are taken by the system; nobody ever answers.
            listener.listen(5)
        yield "http://collector.invalid:4318" if request.param == "nameless" else f"http://127.0.0.1:{port}"


@pytest.mark.slow
def test_an_absent_collector_costs_nothing_but_a_line(away: str) -> None:
    started = time.perf_counter()
    run = subprocess.run(
        [sys.executable, "-c", STAGE, away], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S
    )
    elapsed_s = time.perf_counter() - started
    assert run.returncode == 0, run.stderr
    slowest_s, close_s = map(float, run.stdout.split())
    assert close_s < PATIENCE_S / 4 and elapsed_s < PATIENCE_S / 2, "the process lingered"
    assert slowest_s < EXPORT_TIMEOUT_S, "a span waited for the collector"
    assert run.stderr.count("\n") <= 2, run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.slow
def test_a_room_leaves_an_absent_collector_behind(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        stage = start(
            "score", load_settings(metrics_port=0, otlp_endpoint=f"http://127.0.0.1:{unused.getsockname()[1]}")
        )
    for _ in range(1000):
        with stage.span("process flows"):
            pass
    stage.close()
    assert not caplog.records, "the libraries complain by themselves"
    dropped = stage.registry.get_sample_value("forebay_spans_dropped_total")
    assert dropped is not None and 0 < dropped <= 1000


class Collector(BaseHTTPRequestHandler):
    received: ClassVar[list[bytes]] = []

    def do_POST(self) -> None:
        self.received.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        return None


def test_a_present_collector_gets_the_spans() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        stage = start("score", load_settings(otlp_endpoint=f"http://127.0.0.1:{server.server_port}/"))
        for _ in range(100):
            with stage.span("process features"):
                pass
        stage.close()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    requests = [ExportTraceServiceRequest.FromString(body) for body in Collector.received]
    names = [
        span.name
        for request in requests
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert names == ["process features"] * 100
