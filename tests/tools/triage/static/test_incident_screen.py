"""One incident in a real browser: understood from the top, settled by one click, undone by another."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from pipeline.alert.incidents import outcome_of
from tests.alert.suspects import scored
from tests.tools.triage.pages import store_of
from tests.tools.triage.static.browsing import Reader, Served, reading, served
from tests.tools.triage.static.incidents import START_US, shown, uid_of

pytestmark = pytest.mark.slow
WROTE = "10.0.0.9 wrote 14 registers of 10.0.0.2"
PLANT = [
    shown(1, WROTE, severity_id=5, count=2),
    {**shown(2, "10.0.0.9 seen by another sensor", sensor="top", severity_id=3), "count": 2},
    shown(3, "10.0.0.9 wrote again", talks=(("10.0.0.9", "10.0.0.2"),)),
    shown(4, "10.0.0.7 scanned", talks=(("10.0.0.7", "10.0.0.8"),), reasons=[]),
    shown(5, "sensor left has learnt", notice=True, talks=()),
]
PLANT[1]["unmapped"] |= {"first_ts_us": START_US + 3_600_000_000, "opened_ts_us": START_US + 3_600_000_000}
PLANT[1]["unmapped"]["last_ts_us"] = START_US + 3_603_000_000
PLANT[1]["evidences"] = PLANT[0]["evidences"]


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Served]:
    with served(store_of(tmp_path, PLANT)) as made:
        yield made


@pytest.fixture
def reader(browser: Browser, plant: Served) -> Iterator[Reader]:
    with reading(browser, plant.url) as made:
        yield made


def opened(reader: Reader, number: int = 1) -> Page:
    page = reader.open(f"#/incidents/{uid_of(number)}")
    expect(page.locator(".incident h1")).to_be_visible()
    return page


def test_everything_that_is_known_is_on_the_screen(reader: Reader) -> None:
    page = opened(reader)
    expect(page.locator(".incident h1")).to_have_text(WROTE)
    expect(page.locator(".sentence")).to_contain_text("seen at left (2 flows) and top (2 flows)")
    facts = page.locator(".facts").first
    expect(facts).to_contain_text("2 flows in 3.0 s")
    expect(facts).to_contain_text("plant · left + top")
    expect(page.locator(".crumbs")).to_contain_text("Critical")
    expect(page.get_by_text("certain evidence pages whatever the budget")).to_be_visible()
    bar = page.get_by_role("img", name="new partners: 13 peers, usually 0 to 0.3 peers").first
    expect(bar).to_be_visible()
    assert bar.locator(".observed").count() == bar.locator(".usual").count() == 1
    expect(page.locator(".reason").first).to_contain_text("which only 10.0.0.5 did before")
    expect(page.get_by_text("5 reasons at sensor top").or_(page.get_by_text("2 reasons at sensor top"))).to_be_visible()
    graph = page.locator("svg.graph")
    assert graph.locator(".node").count() == 2 and graph.locator(".talk").count() == 1
    expect(page.get_by_role("region", name="Table of talks")).to_contain_text("502")
    expect(page.locator(".timeline li").first).to_contain_text("first flow")
    expect(page.get_by_role("region", name="Candidate techniques")).to_contain_text("T0846 Remote System Discovery")
    expect(page.get_by_role("region", name="Witnesses")).to_contain_text("10.0.0.9 seen by another sensor")
    page.locator("summary", has_text="As OCSF 2004: 2 events").click()
    expect(page.locator("pre")).to_contain_text('"finding_info"')


def test_what_is_not_known_is_said_so(reader: Reader) -> None:
    page = opened(reader, 4)
    expect(page.get_by_text("what is usual at this sensor is not known to the model")).to_be_visible()
    page = opened(reader, 5)
    expect(page.get_by_text("A notice of a sensor has no verdict")).to_be_visible()
    expect(page.get_by_role("button", name="Benign")).to_have_count(0)
    page = reader.open("#/incidents/feedfeedfeed")
    expect(page.get_by_text("There is no such incident.")).to_be_visible()
    page.get_by_role("button", name="Back to the list").click()
    expect(page.locator(".row").first).to_be_visible()


def test_suspects_in_no_incident_are_for_review_and_listed_one_by_one(browser: Browser, tmp_path: Path) -> None:
    rows = [{"at": 600 * at, "src_addr": f"10.0.0.{at}", "dst_addr": "<img src=x>" * at} for at in (1, 2)]
    [event] = outcome_of([scored(rows)]).lone
    with served(store_of(tmp_path, [event])) as made, reading(browser, made.url) as reader:
        page = reader.open(f"#/incidents/{event['finding_info']['uid']}")
        table = page.get_by_role("region", name="Table of suspects in no incident")
        expect(table.get_by_role("row")).to_have_count(3)
        expect(table).to_contain_text("10.0.0.2 opened 1 Modbus connection (tcp/502) to <img")
        expect(page.get_by_text("Suspects in no incident have no verdict")).to_be_visible()
        expect(page.get_by_role("button", name="Benign")).to_have_count(0)
        expect(page.get_by_text("Who talked to whom")).to_have_count(0)


@pytest.mark.parametrize("width", ["narrow", "wide"])
def test_what_is_opened_and_read_stays_where_it_is_while_the_incident_grows(
    browser: Browser, plant: Served, width: str
) -> None:
    with reading(browser, plant.url, width) as reader:
        page = opened(reader)
        page.set_viewport_size({"width": 390 if width == "narrow" else 1_920, "height": 500})
        more, raw = page.locator("details.more-reasons"), page.locator("details.raw")
        more.locator("summary").click()
        raw.locator("summary").click()
        expect(raw.locator("pre")).to_contain_text('"finding_info"')
        raw.locator("pre").evaluate("element => { element.scrollTop = 40; }")
        read = page.get_by_role("heading", name="Timeline")
        page.locator(".pane.detail").evaluate(
            "(pane, line) => { pane.scrollTop += line.getBoundingClientRect().top - 150; }", read.element_handle()
        )
        before = read.bounding_box()
        grown = shown(1, f"{WROTE}; and again " + "to one register after the other " * 20, severity_id=5, count=77)
        grown["metadata"]["sequence"] = 2
        plant.store.take_alerts([grown])
        expect(page.locator(".facts").first).to_contain_text("77 flows")
        after = read.bounding_box()
        assert before is not None and after is not None and abs(after["y"] - before["y"]) <= 2
        expect(more).to_have_attribute("open", "")
        expect(raw).to_have_attribute("open", "")
        expect(raw.locator("pre")).to_contain_text("one register after the other")
        assert raw.locator("pre").evaluate("element => element.scrollTop") == 40
        page.goto(plant.url + f"#/incidents/{uid_of(4)}")
        expect(page.locator(".incident h1")).to_have_text("10.0.0.7 scanned")
        assert page.locator(".pane.detail").evaluate("pane => pane.scrollTop") == 0
        expect(page.locator("details.raw")).not_to_have_attribute("open", "")


def test_one_click_settles_it_and_another_undoes_that(reader: Reader) -> None:
    page = opened(reader)
    expect(page.locator(".preview strong")).to_have_text("False positive:")
    page.get_by_role("button", name="Benign").hover()
    expect(page.locator(".preview")).to_contain_text(re.compile("^Benign: .{20,}"))
    page.get_by_placeholder("Why (others read it)").fill("the new engineering station")
    page.get_by_role("button", name="Benign").click()
    settled = page.locator(".verdict .settled")
    expect(settled).to_contain_text("✓ Benign")
    expect(settled).to_contain_text("“the new engineering station”")
    expect(page.get_by_role("link", name="Settled 1")).to_be_visible()
    expect(page.locator(".row", has_text=WROTE)).to_contain_text("Benign")
    page.reload()
    expect(settled).to_contain_text("✓ Benign")
    settled.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("button", name="False positive")).to_be_visible()
    expect(page.get_by_role("link", name="Settled 0")).to_be_visible()


def test_the_same_again_is_suppressed_listed_and_comes_back_when_that_is_undone(reader: Reader) -> None:
    page = opened(reader)
    page.get_by_role("button", name="False positive").click()
    expect(page.locator(".settled")).to_contain_text("suppresses the same again")
    page.get_by_role("link", name="Suppressed 1").click()
    expect(page.locator(".row")).to_have_count(1)
    page.locator(".row", has_text="wrote again").click()
    expect(page.locator(".settled")).to_contain_text("Suppressed by a verdict of")
    page.get_by_role("button", name="Undo that verdict").click()
    expect(page.get_by_role("button", name="False positive")).to_be_visible()
    expect(page.get_by_role("link", name="Suppressed 0")).to_be_visible()


def test_a_scope_that_reaches_further_is_said_and_asked_once_more(reader: Reader) -> None:
    page = opened(reader)
    page.get_by_label("Suppresses").select_option(label="Anything with 10.0.0.9")
    page.get_by_label("for", exact=True).select_option(label="7 days")
    page.get_by_role("button", name="Maintenance").click()
    sure = page.get_by_role("button", name="Yes: Maintenance")
    expect(sure).to_be_visible()
    expect(page.locator(".preview")).to_contain_text(re.compile("^Maintenance: .*10.0.0.9"))
    expect(page.locator(".settled")).to_have_count(0)
    sure.click()
    expect(page.locator(".settled")).to_contain_text("address 10.0.0.9")


def test_keys_settle_and_undo(reader: Reader) -> None:
    page = opened(reader)
    page.keyboard.press("t")
    expect(page.locator(".settled")).to_contain_text("✓ True")
    expect(page.locator(".settled")).to_contain_text("suppresses nothing else")
    page.keyboard.press("f")  # settled already
    expect(page.locator(".settled")).to_contain_text("✓ True")
    page.keyboard.press("u")
    expect(page.get_by_role("button", name="True positive")).to_be_visible()
    page.keyboard.press("x")
    expect(page.locator(".settled")).to_contain_text("✓ Benign")


def test_two_analysts_see_what_the_other_does(browser: Browser, plant: Served, reader: Reader) -> None:
    ours = opened(reader)
    with reading(browser, plant.url) as other:
        theirs = opened(other)
        theirs.get_by_placeholder("Why (others read it)").fill("half a sentence")
        ours.get_by_role("button", name="Duplicate").click()
        expect(theirs.locator(".settled")).to_contain_text("✓ Duplicate")
        expect(theirs.get_by_role("link", name="Settled 1")).to_be_visible()
        theirs.get_by_role("button", name="Judge again").click()
        expect(theirs.get_by_placeholder("Why (others read it)")).to_have_value("half a sentence")
        theirs.locator(".settled").get_by_role("button", name="Undo").click()
        expect(ours.get_by_role("button", name="Duplicate")).to_be_visible()


def test_a_verdict_that_fails_says_so_and_what_was_typed_stays(reader: Reader) -> None:
    page = opened(reader)
    answer = {"error": {"where": "feedback", "got": "no broker", "expected": "one", "remedy": "start it"}}
    page.get_by_placeholder("Why (others read it)").fill("because")
    page.route("**/verdicts", lambda route: route.fulfill(status=503, json=answer))
    page.get_by_role("button", name="Benign").click()
    expect(page.locator(".verdict [role=alert]")).to_have_text("feedback: got no broker, expected one; start it")
    expect(page.get_by_placeholder("Why (others read it)")).to_have_value("because")
    page.unroute("**/verdicts")
    page.get_by_role("button", name="Benign").click()
    expect(page.locator(".settled")).to_contain_text("“because”")
