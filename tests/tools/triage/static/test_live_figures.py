"""Sensors and models in a real browser: figures of the stages as they are known, and why others are not."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from pipeline.contracts.baseline import Phase
from pipeline.contracts.notices import FIGURES, STATUS, Notice
from pipeline.settings import load_settings
from pipeline.tools.triage.figures.hop_lag import HOPS, HopLag
from pipeline.tools.triage.figures.readings import LATE, RECORDS, REJECTS, SCORED, UNUSUAL, Reading, Series
from pipeline.tools.triage.figures.watch import Watch
from pipeline.tools.triage.plant import Remembered
from pipeline.tools.triage.store import BASELINES, TopicMessage
from tests.tools.triage.pages import store_of
from tests.tools.triage.static.browsing import Served, reading, served
from tests.tools.triage.static.incidents import shown
from tests.tools.triage.static.test_accessibility import violations

pytestmark = pytest.mark.slow
SECOND_US = 1_000_000
HOSTILE = "trun\u202ecated<b>"
MODEL = "igan-2"


def notices(now_us: int) -> list[TopicMessage]:
    """A status of each of two sensors, in partitions of their own."""
    figures = {**dict.fromkeys(FIGURES, 7), "began_us": now_us - 7_200 * SECOND_US}
    made = []
    for number, sensor in enumerate(("left", "right")):
        notice = Notice(
            site="plant",
            sensor=sensor,
            number=1,
            kind=STATUS,
            phase=Phase.ANCHORED,
            at_us=now_us,
            since_us=now_us - 7_200 * SECOND_US,
            figures=figures,
        )
        made.append(TopicMessage(BASELINES, number, 0, notice.payload(), now_us - 600 * SECOND_US))
    return made


class Stages:
    """Stages of which ingest and score answer, and count on with every round."""

    def __init__(self, now_us: int) -> None:
        self.now_us, self.rounds = now_us, 0

    def scrape(self) -> tuple[dict[str, list[Reading]], list[str]]:
        self.rounds += 1
        started_us, sums = self.now_us - 3_600 * SECOND_US, {"rows_in": 1_000, "rows_out": 998, "rejected": 2}
        left = {
            Series(RECORDS, "plant", "left"): 1_000 * self.rounds,
            Series(REJECTS, "plant", "left", HOSTILE): 2,
        }
        scored = {Series(SCORED, "plant", "left"): 1_000, Series(UNUSUAL, "plant", "left"): 310}
        ingest = Reading("ingest", started_us, True, 0, sums, left)
        score = Reading("score", started_us, False, 0, sums, scored | {Series(LATE, "plant", "left"): 5})
        return {"a": [ingest], "b": [score]}, ["featurize at 127.0.0.1:9472/metrics: no answer"]

    def lags(self) -> dict[tuple[str, int], HopLag]:
        lags = {(stage, partition): HopLag(None, 1) for stage in HOPS for partition in range(2)}
        return {**lags, ("score", 1): HopLag(time.time_ns() // 1000 - 12 * SECOND_US, 40)}

    def losses(self) -> dict[tuple[str, str], dict[str, Any]]:
        exporters = {"exact": False, "exporters": 1, "exporters_unknown": 0}
        return {("plant", "left"): {"missing_flows": 12, "missing_packets": 0, **exporters}}


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Served]:
    store = store_of(tmp_path, [shown(1)])
    now_us = time.time_ns() // 1000
    assert store.take(notices(now_us)) == 0
    settings = load_settings(run_folder=tmp_path, samples_uri=tmp_path)
    with served(store, settings=settings) as made:
        assert made.page is not None
        stages = Stages(now_us)
        watch = made.page.watch = Watch(None, stages.scrape, stages.lags, stages.losses)
        watch.known()
        watch.round(now_us)
        watch.round(now_us + SECOND_US)
        comparison = {
            **{"candidate": "igan-3", "against": MODEL, "passed": False, "attacks": 40, "normals": 900},
            "of_candidate": {"recall": 0.91, "false_rate": 0.0123, "auroc": None},
            "of_current": {"recall": 0.95, "false_rate": 0.001, "auroc": 0.991},
            "reasons": [f"recall 0.91, the current model has 0.95 {HOSTILE}"],
        }
        rows = [
            {"model": MODEL, "current": True, "incidents": 3, "alerts_a_day": 1.5, "comparison": None},
            {"model": "igan-3", "current": False, "incidents": 0, "alerts_a_day": None, "comparison": comparison},
        ]
        made.page.models = Remembered(lambda: {"models": rows, "total": 2, "problem": "", "no_comparison": ""})
        yield made


def cell(row: Locator, title: str) -> Locator:
    return row.locator(f'td[data-title="{title}"]')


def is_whole(page: Page) -> bool:
    """Whether nothing runs out of the window, and axe finds nothing."""
    assert violations(page) == []
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


@pytest.mark.parametrize("width", ["narrow", "wide"])
def test_each_figure_of_a_sensor_is_known_or_says_why_not(browser: Browser, plant: Served, width: str) -> None:
    with reading(browser, plant.url, width) as reader:
        page = reader.open("#/sensors")
        rows = page.get_by_role("region", name="Sensors").locator("tbody tr")
        left, right = rows.nth(0), rows.nth(1)
        expect(cell(left, "Silent for")).to_have_text("sends")
        expect(cell(right, "Silent for")).to_contain_text("at least")
        expect(cell(left, "Lag")).to_have_text("none")
        expect(cell(right, "Lag")).to_contain_text("40 messages, first for score")
        expect(cell(left, "Rejects")).to_contain_text("2 of 2,000 records · trun\\u202ecated<b> 2")
        expect(cell(right, "Rejects")).to_contain_text("0 of 0 records")
        expect(cell(left, "Late")).to_have_text("not known")
        expect(cell(left, "Loss before Kafka")).to_have_text("at most 12 flows")
        expect(cell(right, "Loss before Kafka")).to_have_text("not known")
        expect(cell(left, "Unusual")).to_have_text("31 %")
        why = page.locator(".card", has=page.get_by_role("heading", name="Not known, and why"))
        expect(why).to_contain_text("Stage featurize, Late: featurize was not read: featurize at 127.0.0.1:9472")
        expect(why).to_contain_text("Stage alert: alert was not read: no address that is asked is of it")
        expect(why).to_contain_text("Loss before Kafka of 1 sensor: nothing that is archived of it bears")
        stages = page.get_by_role("region", name="Stages").locator("tbody tr")
        expect(stages).to_have_count(4)
        expect(cell(stages.nth(0), "State")).to_have_text("ready")
        expect(cell(stages.nth(2), "State")).to_have_text("not ready")
        expect(cell(stages.nth(2), "Messages behind")).to_have_text("40")
        expect(page.get_by_text("read: stages")).to_be_visible()
        assert is_whole(page)


@pytest.mark.parametrize("width", ["narrow", "wide"])
def test_models_have_drift_and_how_the_candidate_compared(browser: Browser, plant: Served, width: str) -> None:
    with reading(browser, plant.url, width, "dark") as reader:
        page = reader.open("#/models")
        rows = page.get_by_role("region", name="Models").locator("tbody tr")
        expect(rows).to_have_count(2)
        expect(cell(rows.nth(0), "Drift")).to_contain_text("31 % of 1,000 rows unusual, 10 % expected")
        expect(cell(rows.nth(0), "Drift")).to_contain_text("most at plant/left: 31 %")
        expect(cell(rows.nth(0), "Alerts a day")).to_have_text("1.5")
        against = cell(rows.nth(1), "Against the one in use")
        expect(against).to_contain_text("refused found 0.910 (0.950), false 0.0123 (0.0010), AUROC not known (0.991)")
        expect(against).to_contain_text("the current model has 0.95 trun\\u202ecated<b>")
        assert is_whole(page)


def test_figures_are_read_by_the_clock_and_their_age_is_shown(browser: Browser, plant: Served) -> None:
    assert plant.page is not None
    known = plant.page.watch.known()
    with reading(browser, plant.url) as reader:
        page = reader.open("#/sensors")
        for _ in range(3):
            page.goto(f"{plant.url}#/models")
            page.goto(f"{plant.url}#/sensors")
            expect(page.get_by_text("read: stages")).to_be_visible()
        asked = [orjson.loads(page.request.get(f"{plant.url}api/v1/{name}").body()) for name in ("sensors", "models")]
    assert plant.page.watch.known() is known
    assert [each["read_us"]["stages"] for each in asked] == [known.at_us] * 2


def test_alerts_of_a_file_have_no_stages_and_the_screen_says_so(browser: Browser, tmp_path: Path) -> None:
    with served(store_of(tmp_path, [shown(1)])) as made, reading(browser, made.url, "narrow") as reader:
        page = reader.open("#/sensors")
        expect(page.get_by_role("region", name="Stages")).to_have_count(0)
        expect(page.get_by_text("there are no stages to ask").first).to_be_visible()
        row = page.get_by_role("region", name="Sensors").locator("tbody tr").first
        for title in ("Lag", "Late", "Rejects", "Loss before Kafka", "Unusual", "Silent for"):
            expect(cell(row, title)).to_have_text("not known")
