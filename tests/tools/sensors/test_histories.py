"""What notices add up to: each counted once, sensors that do not get on named, words for all of it."""

from dataclasses import replace

import pytest

from pipeline.contracts.baseline import Phase
from pipeline.contracts.notice_words import headline, moment, relation_lines, relation_words
from pipeline.contracts.notices import (
    ADMITTED,
    ANCHORED,
    CHANGED,
    KINDS,
    LEARNT,
    RELEARNT,
    SILENT,
    STATUS,
    UNDONE,
    NamedRelation,
    Notice,
)
from pipeline.featurize.baseline.kinds import MOST_USUAL
from pipeline.featurize.baseline.relations import MOST_RELATIONS
from pipeline.tools.sensors.histories import GONE_US, QUIET_US, StoredNotice, document, histories, remarks, row
from pipeline.tools.sensors.lines import history_lines
from schemas.learning import Learning

BEGAN_US = 1_445_353_842_000_000
HOUR_US = 3_600_000_000
FIGURES = {
    "began_us": BEGAN_US,
    "flows": 8_721,
    "kinds": 379,
    "usual_kinds": 96,
    "relations": 20,
    "usual_relations": 13,
    "turned_away": 0,
    "displaced": 0,
}
USE = NamedRelation("use", "10.0.0.7", "10.0.0.20", "502/tcp", 2, BEGAN_US, BEGAN_US + 60_000_000)
LEARNING = Learning()


def notice(kind: str, number: int = 1, phase: Phase = Phase.ANCHORED, hours: float = 3, **facts: object) -> Notice:
    at_us = BEGAN_US + round(hours * HOUR_US)
    given = {"sensor": "gate", "at_us": at_us, "since_us": at_us, "figures": FIGURES, **facts}
    return Notice(site="dam", number=number, kind=kind, phase=phase, **given)  # type: ignore[arg-type]


def stored(*notices: Notice) -> list[StoredNotice]:
    return [StoredNotice(each, at, 0) for at, each in enumerate(notices)]


def test_what_was_written_twice_counts_once_and_the_last_one_says_the_phase() -> None:
    learnt, anchored = notice(LEARNT, 1, Phase.SETTLING), notice(ANCHORED, 2, hours=6, relations=(USE,))
    status = notice(STATUS, 2, hours=7)
    (history,) = histories(stored(learnt, status, anchored, learnt, anchored, status)).values()
    assert history.notices == [learnt, anchored]
    assert (history.last.notice, history.phase, history.name) == (status, "anchored", ("dam", "gate"))


def test_a_number_that_begins_again_is_another_notice() -> None:
    first, second = notice(LEARNT), notice(LEARNT, hours=90)
    (history,) = histories(stored(first, second)).values()
    assert history.notices == [first, second]


def test_sensors_that_get_on_have_no_remark() -> None:
    learning = notice(STATUS, 0, Phase.LEARNING, hours=1, since_us=BEGAN_US)
    for each in (learning, notice(ANCHORED)):
        (history,) = histories(stored(each)).values()
        assert remarks(history, LEARNING, now_us=QUIET_US) == []


@pytest.mark.parametrize(
    ("phase", "figures", "words"),
    [
        (Phase.LEARNING, {"flows": 12}, "with 12 flows, 100 are needed"),
        (Phase.LEARNING, {}, "more than half of what comes is still new"),
        (Phase.CHANGED, {}, "more than half of what comes is still new"),
        (Phase.ANCHORED, {"usual_kinds": MOST_USUAL}, "tables are full"),
        (Phase.ANCHORED, {"usual_relations": MOST_RELATIONS, "relations": MOST_RELATIONS}, "tables are full"),
        (Phase.ANCHORED, {"relations": MOST_RELATIONS}, "more relations between hosts than the 32,768"),
    ],
)
def test_a_sensor_that_does_not_get_on_says_why(phase: Phase, figures: dict[str, int], words: str) -> None:
    status = notice(STATUS, 0, phase, hours=25, since_us=BEGAN_US, figures=FIGURES | figures)
    (history,) = histories(stored(status)).values()
    (remark,) = remarks(history, LEARNING, now_us=0)
    assert words in remark.what
    assert remark.remedy


def test_a_sensor_that_learns_for_ever_because_too_much_comes_says_both() -> None:
    full = {"relations": MOST_RELATIONS, "usual_relations": 9_000}
    status = notice(STATUS, 0, Phase.LEARNING, hours=25, since_us=BEGAN_US, figures=FIGURES | full)
    (history,) = histories(stored(status)).values()
    learns, is_full = remarks(history, LEARNING, now_us=0)
    assert "still new" in learns.what and "more relations" in is_full.what and "VLAN" in is_full.remedy


def test_a_sensor_that_sends_nothing_is_named() -> None:
    (history,) = histories(stored(notice(STATUS))).values()
    (remark,) = remarks(history, LEARNING, now_us=QUIET_US + 1)
    assert remark.what == "nothing for 3 h 0 min"
    assert remarks(history, LEARNING, now_us=GONE_US + 1) == [], "it was taken away"


def test_every_kind_of_notice_and_relation_has_words() -> None:
    for kind in KINDS:
        assert headline(notice(kind, relations=(USE,)))
    for what in ("use", "talk", "write", "control", "function", "hardware"):
        assert relation_words(replace(USE, what=what)).startswith("10.0.0.7 ")


def test_a_relation_is_a_sentence() -> None:
    says = relation_words(USE)
    assert says == ("10.0.0.7 used 502/tcp of 10.0.0.20, in 2 stretches, 2015-10-20 15:10:42Z to 15:11:42Z")
    once = replace(USE, what="talk", target="224.0.0.22", service="igmp", blocks=1, last_us=USE.first_us)
    assert relation_words(once) == "10.0.0.7 sent igmp to a group (224.0.0.22), once, at 2015-10-20 15:10:42Z"
    assert relation_lines(notice(ANCHORED, relations=(USE,), more=7))[-1] == "and 7 more"
    taken_back = replace(USE, blocks=0, first_us=USE.last_us + HOUR_US)
    assert relation_words(taken_back) == "10.0.0.7 used 502/tcp of 10.0.0.20, last at 2015-10-20 15:11:42Z"


def test_what_was_taken_back_twice_says_that_nothing_was_left() -> None:
    words = headline(notice(UNDONE, figures=FIGURES | {"undone": 3}))
    assert words == "a person took back #3: nothing of it was left, by what was asked since"


def test_a_history_is_read_from_the_first_flow_on() -> None:
    learnt = notice(LEARNT, 1, Phase.SETTLING, hours=2)
    anchored = notice(ANCHORED, 2, hours=6, relations=(USE,))
    changed = notice(CHANGED, 3, Phase.CHANGED, hours=30)
    admitted, silent = notice(ADMITTED, 4, hours=40, relations=(USE,)), notice(SILENT, 5, hours=41, relations=(USE,))
    (history,) = histories(stored(learnt, anchored, changed, admitted, silent)).values()
    lines = history_lines(history)
    assert lines[0] == "2015-10-20 15:10:42Z       learning from its first flow on"
    assert lines[1].startswith("2015-10-20 17:10:42Z  #1   learnt: 96 of 379 kinds of flow")
    assert "1 thing came and did not come back" in lines[2]
    assert lines[3].strip().startswith("10.0.0.7 used 502/tcp of 10.0.0.20")
    assert [line[22:26].strip() for line in lines if line[22] == "#"] == ["#1", "#2", "#3", "#4", "#5"]


def test_a_sensor_that_still_learns_has_a_history() -> None:
    (history,) = histories(stored(notice(STATUS, 0, Phase.LEARNING, since_us=BEGAN_US))).values()
    assert history_lines(history) == ["2015-10-20 15:10:42Z       learning from its first flow on"]


def test_a_sensor_that_began_anew_learns_in_its_history_at_once() -> None:
    relearnt = notice(RELEARNT, 2, Phase.LEARNING, figures=dict.fromkeys(FIGURES, 0))
    status = notice(STATUS, 2, Phase.LEARNING, hours=5, since_us=BEGAN_US)
    (history,) = histories(stored(notice(LEARNT), relearnt)).values()
    assert sum("learning from" in line for line in history_lines(history)) == 1
    (history,) = histories(stored(notice(LEARNT), relearnt, status)).values()
    assert history_lines(history)[-1] == "2015-10-20 15:10:42Z       learning from its first flow on"


def test_a_sensor_is_a_row_and_a_document() -> None:
    (history,) = histories(stored(notice(LEARNT, 1, Phase.SETTLING))).values()
    assert row(history)[:6] == ["dam/gate", "settling", "2015-10-20 18:10", 8_721, "96 of 379", "13 of 20"]
    made = document(history, remarks(history, LEARNING, QUIET_US * 2))
    assert (made["phase"], made["usual_relations"], len(made["remarks"])) == ("settling", 13, 1)


def test_a_time_that_no_calendar_has_is_a_number() -> None:
    assert moment(-(1 << 62)) == f"{-(1 << 62)} us"
