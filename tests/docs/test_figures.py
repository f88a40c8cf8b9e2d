"""What the benches of record make of their runs: ratios, slopes, projections, files and pictures."""

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from pipeline.tools.processes import STAGES
from tests.bench import figures
from tests.bench.bench_flow import Run
from tests.bench.peers.running import PeerRun
from tests.bench.record import ratios
from tests.bench.soak import drawn, rates, slopes
from tests.docs.performance import projected

COSTS = dict.fromkeys(("broker", *STAGES), 2.0)


def run(rate: int, **costs: float) -> Run:
    used = {**COSTS, **costs}
    return Run(1000, 1, True, 8, 1, rate, rate, 0, True, used, dict.fromkeys(used, 100))


def soaked(minutes: int, mib_a_minute: float) -> list[dict[str, Any]]:
    """A row every ten seconds; archive's memory grows, and 50 records a second come and go."""
    return [
        {
            "at_s": at * 10.0,
            "sent": 500 * at,
            "archived": max(0, 500 * at - 100),
            "rss_mib": {"score": 300, "archive": 200 + at / 6 * mib_a_minute},
        }
        for at in range(minutes * 6 + 1)
    ]


def test_ratios_are_to_the_loop_by_hand() -> None:
    hand, hand_packed = PeerRun(1, 10, 100_000, {}), PeerRun(100, 10, 125_000, {})
    assert ratios(run(110_000), run(200_000), run(90_000), hand, hand_packed) == {
        "one_a_message_to_hand_loop": 1.1,
        "packed_to_hand_loop": 2.0,
        "packed_to_packed_hand_loop": 1.6,
        "flood_to_calm": 0.82,
    }


def test_growth_is_that_of_the_second_half() -> None:
    assert slopes(soaked(30, 0.5)) == {"score": pytest.approx(0.0), "archive": pytest.approx(30.0)}
    assert slopes(soaked(30, 0.5)[:1]) == {}


def test_rates_are_over_a_minute() -> None:
    rows = soaked(3, 0.0)
    assert np.allclose(rates(rows, "sent"), [(1 + at / 6, 50.0) for at in range(13)])
    assert "<svg" in drawn(rows) and "archived" in drawn(rows)


def test_a_projection_is_limited_by_the_slowest_stage() -> None:
    twelve, many = (projected(run(1, broker=9.0, score=5.0).cpu_us_per_record, partitions) for partitions in (12, 96))
    assert twelve["slowest"] == "score" and twelve["million_per_s"] == pytest.approx(2.4)
    assert twelve["cores_of_the_stages"] == pytest.approx(36.0) and twelve["cores_of_kafka"] == pytest.approx(21.6)
    assert many["million_per_s"] == pytest.approx(8 * twelve["million_per_s"])


def test_a_file_holds_where_it_is_from(tmp_path: Path) -> None:
    started = figures.origin("python -m tests.bench.record")
    figures.write(tmp_path, "flow", {"runs": {}}, started)
    document = orjson.loads((tmp_path / "flow.json").read_bytes())
    assert document == {**started, "runs": {}}
    assert set(started) == {"command", "machine", "date", "commit"} and started["commit"]


def test_the_same_budget_makes_the_same_picture(tmp_path: Path) -> None:
    bars = {"before": {**COSTS, "score": 7.4}, "now": COSTS}
    for name in ("a", "b"):
        figures.budget(tmp_path / f"{name}.svg", bars)
    text = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert text == (tmp_path / "b.svg").read_text(encoding="utf-8")
    assert " 19.4" in text and " 14.0" in text and "<script" not in text
