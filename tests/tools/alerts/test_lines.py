"""An alert in a line: whether somebody should look now stands in it."""

from pipeline.alert.incidents import incidents_of
from pipeline.contracts.baseline import Evidence
from pipeline.tools.alerts.lines import is_page, line, page
from tests.alert.suspects import scored
from tests.alert.test_evidence import shown


def test_a_page_and_a_review_are_told_apart() -> None:
    first = [shown(Evidence.NEW_CONTROLLER), shown(Evidence.NEW_CONTROLLER, at=100, raw_offset=1)]
    paged, review = incidents_of([scored(first)])
    assert [is_page(event) for event in (paged, review)] == [True, False]
    assert "ended   page   " in line(paged).plain and "ended   review " in line(review).plain
    words = [str(part) for part in page(review)]
    assert any("10.0.0.7" in word for word in words)


def test_an_alert_of_a_version_before_pages_is_held_back_by_nobody() -> None:
    [event] = incidents_of([scored([shown(Evidence.NEW_CONTROLLER)])])
    for name in ("disposition", "disposition_reason", "disposition_says", "level"):
        del event["unmapped"][name]
    assert is_page(event) and "ended   ?      " in line(event).plain
    assert page(event)
