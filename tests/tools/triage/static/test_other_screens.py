"""Map and assets, sensors, models, replays in a real browser: what is known, and plain words where nothing is."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from pipeline.settings import load_settings
from pipeline.tools.assets.current import CurrentAssets
from pipeline.tools.assets.devices import assets_of
from pipeline.tools.assets.documents import assets_in
from pipeline.tools.assets.inventory import inventory_of
from pipeline.tools.assets.label import Label, Labels
from pipeline.tools.triage.plant import Plant
from tests.featurize.flows import batch
from tests.tools.assets.plants import HOUR_S, talk
from tests.tools.triage.pages import store_of
from tests.tools.triage.static.browsing import Served, reading, served
from tests.tools.triage.static.incidents import shown

pytestmark = pytest.mark.slow
PLC, HMI, LAPTOP = "10.0.0.20", "10.0.0.1", "10.0.0.3"
LABELS: Labels = {("plant", PLC): Label("PLC \u202e3", "critical", "Cell 1"), ("plant", HMI): Label("", "", "Control")}


def plant_assets() -> CurrentAssets:
    """Two days of polling, and a laptop that came at the end."""
    rows = talk(HMI, PLC, 502, 97, every_s=HOUR_S / 2) + talk(LAPTOP, PLC, 502, 2, at=36 * HOUR_S)
    sites = {site.site: site for site in assets_of(inventory_of([batch(rows)])).values()}
    return CurrentAssets(sites, assets_in(sites.values(), LABELS), LABELS, {}, ["names are not known: no broker"])


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Served]:
    with served(store_of(tmp_path, [shown(1), shown(2, "10.0.0.9 wrote again", sensor="top")])) as made:
        assert made.page is not None
        made.page.plant = Plant(load_settings(), lambda _settings: plant_assets())
        yield made


def test_the_map_and_its_tables_say_the_same(browser: Browser, plant: Served) -> None:
    with reading(browser, plant.url) as reader:
        page = reader.open("#/assets")
        devices = page.get_by_role("region", name="Devices").locator("tbody tr")
        expect(devices).to_have_count(3)
        expect(page.locator("svg.map .device")).to_have_count(3)
        expect(page.locator("svg.map .edge")).to_have_count(2)
        expect(page.locator("svg.map .edge.new")).to_have_count(1)
        assert page.locator("svg.map .zone-name").all_text_contents()[:2] == ["Control", "Cell 1"]
        expect(page.get_by_text("names are not known: no broker")).to_be_visible()
        first = page.get_by_role("region", name="Who asked whom").locator("tbody tr").first
        expect(first).to_contain_text("new")
        page.get_by_role("link", name="PLC \\u202e3").click()
        expect(page).to_have_url(re.compile("assets/10.0.0.20"))
        expect(page.locator("svg.map .edge.near")).to_have_count(2)
        expect(page.locator("#t-device")).to_have_text("PLC \\u202e3")
        page.locator("svg.map .device", has_text=LAPTOP).click()
        expect(page.locator("#t-device")).to_have_text(LAPTOP)
        page.get_by_role("link", name="Its incidents").click()
        expect(page.locator(".row .says")).to_have_text("10.0.0.9 wrote again")


def test_sensors_and_models_are_those_of_the_store(browser: Browser, plant: Served) -> None:
    with reading(browser, plant.url) as reader:
        page = reader.open("#/sensors")
        rows = page.get_by_role("region", name="Sensors").locator("tbody tr")
        expect(rows).to_have_count(2)
        expect(rows.first).to_contain_text("not known: only alerts name it")
        page.locator("summary", has_text="All that is known").click()
        rows.nth(1).get_by_role("link", name="1").click()
        expect(page.locator(".row")).to_have_count(1)
        page.get_by_role("link", name="Models").click()
        expect(page.get_by_role("region", name="Models")).to_contain_text("shipped")
        page.get_by_role("link", name="Replays").click()
        expect(page.get_by_text("No replay was run.")).to_be_visible()


def test_nothing_known_is_said_plainly(browser: Browser, tmp_path: Path) -> None:
    with served(store_of(tmp_path)) as empty, reading(browser, empty.url, "narrow", "dark") as reader:
        page = reader.open("#/assets")
        expect(page.get_by_text("No device is known yet.")).to_be_visible()
        page.get_by_role("link", name="Sensors").click()
        expect(page.get_by_text("No sensor has sent anything yet.")).to_be_visible()
        page.goto(f"{empty.url}#/nowhere")
        expect(page.get_by_text("There is no such screen.")).to_be_visible()


def test_a_broker_that_is_away_is_seen(browser: Browser, tmp_path: Path) -> None:
    feed = {"state": "following", "since_us": 1_678_443_600_000_000, "error": ""}
    with served(store_of(tmp_path, [shown(1)]), feed=lambda: feed) as plant, reading(browser, plant.url) as reader:
        page = reader.open()
        expect(page.locator(".state")).to_have_text("Live")
        feed |= {"state": "away", "error": "no broker answers"}
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        expect(page.locator(".state")).to_have_text("No broker since 10 Mar 2023 10:20")
        expect(page.locator(".row")).to_have_count(1)
        feed |= {"state": "reading"}
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        expect(page.locator(".state")).to_have_text("Reading what came before …")
