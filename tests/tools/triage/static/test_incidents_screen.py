"""The list of incidents in a real browser: found, sorted, searched, walked with keys; and live without moving."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.patience import PATIENCE_S
from tests.tools.triage.pages import store_of
from tests.tools.triage.static.browsing import Reader, Served, reading, served
from tests.tools.triage.static.incidents import shown, uid_of

pytestmark = pytest.mark.slow
PLANT = [
    shown(1, "10.0.0.9 wrote 14 registers of 10.0.0.2", site="north", severity_id=5),
    shown(2, "10.0.0.9 asked 10.0.0.3 for its identification", site="north", severity_id=2),
    shown(3, "10.0.0.9 scanned 40 ports of 10.0.0.4", site="south", severity_id=4, sensor="top"),
    shown(4, "10.0.0.9 spoke to 10.0.0.5 for the first time", site="south", disposition="review", sensor="top"),
    shown(5, "10.0.0.9 goes on", site="south", severity_id=3, sensor="top", activity_id=2),
]


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Served]:
    with served(store_of(tmp_path, PLANT)) as made:
        yield made


@pytest.fixture
def reader(browser: Browser, plant: Served) -> Iterator[Reader]:
    with reading(browser, plant.url) as made:
        yield made


def sentences(page: Page) -> list[str]:
    return page.locator(".row .says").all_inner_texts()


def test_the_list_is_grouped_by_site_and_says_what_is_held_back(reader: Reader) -> None:
    page = reader.open()
    expect(page.locator(".row")).to_have_count(4)
    assert page.locator(".site-head h2").all_inner_texts() == ["north", "south"]
    first = page.locator(".row").first
    expect(first).to_contain_text("10.0.0.9 asked 10.0.0.3 for its identification")
    expect(first).to_contain_text("Low")
    expect(page.get_by_role("link", name="To do 4")).to_have_attribute("aria-current", "page")
    page.get_by_role("link", name="For review 1").click()
    expect(page.locator(".row")).to_have_count(1)
    assert sentences(page) == ["10.0.0.9 spoke to 10.0.0.5 for the first time"]
    expect(page.locator(".row")).to_contain_text("For review")
    page.get_by_role("link", name="All 5").click()
    expect(page.locator(".row")).to_have_count(5)


def test_filters_order_and_search_are_in_the_address_and_outlast_a_reload(reader: Reader) -> None:
    page = reader.open()
    page.get_by_label("Site", exact=True).select_option("south")
    expect(page.locator(".row")).to_have_count(2)
    page.get_by_label("Order", exact=True).select_option("-severity")
    expect(page).to_have_url(re.compile("site=south.*sort=-severity"))
    expect(page.locator(".row .says").first).to_have_text("10.0.0.9 scanned 40 ports of 10.0.0.4")
    page.get_by_label("State", exact=True).select_option("open")
    expect(page.locator(".row")).to_have_count(1)
    page.reload()
    expect(page.locator(".row")).to_have_count(1)
    expect(page.get_by_label("Site", exact=True)).to_have_value("south")
    page.get_by_label("State", exact=True).select_option("")
    page.get_by_label("Search incidents").fill("40 PORTS")
    expect(page.locator(".row")).to_have_count(1)
    expect(page).to_have_url(re.compile("q=40\\+PORTS"))
    page.get_by_label("Search incidents").fill("nothing like it")
    expect(page.get_by_text("Nothing matches.")).to_be_visible()
    page.locator(".empty").get_by_role("link", name="Clear the filters").click()
    expect(page.locator(".row")).to_have_count(4)


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [("asset", "10.0.0.4", 1), ("technique", "T0846", 4), ("technique", "T9999", 0), ("sensor", "left", 2)],
)
def test_more_filters(reader: Reader, name: str, value: str, found: int) -> None:
    page = reader.open()
    expect(page.locator(".row")).to_have_count(4)
    page.locator("summary", has_text="More filters").click()
    page.locator(f".more input[name={name}]").fill(value)
    expect(page).to_have_url(re.compile(f"{name}={value}"))
    expect(page.locator(".row")).to_have_count(found)


def test_keys_walk_the_list_open_and_come_back_where_it_was(reader: Reader) -> None:
    page = reader.open()
    expect(page.locator(".row")).to_have_count(4)
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("j")  # into the next site's
    expect(page.locator(".row:focus .says")).to_have_text("10.0.0.9 goes on")
    page.keyboard.press("k")
    expect(page.locator(".row:focus .says")).to_have_text("10.0.0.9 wrote 14 registers of 10.0.0.2")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(uid_of(1)))
    expect(page.locator(".incident h1")).to_have_text("10.0.0.9 wrote 14 registers of 10.0.0.2")
    page.keyboard.press("j")
    expect(page.locator(".incident h1")).to_have_text("10.0.0.9 goes on")
    page.keyboard.press("Escape")
    expect(page.locator(".incident h1")).to_have_count(0)
    expect(page.locator(".row:focus .says")).to_have_text("10.0.0.9 goes on")
    page.keyboard.press("/")
    expect(page.get_by_label("Search incidents")).to_be_focused()
    page.keyboard.type("jk?")  # typed, not acted on
    expect(page.get_by_label("Search incidents")).to_have_value("jk?")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_on_a_phone_the_incident_takes_the_lists_place(browser: Browser, plant: Served) -> None:
    with reading(browser, plant.url, "narrow") as reader:
        page = reader.open()
        page.locator(".row").first.click()
        expect(page.locator(".incident h1")).to_be_focused()
        expect(page.locator(".list")).to_be_hidden()
        assert page.evaluate("document.scrollingElement.scrollWidth") <= 390
        page.get_by_role("button", name="← List").click()
        expect(page.locator(".row").first).to_be_focused()
        page.locator("summary", has_text="More filters").click()
        page.locator(".more select[name=site]").select_option("north")
        expect(page.locator(".row")).to_have_count(2)


def test_what_comes_in_waits_on_a_button_and_nothing_that_is_read_moves(reader: Reader, plant: Served) -> None:
    page = reader.open("#/incidents?site=south")
    expect(page.get_by_text("Alerts of a file")).to_be_visible()
    expect(page.locator(".row")).to_have_count(2)
    before = sentences(page)
    where = page.locator(".row").first.bounding_box()
    plant.store.take_alerts(
        [shown(6, "10.0.0.9 is new", site="south"), shown(7, "10.0.0.9 is elsewhere", site="north")]
    )
    button = page.get_by_role("button", name="1 new incident: show")
    expect(button).to_be_visible()
    assert sentences(page) == before
    assert page.locator(".row").first.bounding_box()["x"] == where["x"]  # type: ignore[index]
    expect(page.get_by_role("link", name="To do 3")).to_be_visible()
    button.click()
    expect(page.locator(".row")).to_have_count(3)
    assert sentences(page)[0] == "10.0.0.9 is new"


def test_an_incident_that_changes_does_so_in_its_place(reader: Reader, plant: Served) -> None:
    page = reader.open("#/incidents?site=south")
    expect(page.locator(".row .says").first).to_have_text("10.0.0.9 goes on")
    page.locator(".row").nth(1).focus()
    plant.store.take_alerts(
        [shown(3, "10.0.0.9 scanned 90 ports", site="south", sensor="top", sequence=9, severity_id=4)]
    )
    expect(page.locator(".row .says").nth(1)).to_have_text("10.0.0.9 scanned 90 ports")
    expect(page.locator(".row").nth(1)).to_be_focused()
    expect(page.get_by_role("button", name=re.compile("new"))).to_have_count(0)


def test_the_server_goes_and_comes_back_and_what_was_missed_is_there(reader: Reader, plant: Served) -> None:
    page = reader.open("#/incidents?site=south")
    expect(page.get_by_text("Alerts of a file")).to_be_visible()
    plant.stop()
    expect(page.get_by_text("Reconnecting …")).to_be_visible()
    expect(page.locator(".row")).to_have_count(2)
    plant.store.take_alerts([shown(6, "10.0.0.9 came meanwhile", site="south")])
    plant.start()
    expect(page.get_by_text("Alerts of a file")).to_be_visible()
    page.get_by_role("button", name="1 new incident: show").click()
    expect(page.locator(".row")).to_have_count(3)


def test_a_page_that_is_opened_while_the_server_is_away_comes_by_itself(reader: Reader, plant: Served) -> None:
    page = reader.open()
    expect(page.locator(".row")).to_have_count(4)
    page.route("**/api/v1/session", lambda route: route.abort())
    page.reload()
    expect(page.get_by_text("The page has no answer from its server.")).to_be_visible()
    page.unroute("**/api/v1/session")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".row")).to_have_count(4)


def test_a_list_that_fails_says_so_and_can_be_asked_again(reader: Reader) -> None:
    page = reader.page
    answer: dict[str, Any] = {"error": {"where": "store", "got": "no answer", "expected": "one", "remedy": "start it"}}
    page.route("**/api/v1/incidents?*", lambda route: route.fulfill(status=503, json=answer))
    reader.open()
    expect(page.get_by_role("alert")).to_contain_text("store: got no answer, expected one; start it")
    page.unroute("**/api/v1/incidents?*")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".row")).to_have_count(4)


def test_an_empty_store_is_calm(browser: Browser, tmp_path: Path) -> None:
    with served(store_of(tmp_path)) as empty, reading(browser, empty.url) as reader:
        page = reader.open()
        expect(page.get_by_text("Nothing to do.")).to_be_visible()
        expect(page.get_by_text("There is no incident yet")).to_be_visible()
        page.get_by_role("link", name="Settled 0").click()
        expect(page.get_by_text("Nothing is settled yet.")).to_be_visible()
        empty.store.take_alerts([shown(1, "10.0.0.9 is the first")])
        page.get_by_role("link", name="To do").click()
        expect(page.locator(".row")).to_have_count(1)


def test_of_many_incidents_only_those_in_sight_are_elements(browser: Browser, tmp_path: Path) -> None:
    many = [shown(number, f"incident {number}") for number in range(1, 901)]
    with served(store_of(tmp_path, many)) as plant, reading(browser, plant.url) as reader:
        page = reader.open()
        expect(page.locator(".row .says").first).to_have_text("incident 900")
        pane = page.locator(".pane.list")
        until = time.monotonic() + PATIENCE_S
        while "all shown" not in page.locator(".tail").inner_text():
            assert time.monotonic() < until
            pane.evaluate("pane => pane.scrollTop += 3000")
            page.wait_for_timeout(30)
            assert page.locator(".row").count() < 90
        pane.evaluate("pane => pane.scrollTop = pane.scrollHeight")
        expect(page.locator(".row .says").last).to_have_text("incident 1")
        expect(page.get_by_text("900 incidents, all shown")).to_be_visible()
