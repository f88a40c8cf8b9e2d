"""What a batch costs in telemetry: one span with links, one counter, one histogram."""

import time
from pathlib import Path

import pytest

from pipeline.runtime.telemetry import start
from pipeline.settings import load_settings

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
BATCHES = 5_000


@pytest.mark.bench
@pytest.mark.parametrize("links", [0, 1, 32])
@pytest.mark.parametrize("file", [False, True], ids=["no file", "trace file"])
def test_cost_per_batch(links: int, file: bool, tmp_path: Path) -> None:
    stage = start("score", load_settings(metrics_port=0, trace_file=tmp_path / "spans.jsonl" if file else None))
    started = time.perf_counter()
    for _ in range(BATCHES):
        with stage.span("process features", parent=PARENT, links=[PARENT] * links) as span:
            span.set("messaging.batch.message_count", 2048)
            assert span.traceparent
        stage.count("forebay_flows_scored", 2048)
        stage.observe("forebay_score_seconds", 0.01)
    per_batch_us = (time.perf_counter() - started) / BATCHES * 1e6
    stage.close()
    print(f"telemetry, {links} links{', trace file' if file else ''}: {per_batch_us:.0f} us a batch")
