"""What an output sends: pages, joined over sensors, each revision once, in bounded memory."""

from typing import Any

import pytest

from pipeline.alert.pages import PAGE
from pipeline.contracts.incident_joining import joined
from pipeline.contracts.suppression import Suppressions
from pipeline.contracts.verdicts import standing
from pipeline.tools.alerts.incidents import document
from pipeline.tools.outputs import selection
from pipeline.tools.outputs.revision import ENDED, GROWN, NEW, Revision
from pipeline.tools.outputs.selection import MALFORMED, REPEAT, REVIEW, SUPPRESSED, UPDATE, Selection
from schemas.outputs import FileOutput
from tests.contracts.verdict_records import MAX_US, given_on
from tests.tools.outputs.revisions import event

DAY_US = 86_400_000_000


def output(**changed: Any) -> FileOutput:
    return FileOutput(name="disk", file="/var/lib/alerts.ndjson", **changed)


def alert(number: int = 1, activity: int = 1, page: bool = True, day: int = 0, uid: str = "", **columns: Any) -> Any:
    """An event with a revision, an activity and a disposition."""
    made = event(**columns)
    about = made["unmapped"]
    for name in ("opened_ts_us", "first_ts_us", "last_ts_us"):
        about[name] += day * DAY_US
    about["disposition"] = PAGE if page else "review"
    made["metadata"]["sequence"], made["activity_id"] = number, activity
    made["finding_info"]["uid"] = uid or made["finding_info"]["uid"]
    return made


def test_each_revision_is_sent_once() -> None:
    first, grown, ended = alert(), alert(2, 2), alert(3, 3)
    chosen = Selection(output()).choose([first, grown, first, grown, ended, ended])
    assert [each.activity if isinstance(each, Revision) else each for each in chosen] == [
        NEW, GROWN, REPEAT, REPEAT, ENDED, REPEAT,
    ]  # fmt: skip
    assert [each.key[-2:] for each in chosen if isinstance(each, Revision)] == ["-1", "-2", "-3"]


def test_only_pages_unless_all_are_wanted() -> None:
    assert Selection(output()).choose([alert(page=False)]) == [REVIEW]
    [sent] = Selection(output(send="all")).choose([alert(page=False)])
    assert isinstance(sent, Revision) and not sent.is_page


def test_a_later_page_is_new_to_the_receiver() -> None:
    chosen = Selection(output())
    assert chosen.choose([alert(page=False)]) == [REVIEW]
    [sent] = chosen.choose([alert(2, 2)])
    assert isinstance(sent, Revision) and sent.activity == NEW


def test_updates_are_left_out_where_they_are_not_wanted() -> None:
    first, *others = Selection(output(updates=False)).choose([alert(), alert(2, 2), alert(3, 3)])
    assert isinstance(first, Revision) and others == [UPDATE, UPDATE]


def test_two_sensors_that_see_the_same_are_one_incident() -> None:
    chosen = Selection(output())
    [first] = chosen.choose([alert()])
    [second] = chosen.choose([alert(sensor="bottom")])
    assert isinstance(first, Revision) and isinstance(second, Revision)
    assert first.uid in (second.uid, first.uid) and second.sensors and set(second.sensors) == {"left", "bottom"}
    assert second.activity == GROWN and second.key != first.key and second.flows == 42
    [ended] = chosen.choose([alert(3, 3)])
    assert isinstance(ended, Revision) and ended.activity == GROWN, "one of its alerts goes on"
    [all_ended] = chosen.choose([alert(3, 3, sensor="bottom")])
    assert isinstance(all_ended, Revision) and all_ended.activity == ENDED
    assert {each.uid for each in (second, ended, all_ended)} == {second.uid}


def test_without_updates_a_second_witness_is_none() -> None:
    first, second = Selection(output(updates=False)).choose([alert(), alert(sensor="bottom")])
    assert isinstance(first, Revision) and second == UPDATE


def test_what_a_verdict_suppresses_is_not_sent() -> None:
    judged = document(joined([alert()])[0])
    again = alert(uid="f" * 32, day=1)
    verdict = given_on(judged, scope={"kind": "asset", "address": "198.18.134.11"}, from_us=0, expires_us=MAX_US)
    chosen = Selection(output(), Suppressions(standing([verdict])))
    assert chosen.choose([again]) == [SUPPRESSED]
    chosen.rules = Suppressions(standing([]))
    [sent] = chosen.choose([alert(2, 2, uid="f" * 32, day=1)])
    assert isinstance(sent, Revision) and sent.activity == NEW, "undone: the receiver hears of it for the first time"


def test_what_was_dealt_with_before_is_known() -> None:
    chosen = Selection(output())
    chosen.remember([alert()])
    repeated, grown = chosen.choose([alert(), alert(2, 2)])
    assert repeated == REPEAT and isinstance(grown, Revision) and grown.activity == GROWN


@pytest.mark.parametrize(
    "malformed",
    [{}, {"finding_info": 3}, [], None, 7, "text", {**event(), "severity_id": 9}, {**event(), "message": 3}],
)
def test_what_is_no_alert_of_ours_is_counted(malformed: Any) -> None:
    first, sent = Selection(output()).choose([malformed, alert()])
    assert first == MALFORMED and isinstance(sent, Revision)


def test_memory_is_bounded_by_days_and_number(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = Selection(output())
    days = [alert(day=day, uid=f"{day:032x}") for day in range(6)]
    assert all(isinstance(each, Revision) for each in chosen.choose(days))
    assert chosen.remembered == selection.MAX_DAYS
    monkeypatch.setattr(selection, "MAX_REMEMBERED", 20)
    chosen = Selection(output())
    flood = [alert(uid=f"{number:032x}", src_addr=f"198.18.0.{number}") for number in range(50)]
    assert all(isinstance(each, Revision) for each in chosen.choose(flood[:15]) + chosen.choose(flood[15:30]))
    assert chosen.remembered == 20


def test_late_alerts_of_a_forgotten_day_are_sent() -> None:
    chosen = Selection(output())
    chosen.choose([alert(day=day, uid=f"{day:032x}") for day in range(1, 6)])
    [late] = chosen.choose([alert(day=0)])
    assert isinstance(late, Revision)
