"""A verdict in words."""

from pipeline.tools.alerts.verdicts import words


def test_a_verdict_on_a_large_alert_is_about_all_of_its_flows() -> None:
    record = {"uid": "0f" * 16, "verdict": "True Positive", "members": [[0, 7, 0, 7]] * 1_024}
    assert words(record | {"members_left_out": 13_178}).endswith(": True Positive, 14,202 flows, 1,024 of them listed")
    assert words(record | {"members_left_out": 0}) == "0f0f0f0f0f0f: True Positive, 1,024 flows"
