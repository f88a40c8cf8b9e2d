"""Every screen, both themes, both widths: axe finds nothing, nothing runs out of the window, all of it by keyboard.

By day two of the four pairs of width and theme; all at night.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.tools.triage.pages import store_of
from tests.tools.triage.static.browsing import Served, reading, served
from tests.tools.triage.static.incidents import shown, uid_of

pytestmark = pytest.mark.slow
SCREENS = ["", f"/{uid_of(1)}", "?view=settled"]
OTHERS = ["#/assets", "#/sensors", "#/models", "#/replays", "#/nowhere"]


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    alerts = [
        shown(number, f"10.0.0.9 wrote 14 registers, {number}", severity_id=1 + number % 5, site=f"site-{number % 2}")
        for number in range(1, 12)
    ]
    with served(store_of(tmp_path_factory.mktemp("page"), alerts)) as made:
        yield made


def violations(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [
        f"{each['id']}: {each['nodes'][0]['html'][:200]} ({each['nodes'][0]['failureSummary'][:300]})" for each in found
    ]


@pytest.mark.parametrize(
    ("width", "theme"),
    [
        ("narrow", "light"),
        ("wide", "dark"),
        pytest.param("narrow", "dark", marks=pytest.mark.nightly),
        pytest.param("wide", "light", marks=pytest.mark.nightly),
    ],
)
def test_axe_finds_nothing_on_any_screen(browser: Browser, plant: Served, width: str, theme: str) -> None:
    with reading(browser, plant.url, width, theme) as reader:
        page = reader.open()
        for address in [f"#/incidents{each}" for each in SCREENS] + OTHERS:
            page.goto(plant.url + address)
            expect(page.locator("main")).not_to_contain_text("Loading …")
            if uid_of(1) in address:
                expect(page.locator(".preview strong, .preview bdi").first).to_be_visible()
            assert violations(page) == [], address
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), address
            assert page.evaluate("document.body.scrollWidth <= innerWidth"), address


def test_axe_finds_nothing_in_what_opens_on_top(browser: Browser, plant: Served) -> None:
    with reading(browser, plant.url) as reader:
        page = reader.open()
        page.locator("summary", has_text="More filters").click()
        assert violations(page) == []
        page.get_by_role("button", name="Keys").click()
        assert violations(page) == []


def test_the_theme_can_be_chosen_and_stays(browser: Browser, plant: Served) -> None:
    with reading(browser, plant.url, theme="light") as reader:
        page = reader.open()
        ground = "getComputedStyle(document.body).backgroundColor"
        light = page.evaluate(ground)
        page.get_by_role("button", name="Light or dark").click()
        dark = page.evaluate(ground)
        assert dark != light
        page.reload()
        expect(page.locator(".row").first).to_be_visible()
        assert page.evaluate(ground) == dark


def test_times_are_the_readers_own_or_utc(browser: Browser, plant: Served, tmp_path: Path) -> None:
    with reading(browser, plant.url, timezone_id="Europe/Vienna") as reader:
        page = reader.open()
        expect(page.locator(".row .when").first).to_contain_text("21:20:03")
        page.get_by_role("button", name="Times: Europe/Vienna").click()
        expect(page.locator(".row .when").first).to_contain_text("20:20:03")
        page.reload()
        expect(page.locator(".row .when").first).to_contain_text("20:20:03")


def test_tab_passes_the_list_in_one_step_and_skips_to_content(browser: Browser, plant: Served) -> None:
    with reading(browser, plant.url) as reader:
        page = reader.open()
        expect(page.locator(".row").first).to_be_visible()
        assert page.locator(".row[tabindex='0']").count() == 1
        page.keyboard.press("Tab")
        expect(page.get_by_text("Skip to content")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("main")).to_be_focused()
