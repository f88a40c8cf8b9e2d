"""What is worth a line: few lines an incident, in whatever order its alerts come."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts.incident_joining import DAY_US
from pipeline.contracts.suppression import Suppressions
from pipeline.contracts.verdicts import standing
from pipeline.tools.alerts import changes
from pipeline.tools.alerts.changes import IncidentChanges
from tests.contracts.test_incident_joining import alert


def event(uid: int, revision: int, sensor: str = "left", **changed: Any) -> dict[str, Any]:
    """A revision of an alert; open unless said otherwise."""
    return {**alert(uid, sensor, sequence=revision, **{"activity_id": 1, **changed}), "message": "it"}


def said(*events: dict[str, Any]) -> list[str]:
    """What is said, where every event comes alone."""
    follow, rules = IncidentChanges(), Suppressions(standing([]))
    return [change.what for each in events for change in follow.add([each], rules)]


def test_an_incident_is_said_when_it_is_new_and_when_it_has_ended() -> None:
    assert said(event(1, 1), event(1, 2, count=9), event(1, 3, activity_id=3)) == ["new", "ended"]


def test_an_incident_that_opens_and_ends_at_once_is_one_line() -> None:
    follow = IncidentChanges()
    (change,) = follow.add([event(1, 1), event(1, 2, activity_id=3)])
    assert (change.what, change.document["flows"]) == ("ended", 1)


def test_growth_by_ten_a_page_a_graver_one_and_a_new_technique_are_said() -> None:
    technique = [{"technique": {"uid": "T0846", "name": "Remote System Discovery"}}]
    steps = [
        event(1, 1),
        event(1, 2, count=9),
        event(1, 3, count=10),
        event(1, 4, count=99, disposition="page"),
        event(1, 5, count=100, severity_id=4, disposition="page"),
        {**event(1, 6, count=100, severity_id=4, disposition="page"), "attacks": technique},
        {**event(1, 7, count=101, severity_id=4, disposition="page"), "attacks": technique},
    ]
    assert said(*steps) == ["new", "grows", "pages", "worse", "grows"]


def test_a_second_witness_is_nothing_new() -> None:
    both = [event(1, 1), event(2, 1, "bottom"), event(2, 2, "bottom", activity_id=3), event(1, 2, activity_id=3)]
    assert said(*both) == ["new", "ended"]
    assert said(*both[1:2], *both[:1], *both[2:]) == ["new", "ended"]


def test_revisions_read_twice_or_out_of_order_say_nothing() -> None:
    assert said(event(1, 2, count=50), event(1, 1), event(1, 2, count=50)) == ["new"]


def test_a_notice_is_said_once() -> None:
    assert said(event(1, 1, notice=True), event(1, 1, notice=True)) == ["notice"]


def test_what_came_longest_ago_is_forgotten(monkeypatch: Any) -> None:
    monkeypatch.setattr(changes, "MAX_ALERTS", 10)
    days = [event(day, 1, first_us=day * DAY_US) for day in range(20)]
    assert said(*days, days[-1], days[0]) == ["new"] * 21


STEPS = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(["left", "bottom"]), st.integers(1, 2000), st.booleans()), max_size=40
)


@given(STEPS)
def test_no_alert_is_new_twice_and_few_lines_are_said(steps: list[tuple[int, str, int, bool]]) -> None:
    follow, revisions, new, lines = IncidentChanges(), dict[int, int](), set[str](), 0
    for uid, sensor, count, ends in steps:
        number = uid * 2 + (sensor == "left")
        revisions[number] = revisions.get(number, 0) + 1
        made = event(number, revisions[number], sensor, count=count, activity_id=3 if ends else 1, first_us=uid)
        for what, document in follow.add([made]):
            lines += 1
            if what == "new":
                uids = {member["uid"] for member in document["members"]}
                assert uids.isdisjoint(new)
                new |= uids
    # Each alert at most: new, ended, and three times ten times as large.
    assert lines <= 5 * len(revisions)
