"""An incident in a line of 120 columns and on a page: whether somebody should look now stands in it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.alert.incidents import incidents_of
from pipeline.contracts.baseline import Evidence
from pipeline.contracts.incident_joining import joined
from pipeline.tools.alerts.incidents import document
from pipeline.tools.alerts.lines import LINE_WIDTH, change_line, line, list_lines, page
from tests.alert.suspects import scored
from tests.alert.test_evidence import shown
from tests.contracts.test_incident_joining import SCANNER, alert
from tests.tools.alerts.printed import printed
from tests.tools.alerts.test_incidents import two_witnesses


def line_of(event: dict[str, Any]) -> str:
    """The line of one alert's incident."""
    return line(document(joined([event])[0])).plain


def test_a_page_and_a_review_are_told_apart() -> None:
    first = [shown(Evidence.NEW_CONTROLLER), shown(Evidence.NEW_CONTROLLER, at=100, raw_offset=1)]
    paged, review = incidents_of([scored(first)])
    assert " page " in line_of(paged) and " review " in line_of(review)
    assert "10.0.0.7" in printed(review)


def test_an_alert_of_a_version_before_pages_is_held_back_by_nobody() -> None:
    [event] = incidents_of([scored([shown(Evidence.NEW_CONTROLLER)])])
    for name in ("disposition", "disposition_reason", "disposition_says", "level"):
        del event["unmapped"][name]
    assert " page " in line_of(event)
    assert "page: not said" in printed(event)


def test_a_page_shows_both_witnesses_and_the_flows_once() -> None:
    text = printed(*two_witnesses(), terminal=False)
    assert "sensors bottom (2), left (1)" in text
    assert "At sensor bottom: alert" in text and "At sensor left: alert" in text
    assert text.count("Who with whom") == 2


def test_a_page_is_from_when_the_first_flow_began() -> None:
    ended_us = 1_700_000_024_100_000
    event = {**alert(1, first_us=ended_us, last_us=ended_us), "message": "it", "start_time": 1_700_000_000_000}
    (incident,) = joined([event])
    table = page(incident, document(incident))[3]
    cells = [str(cell) for cell in cells_of(table)]
    assert any("22:13:20" in cell for cell in cells) and any("22:13:44" in cell for cell in cells)


def test_a_verdict_and_what_suppresses_stand_in_the_line_and_on_the_page() -> None:
    (incident,) = joined([{**alert(1), "message": "it"}])
    verdict = {"verdict": "fp", "by": "Kim", "at_us": 0, "note": "the \x1b[2J scanner"}
    judged = {**document(incident), "verdict": verdict, "settled": True}
    assert " fp " in line(judged).plain
    suppressed = {**document(incident), "suppressed": {**verdict, "verdict_id": "ab12"}}
    assert " suppr. " in line(suppressed).plain
    cells = [str(cell) for made in (judged, suppressed) for part in page(incident, made) for cell in cells_of(part)]
    assert any("fp by Kim, 1970-01-01" in cell and "\\x1b[2J" in cell for cell in cells)
    assert any(cell.startswith("by verdict ab12") for cell in cells)


def cells_of(part: Any) -> list[Any]:
    """The cells of a table, or the text itself."""
    return [cell for column in part.columns for cell in column.cells] if hasattr(part, "columns") else [part]


def test_the_day_and_the_site_stand_once_where_they_are_the_same() -> None:
    day_us = 86_400_000_000
    events = [
        {**alert(at, talks=((SCANNER, f"h{at}"),), first_us=at // 2 * day_us), "message": "it"} for at in (3, 2, 0)
    ]
    listed = [document(incident) for incident in joined(events)][::-1]
    text = [each.plain for each in list_lines(listed)]
    assert [each for each in text if each.endswith("(UTC)")] == ["1970-01-02 (UTC)", "1970-01-01 (UTC)"]
    assert not any("plant/" in each for each in text)
    listed[0] = {**listed[0], "site": "other"}
    assert any("other/left" in each.plain for each in list_lines(listed))
    assert not any("(UTC)" in each.plain for each in list_lines(listed, by_day=False))


@given(st.text(max_size=300), st.text(max_size=40), st.text(max_size=40), st.integers(40, 200))
def test_a_line_is_one_line_and_fits_whatever_stands_in_it(says: str, site: str, sensor: str, width: int) -> None:
    (incident,) = joined([{**alert(1, sensor, site=site), "message": says}])
    made = document(incident)
    for text in (*list_lines([made], width), line(made, width)):
        assert text.plain.isprintable()
        assert text.cell_len <= width
    assert change_line("new", made).plain.startswith("new ")
    assert change_line("new", made).cell_len <= LINE_WIDTH


@pytest.mark.parametrize("evil", ["\x1b[2J\x1b]0;owned\x07", "[red]x[/]", "\u202eevil", "a\nb"])
def test_hostile_text_is_harmless_on_a_page(evil: str) -> None:
    [event] = incidents_of([scored([shown(Evidence.NEW_CONTROLLER)])])
    event["message"] = event["finding_info"]["title"] = evil
    event["unmapped"]["reasons"] = [{"feature": evil, "says": evil, "share": 1.0}]
    text = printed(event)
    assert "\x1b" not in text and "\u202e" not in text
    if evil.startswith("[red]"):
        assert "[red]x[/]" in text
