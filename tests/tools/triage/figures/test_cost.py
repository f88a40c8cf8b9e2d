"""What a round and a request cost, with as many sensors as stages count by name."""

import sys
import time

from prometheus_client import generate_latest

from pipeline.runtime.telemetry import Telemetry, start
from pipeline.settings import load_settings
from pipeline.tools.triage.figures.documents import sensor_figures
from pipeline.tools.triage.figures.readings import readings_of
from pipeline.tools.triage.figures.watch import Watch

SENSORS = 900
ROUND_S, REQUEST_S = 3.0, 0.5
"""Of processor time; many times what they take, for a machine that does other work."""


def _count(telemetry: Telemetry, sensor: str) -> None:
    of = {"site": "plant", "sensor": sensor}
    if telemetry.stage_name == "ingest":
        telemetry.stage.rows_out(5, **of)
        telemetry.stage.rejected(1, reason="noise", **of)
    if telemetry.stage_name == "featurize":
        telemetry.count("forebay_late_rows", 1, **of)
    if telemetry.stage_name == "score":
        telemetry.count("forebay_scored_rows", 4, suspect="no", **of)
        telemetry.count("forebay_scored_unusual_rows", 1, **of)


def test_a_round_and_a_request_are_cheap() -> None:
    texts: dict[str, str] = {}
    for stage in ("ingest", "featurize", "score", "alert", "archive", "retrain"):
        telemetry = start(stage, load_settings(metrics_port=-1))
        for number in range(SENSORS):
            _count(telemetry, f"sensor-{number}")
        texts[stage] = generate_latest(telemetry.registry).decode()
        telemetry.close()
    watch = Watch(None, lambda: ({stage: readings_of(text) for stage, text in texts.items()}, []), dict, dict)
    watch.round(1)
    before = time.process_time()
    watch.round(2)
    read = time.process_time()
    found = [sensor_figures(watch.known(), ("plant", f"sensor-{each}"), 0, 1, 2) for each in range(SENSORS)]
    asked = time.process_time()
    sys.stdout.write(f"a round {1e3 * (read - before):.0f} ms, a request {1e3 * (asked - read):.0f} ms\n")
    assert all(each["records"] == 5 and each["late"] == 1 for each in found)
    assert read - before < ROUND_S and asked - read < REQUEST_S
