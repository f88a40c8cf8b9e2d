"""The golden alerts, from real captures, are what the program says of them now."""

import orjson
import pytest

from tests.alert.golden_alerts import CAPTURES, HERE, Capture, alerts_of

GOLDEN = orjson.loads(HERE.read_bytes())


def test_there_are_twenty_and_more() -> None:
    assert len(GOLDEN) >= 20
    assert {alert["capture"] for alert in GOLDEN} == {each.name for each in CAPTURES}


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda each: each.name)
def test_a_capture_gives_its_golden_alerts(capture: Capture) -> None:
    if not capture.file.exists():
        pytest.skip(f"not proven: the alerts of {capture.name} (FOREBAY_TEST_DATA holds no {capture.path})")
    assert alerts_of(capture) == [alert for alert in GOLDEN if alert["capture"] == capture.name]


@pytest.mark.parametrize("alert", GOLDEN, ids=lambda each: f"{each['capture']} {each['incident']}")
def test_a_golden_alert_starts_with_who_did_what_and_ends_with_where(alert: dict[str, str]) -> None:
    facts = alert["says"].split("). ")[0]
    assert ", since " in facts and "UTC (" in facts
    if "title" in alert:
        assert facts.startswith(alert["title"].split(": ", 1)[1])
