"""What flows carry is text on the page: never markup, never a control, never a direction that spreads."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from playwright.sync_api import Browser, expect

from tests.examples import examples
from tests.tools.triage.pages import store_of
from tests.tools.triage.static.browsing import reading, served
from tests.tools.triage.static.incidents import shown, uid_of

pytestmark = pytest.mark.slow
MARKUP = "<img src=x onerror=document.title='taken'><script>document.title='taken'</script><b>bold</b>"
STEERING = "\x1b[2J\x1b[31mred\x07 \u202egnirts\u202c \u2066iso\u2069 \u200bzero\ufeff"
NAMES = (MARKUP, STEERING, "javascript:document.title='taken'", "\u202e" * 40, "a" * 300)


def test_hostile_text_is_shown_harmless_everywhere(browser: Browser, tmp_path: Path) -> None:
    alerts = []
    for number, name in enumerate(NAMES, 1):
        reason = {"feature": name[:40], "label": name, "unit": name, "share": 1.0, "says": f"{name}: 1, usually 2"}
        made = shown(number, f"{name} said hello", reasons=[reason], talks=((name[:120], f"10.0.9.{number}"),))
        made["finding_info"]["title"] = name[:200]
        made["attacks"] = [{"technique": {"uid": name[:30], "name": name[:60]}}]
        alerts.append(made)
    with served(store_of(tmp_path, alerts)) as plant, reading(browser, plant.url) as reader:
        page = reader.open()
        expect(page.locator(".row")).to_have_count(len(NAMES))
        for number in range(1, len(NAMES) + 1):
            page.goto(f"{plant.url}#/incidents/{uid_of(number)}")
            expect(page.locator("details.raw summary")).to_contain_text(uid_of(number))
            page.locator("details.raw summary").click()
            expect(page.locator("pre")).to_contain_text("finding_info")
            assert "taken" not in page.title() or "title='taken'" in page.title()
            assert page.locator("#app img[src='x'], #app script, #app b").count() == 0
            shown_text = page.locator("body").evaluate("body => body.textContent")
            assert not set(shown_text) & set("\x1b\x07\u202e\u202c\u2066\u2069\u200b\ufeff")
            assert page.locator(".incident h1 > bdi").count() == 1
        assert "\\u202e" in page.locator(".row").nth(1).inner_text()
        assert page.evaluate("document.title") != "taken"


@pytest.mark.hypothesis  # its property is within
def test_no_text_of_any_kind_becomes_more_than_text(browser: Browser, tmp_path: Path) -> None:
    with served(store_of(tmp_path)) as plant, reading(browser, plant.url) as reader:
        page = reader.open()

        @settings(max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture])
        @given(st.text(max_size=60) | st.text("\u202e\u2066\u200b\x1b<>&:javascript", max_size=30))
        def is_text(text: str) -> None:
            kinds, said = page.evaluate(
                """async (text) => {
                    const { h, own } = await import("./js/dom.js");
                    const made = h("p", { title: text, href: text, "aria-label": text }, own(text), text);
                    const nodes = [...made.childNodes].map((node) => node.nodeName);
                    return [nodes, made.textContent + made.title + made.getAttribute("href")];
                }""",
                text,
            )
            assert set(kinds) <= {"BDI", "#text"}
            assert not any(ord(each) < 32 and each not in "\n\t" for each in said)
            assert not any("\u202a" <= each <= "\u202e" or "\u2066" <= each <= "\u2069" for each in said)
            assert "javascript:" not in said.lower() or "javascript:" in text.lower()

        is_text()
        assert (
            page.evaluate(
                """async () => (await import("./js/dom.js")).h("a", { href: "javascript:x" }).getAttribute("href")"""
            )
            == "#/"
        )
