"""50,000 incidents: how soon the list is seen, and how long frames take while one scrolls; printed with -s."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.tools.triage.pages import store_of
from tests.tools.triage.static.browsing import reading, served
from tests.tools.triage.static.incidents import shown

pytestmark = pytest.mark.slow
# What a large plant has; the smaller list shows at every run that neither painting nor scrolling depends on its length.
COUNTS = [5_000, pytest.param(50_000, marks=pytest.mark.nightly)]
SEEN_MS = """() => performance.getEntriesByName("first-contentful-paint")[0].startTime"""
LISTED_MS = """() => new Promise((resolve) => {
    const seen = () => document.querySelectorAll(".row").length > 10;
    const check = () => seen() ? resolve(performance.now()) : requestAnimationFrame(check);
    check();
})"""
SCROLL = """async () => {
    const pane = document.querySelector(".pane.list");
    const times = [];
    for (let step = 0; step < 60; step += 1) {
        const from = performance.now();
        pane.scrollTop += 700;
        await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
        times.push(performance.now() - from);
    }
    times.sort((a, b) => a - b);
    return { median: times[30], longest: times[59], rows: document.querySelectorAll(".row").length };
}"""


@pytest.mark.parametrize("incidents", COUNTS)
def test_a_list_holds_no_more_rows_than_are_seen(
    browser: Browser, tmp_path: Path, capsys: pytest.CaptureFixture[str], incidents: int
) -> None:
    def address(number: int, net: int) -> str:
        return f"{net}.{number >> 16}.{number >> 8 & 255}.{number & 255}"

    alerts = [
        shown(
            number, f"incident {number}", site=f"site-{number % 3}", talks=((address(number, 10), address(number, 11)),)
        )
        for number in range(1, incidents + 1)
    ]
    store = store_of(tmp_path, alerts)
    with served(store) as plant, reading(browser, plant.url) as reader:
        page = reader.open("#/incidents?site=site-0")  # the server's and the browser's caches are warm
        expect(page.locator(".row").first).to_be_visible()
        found = []
        for address_of in ("#/incidents", "#/incidents?site=site-1", "#/incidents?view=all&site=site-2&sort=-severity"):
            page.goto("about:blank")
            page.goto(plant.url + address_of, wait_until="commit")
            listed_ms = page.evaluate(LISTED_MS)
            found.append((address_of, round(page.evaluate(SEEN_MS)), round(listed_ms)))
        scrolled = page.evaluate(SCROLL)
    with capsys.disabled():
        for address_of, seen_ms, listed_ms in found:
            print(f"\n{incidents:,} incidents, {address_of}: first paint {seen_ms} ms, listed {listed_ms} ms", end="")  # noqa: T201
        print(f"\na frame of scrolling: median {scrolled['median']:.0f} ms, longest {scrolled['longest']:.0f} ms")  # noqa: T201
    assert scrolled["rows"] < 120
