"""What `alert list` and `flow score` print: what is asked for, and how many others there are, by which option."""

from collections import Counter
from typing import Any

import pytest

from pipeline.contracts.incident_joining import joined
from pipeline.errors import Usage
from pipeline.tools.alerts.filters import KINDS, PAGE, REVIEW
from pipeline.tools.alerts.incidents import document
from pipeline.tools.cli.alert_list import event_time_us, filter_of, print_counts, print_incident, print_incidents
from tests.contracts.test_incident_joining import alert
from tests.tools.alerts.test_incidents import two_witnesses

NOW_US = 1_700_000_000_000_000


def incidents(*dispositions: str) -> list[dict[str, Any]]:
    """Documents of one alert each."""
    events = [
        {**alert(at, talks=((f"s{at}", "t"),), disposition=disposition), "message": f"says {at}"}
        for at, disposition in enumerate(dispositions)
    ]
    return [document(incident) for incident in joined(events)]


def test_a_files_pages_are_listed_and_the_others_counted(capsys: pytest.CaptureFixture[str]) -> None:
    print_incidents(incidents("page", "review", "review"), review=False)
    printed = capsys.readouterr().err
    assert ": 0 flows" in printed and ": 1 flows" not in printed
    assert "1 incident to look at now; 2 more for review: --review" in printed
    assert f"--show {0:012x}" in printed


@pytest.mark.parametrize(("dispositions", "review"), [(("page", "review"), True), (("review", "review"), False)])
def test_those_for_review_are_listed_where_asked_for_or_alone(
    dispositions: tuple[str, ...], review: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    print_incidents(incidents(*dispositions), review)
    printed = capsys.readouterr().err
    assert ": 0 flows" in printed and ": 1 flows" in printed
    assert f"2 incidents, {dispositions.count('page')} of them pages" in printed


def test_a_file_without_incidents_prints_nothing_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    print_incidents([], review=True)
    assert capsys.readouterr().err == ""


def test_one_incident_is_shown_by_any_of_its_alerts_uids(capsys: pytest.CaptureFixture[str]) -> None:
    events = two_witnesses()
    for event in events:
        print_incident(events, event["finding_info"]["uid"][:12])
        assert "sensors bottom (2), left (1)" in capsys.readouterr().err
    with pytest.raises(Usage, match="got 0 incidents"):
        print_incident(events, "x")


def test_what_is_not_listed_is_counted_with_its_option(capsys: pytest.CaptureFixture[str]) -> None:
    counts = Counter({kind: number for number, kind in enumerate(KINDS, 1)})
    print_counts(counts, {PAGE}, 0)
    only_pages = capsys.readouterr().err
    for part in ("2 more for review: --review", "3 more suppressed: --suppressed", "4 more judged: --settled"):
        assert part in only_pages
    assert "5 more notices: --notices" in only_pages
    print_counts(counts, {PAGE, REVIEW}, 2)
    both = capsys.readouterr().err
    assert "3 incidents, 1 of them pages; 2 of them beyond --limit" in both and "for review" not in both


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ("90m", NOW_US - 5_400_000_000),
        ("2h", NOW_US - 7_200_000_000),
        ("3d", NOW_US - 259_200_000_000),
        ("2023-03-10T09:00:00Z", 1_678_438_800_000_000),
        ("2023-03-10", 1_678_406_400_000_000),
    ],
)
def test_a_time_is_typed_or_so_long_ago(text: str | None, expected: int | None) -> None:
    assert event_time_us("--since", text, NOW_US) == expected


def test_options_that_cannot_be_meant_are_usage() -> None:
    with pytest.raises(Usage, match="--until"):
        filter_of(None, None, None, None, None, None, None, "yesterday")
    with pytest.raises(Usage, match="--severity: got 'bad'"):
        filter_of(None, None, "bad", None, None, None, None, None)
