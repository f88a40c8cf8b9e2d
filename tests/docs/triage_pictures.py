"""The pictures of docs/triage.md, of Westermo's plant after the training's end: `python -m tests.docs.triage_pictures`.

A minute of scoring on two cores; then a real Chromium looks at a page that is served for it.
"""

import io
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from loadtest.plants.westermo import traffic
from pipeline.ingest.files.offline_rows import decode_file
from pipeline.settings import Settings, load_settings
from pipeline.tools.assets.current import CurrentAssets
from pipeline.tools.assets.devices import assets_of
from pipeline.tools.assets.documents import assets_in
from pipeline.tools.assets.inventory import inventory_of
from pipeline.tools.offline import flow_file
from pipeline.tools.triage.plant import Plant
from tests.tools.triage.pages import store_of
from tests.tools.triage.static.browsing import launched, served

DOCS = Path(__file__).resolve().parents[2] / "docs"
COLOURS = 220
MAX_BYTES = 200_000
SHOWN = "Port Scan"


def plant(folder: Path, settings: Settings) -> tuple[list[dict[str, Any]], CurrentAssets]:
    """The alerts of both sensors as the shipped model makes them, and the devices that their flows show."""
    alerts: list[dict[str, Any]] = []
    flows: list[pa.RecordBatch] = []
    for sensor in traffic.SENSORS:
        path = folder / f"{sensor}.csv"
        traffic.write_after_cut(sensor, path)
        decoded = decode_file(
            path,
            site=traffic.SITE,
            sensor=sensor,
            ingest_ts_us=time.time_ns() // 1000,
            max_future_us=settings.max_future_us,
        )
        scored = flow_file.score(flow_file.featurize(decoded, settings), settings)
        alerts += scored.incidents
        flows.append(scored.rows)
    sites = assets_of(inventory_of(flows))
    return alerts, CurrentAssets(sites, assets_in(sites.values(), {}), {}, {}, [])


def picture(page: Page, name: str) -> None:
    """Write what the window shows, in few colours: some ten kilobytes."""
    page.wait_for_timeout(400)
    image = Image.open(io.BytesIO(page.screenshot(animations="disabled"))).convert("RGB")
    target = DOCS / f"triage-{name}.png"
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(target, optimize=True)
    size = target.stat().st_size
    assert size <= MAX_BYTES, f"{target}: {size:,} bytes, expected at most {MAX_BYTES:,}"
    print(f"{target.name}: {size:,} bytes")  # noqa: T201 - a tool for a terminal


def window(browser: Browser, width: int, height: int) -> Page:
    """A window of one size, in light colours, whose clock is in UTC."""
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme="light", timezone_id="UTC")
    return context.new_page()


def main() -> None:
    """Make all pictures."""
    settings = load_settings()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        alerts, assets = plant(folder, settings)
        with launched() as browser, served(store_of(folder, alerts)) as made:
            assert made.page is not None
            made.page.plant = Plant(settings, lambda _settings: assets)
            page = window(browser, 1280, 800)
            page.goto(made.url)
            expect(page.locator(".row").nth(4)).to_be_visible()
            picture(page, "incidents")
            row = page.locator(".row", has_text=SHOWN).first
            address = row.get_attribute("href")
            row.click()
            expect(page.locator(".preview strong")).to_be_visible()
            picture(page, "incident")
            page.goto(f"{made.url}#/assets")
            expect(page.locator("svg.map .device").first).to_be_visible()
            picture(page, "map")
            phone = window(browser, 390, 844)
            phone.goto(made.url + str(address))
            expect(phone.locator(".preview strong")).to_be_visible()
            picture(phone, "phone")


if __name__ == "__main__":
    main()
