"""The notices of a baseline: each thing once, in order, in words that name who and what."""

from typing import Any

import pytest

from pipeline.contracts.notices import ADMITTED, ANCHORED, LEARNT, MOST_RELATIONS, STATUS, Notice
from pipeline.featurize.baseline.baseline_notices import service_words
from tests.featurize.baseline.plant import QUICK, lived, poll, polls
from tests.featurize.flows import SECOND, START_US


def _told(rows: list[dict[str, Any]], kind: str) -> list[Notice]:
    return [notice for notice in lived(rows)[1] if notice.kind == kind]


def _sorted(*parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted((row for part in parts for row in part), key=lambda row: float(row["at"]))


def test_notices_are_numbered_and_of_their_sensor() -> None:
    rows = _sorted(polls(700), [poll(at, "10.0.0.66") for at in range(300, 700, 10)])
    notices = [notice for notice in lived(rows)[1] if notice.kind != STATUS]
    assert [notice.number for notice in notices] == list(range(1, len(notices) + 1))
    assert [notice.kind for notice in notices[:3]] == [LEARNT, ANCHORED, ADMITTED]
    assert {(notice.site, notice.sensor) for notice in notices} == {("plant", "left")}
    assert [notice.at_us for notice in notices] == sorted(notice.at_us for notice in notices)
    assert [Notice.of(notice.document()) for notice in notices] == notices


def test_what_did_not_come_back_while_it_learnt_is_told_when_it_is_anchored() -> None:
    write = {"ics_proto": "modbus", "ics_functions": [5, 1], "ics_write_cnt": 1}
    once = [poll(90, "10.0.0.66", dst_port=22), poll(91, "10.0.0.67") | write]
    [anchored] = _told(_sorted(polls(300), once), ANCHORED)
    named = [(each.what, each.source, each.target, each.service) for each in anchored.relations]
    assert ("write", "10.0.0.67", "10.0.0.20", "502/tcp") in named
    assert ("use", "10.0.0.66", "10.0.0.20", "22/tcp") in named
    # An answer's relation is that of the question, and no poll that came back is in the list.
    assert named.index(("write", "10.0.0.67", "10.0.0.20", "502/tcp")) == 0, "writes matter most"
    assert {each.source for each in anchored.relations} == {"10.0.0.66", "10.0.0.67"}
    assert {each.first_us for each in anchored.relations} <= {START_US + at * SECOND for at in (90, 91)}


def test_a_long_list_is_cut_and_counted() -> None:
    strangers = [poll(60 + number / 10, f"10.0.7.{number}", src_mac=None) for number in range(100)]
    [anchored] = _told(_sorted(polls(300), strangers), ANCHORED)
    assert len(anchored.relations) == MOST_RELATIONS and anchored.more == 100 - MOST_RELATIONS


def test_a_status_is_told_once_an_hour() -> None:
    rows = polls(3 * 3_600, every_s=10.0)
    statuses = _told(rows, STATUS)
    hours = [notice.at_us // (3_600 * SECOND) for notice in statuses]
    assert hours == sorted(set(hours)) and len(hours) == 4
    assert statuses[-1].key == "plant/left/status" and statuses[-1].phase == 3
    assert statuses[-1].figures["usual_relations"] > 0


def test_figures_count_what_there_is() -> None:
    [learnt] = [notice for notice in lived(polls(300), learning=QUICK)[1] if notice.kind == LEARNT]
    figures = learnt.figures
    assert figures["began_us"] == START_US and figures["turned_away"] == figures["displaced"] == 0
    assert 0 < figures["usual_kinds"] <= figures["kinds"] and figures["flows"] >= 100


@pytest.mark.parametrize(
    ("protocol", "port", "words"),
    [
        (6, 502, "502/tcp"),
        (17, -1, "udp without a known port"),
        (6, 32_768, "client port/tcp"),
        (6, 44_818, "44818/tcp"),
        (1, -1, "icmp"),
        (0x10806, -1, "arp"),
        (0x188A4, -1, "EtherType 0x88a4"),
    ],
)
def test_a_service_in_words(protocol: int, port: int, words: str) -> None:
    assert service_words(protocol, port) == words
