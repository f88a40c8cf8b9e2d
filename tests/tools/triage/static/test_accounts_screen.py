"""Who may do what, in a real browser: signing in, a viewer's page, a session that ends, signing out."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from pipeline.tools.triage.accounts import Accounts
from pipeline.tools.triage.provider import Provider
from pipeline.tools.triage.sessions import Sessions
from tests.tools.triage.pages import store_of
from tests.tools.triage.static.browsing import Served, reading, served
from tests.tools.triage.static.incidents import shown, uid_of
from tests.tools.triage.test_single_sign_on import PEOPLE, User, run_server_in_thread, settings

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:get_jwt_config:DeprecationWarning")]
PASSWORD = "correct horse battery staple"


class Clock:
    """The wall clock, and what was added to it."""

    def __init__(self) -> None:
        self.ahead_us = 0

    def __call__(self) -> int:
        return time.time_ns() // 1000 + self.ahead_us


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def plant(tmp_path: Path, clock: Clock) -> Iterator[Served]:
    store = store_of(tmp_path, [shown(1), shown(2, "10.0.0.9 wrote again")])
    accounts = Accounts(store.database)
    for role in ("viewer", "analyst", "admin"):
        accounts.add(f"the-{role}", role, PASSWORD)
    with served(store, Sessions(store.database, clock)) as made:
        yield made


def sign_in(page: Page, role: str, password: str = PASSWORD) -> None:
    page.get_by_label("Name").fill(f"the-{role}")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def test_a_wrong_password_is_said_and_the_right_one_shows_what_was_asked_for(browser: Browser, plant: Served) -> None:
    with reading(browser, plant.url) as reader:
        page = reader.open(f"#/incidents/{uid_of(1)}")
        expect(page.get_by_label("Name")).to_be_focused()
        sign_in(page, "analyst", "something else entirely")
        expect(page.get_by_role("alert")).to_have_text("Name or password is wrong.")
        sign_in(page, "analyst")
        expect(page.locator(".incident h1")).to_have_text("10.0.0.9 wrote 14 registers of 10.0.1.1")
        expect(page.get_by_role("button", name="Benign")).to_be_visible()
        expect(page.get_by_role("link", name="Audit")).to_have_count(0)


def test_a_viewer_reads_and_has_no_buttons(browser: Browser, plant: Served) -> None:
    with reading(browser, plant.url) as reader:
        page = reader.open(f"#/incidents/{uid_of(1)}")
        sign_in(page, "viewer")
        expect(page.get_by_text("You can read; an analyst can settle it.")).to_be_visible()
        for name in ("Benign", "False positive", "True positive", "Undo"):
            expect(page.get_by_role("button", name=name)).to_have_count(0)
        page.keyboard.press("b")
        page.keyboard.press("u")
        page.reload()
        expect(page.get_by_text("You can read; an analyst can settle it.")).to_be_visible()


def test_a_session_that_ends_asks_again_and_goes_on_where_it_was(browser: Browser, plant: Served, clock: Clock) -> None:
    with reading(browser, plant.url) as reader:
        page = reader.open(f"#/incidents/{uid_of(2)}")
        sign_in(page, "analyst")
        expect(page.get_by_role("button", name="Benign")).to_be_visible()
        clock.ahead_us += 3 * 3_600_000_000
        # At once, not when the page is still: whatever it asks for by itself ends the session just as well.
        page.evaluate("document.querySelector('[data-hold=benign]')?.click()")
        expect(page.get_by_text("Your session has ended.")).to_be_visible()
        sign_in(page, "analyst")
        expect(page.locator(".incident h1")).to_have_text("10.0.0.9 wrote again")
        expect(page.get_by_role("button", name="Benign")).to_be_visible()


def test_a_page_that_is_left_open_does_not_keep_its_session(browser: Browser, plant: Served, clock: Clock) -> None:
    with reading(browser, plant.url) as reader:
        page = reader.open(f"#/incidents/{uid_of(2)}")
        sign_in(page, "analyst")
        expect(page.get_by_text("Alerts of a file")).to_be_visible()
        reader.wait_until_still()  # what still comes later would be taken for somebody at the page
        clock.ahead_us += 90 * 60_000_000
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        reader.wait_until_still()
        clock.ahead_us += 40 * 60_000_000
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        expect(page.get_by_text("Your session has ended.")).to_be_visible()


def test_an_admin_sees_who_did_what_and_signs_out(browser: Browser, plant: Served) -> None:
    with reading(browser, plant.url) as reader:
        page = reader.open()
        sign_in(page, "admin")
        page.get_by_role("link", name="Audit").click()
        expect(page.get_by_role("region", name="Audit")).to_contain_text("the-admin")
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_label("Name")).to_be_visible()
        page.reload()
        expect(page.get_by_label("Name")).to_be_visible()


def test_somebody_signs_in_at_the_plants_provider_and_goes_on_where_they_were(
    browser: Browser, plant: Served, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a secret")
    people = [User(sub=sub, claims=claims) for sub, claims in PEOPLE.items()]
    with run_server_in_thread(user_claims=people) as there, reading(browser, plant.url) as reader:
        issuer = f"http://localhost:{there.server_port}"
        assert plant.page is not None
        plant.page.provider = Provider(settings(issuer, client_secret_file=secret, name="the plant"))
        plant.page.url = plant.url.rstrip("/")
        reader.context.route("**/*", lambda route: _on_this_machine(route, (plant.url, issuer)))
        page = reader.open(f"#/incidents/{uid_of(1)}")
        page.get_by_role("link", name="Sign in with the plant").click()
        page.get_by_role("button", name="2", exact=True).click()
        expect(page.get_by_role("alert")).to_contain_text("in no group that may use this page")
        assert "sign-in" not in page.url
        page.goto(f"{plant.url}#/incidents/{uid_of(1)}")
        page.get_by_role("link", name="Sign in with the plant").click()
        page.get_by_role("button", name="1", exact=True).click()
        expect(page.locator(".incident h1")).to_have_text("10.0.0.9 wrote 14 registers of 10.0.1.1")
        expect(page.get_by_role("button", name="Benign")).to_be_visible()
        reader.requested = {each for each in reader.requested if not each.startswith((issuer, "https://"))}


def _on_this_machine(route: Route, addresses: tuple[str, ...]) -> None:
    """The provider's own page asks for style sheets from elsewhere: it does without."""
    if route.request.url.startswith(addresses):
        route.continue_()
    else:
        route.abort()
