"""Whose flows wait for others, how long and why, is said wherever somebody may wait for what is made of them."""

import os
from pathlib import Path

import pytest

from pipeline.tools.cli import alert_list, doctor, up
from pipeline.tools.sensors import late_flows
from pipeline.tools.sensors.wait_words import by_settings_words, short_words, shorter_words, unlisted, wait_words
from pipeline.tools.sensors.waits import OF_ALL, Wait, waits
from tests.tools.sensors.waiting import CONN, EVE, NAMED_BY_RECORDS, OF_CONN, SHORTER, TOPIC, S, seen, settings

EVE_WAITS = Wait("dam/weir", 600 * S, "lateness_us of its source")


def test_words_name_who_waits_and_whether_that_is_sure() -> None:
    may_be = OF_CONN._replace(whose="plant", is_sure=False)
    many = [OF_CONN._replace(whose=f"dam/{number}") for number in range(5)]
    assert short_words([may_be, OF_CONN, EVE_WAITS]) == (
        "those of dam/weir 10 min 0 s (lateness_us of its source), those of dam/gate 5 min 0 s (Zeek's conn.log), "
        "those of plant 5 min 0 s if they are Zeek's conn.log"
    )
    assert short_words(many) == "those of dam/0, dam/1, dam/2 and 2 more 5 min 0 s (Zeek's conn.log)"
    others = Wait("all other sensors", 60 * S, OF_ALL, of_others=True)
    several = [Wait(f"dam/{number}", 60 * S, OF_ALL) for number in range(3)]
    assert short_words([*several, others]) == (
        "those of dam/0, dam/1, dam/2, all other sensors 1 min 0 s (FOREBAY_LATENESS_US)"
    )
    fourth = Wait("dam/3", 60 * S, OF_ALL)
    assert "dam/2 and 1 more, all other sensors 1 min" in short_words([*several, fourth, others])
    assert short_words([others]) == "those of all other sensors 1 min 0 s (FOREBAY_LATENESS_US)"
    assert wait_words([]) == short_words([]) == ""


def test_the_setting_is_named_that_makes_the_wait_so_long() -> None:
    by_all = shorter_words(waits(settings(EVE, lateness_us=30 * S)))
    assert by_all.startswith("FOREBAY_LATENESS_US sets less from the next start on: alerts come sooner")
    by_site = shorter_words(waits(settings(EVE, site_lateness_us={"dam": 20 * S})))
    assert by_site.startswith("FOREBAY_SITE_LATENESS_US sets less") and "lateness_us`" not in by_site
    by_source = shorter_words(waits(settings(CONN, SHORTER)))
    assert by_source.startswith("`lateness_us` of the source sets less") and "FOREBAY" not in by_source
    as_sent = shorter_words(waits(settings(), {("dam", "gate"): seen(40 * S)}))
    assert "`--lateness-us` of `forebay flow follow`" in as_sent and "FOREBAY" not in as_sent
    both = wait_words(waits(settings(CONN, lateness_us=30 * S)))
    assert "`lateness_us` of the source sets less" in both and "; FOREBAY_LATENESS_US sets less" in both
    *_, why = unlisted(settings(EVE, lateness_us=30 * S), [])
    assert "FOREBAY_LATENESS_US sets less" in why and "of the source" not in why


def test_up_says_it_detached_or_not(capsys: pytest.CaptureFixture[str]) -> None:
    up._say_waits(settings(EVE, CONN), as_json=False)
    said = capsys.readouterr().err
    assert "those of dam/gate 5 min 0 s (Zeek's conn.log)" in said and "`lateness_us` of the source sets less" in said
    for chosen, as_json in ((settings(), False), (settings(EVE), False), (settings(CONN), True)):
        up._say_waits(chosen, as_json)
    assert capsys.readouterr().err == ""


def test_up_in_the_foreground_says_it_before_it_becomes_the_supervisor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def supervisor(*_command: object) -> None:
        assert "dam/gate 5 min 0 s" in capsys.readouterr().err
        raise SystemExit

    monkeypatch.setattr(os, "execve", supervisor)
    sources = settings(CONN).variables()["FOREBAY_SOURCES"]
    with pytest.raises(SystemExit):
        up.up(folder=tmp_path / "run", sources=sources, broker_data=tmp_path, detach=False, systemd=False)


def test_doctor_says_it_and_finds_no_fault() -> None:
    (finding,) = doctor._waits(settings(CONN), {})
    assert finding.verdict == "ok" and "dam/gate 5 min 0 s" in finding.found
    assert list(doctor._waits(settings(EVE), {})) == []


def test_an_empty_list_of_alerts_says_it_of_whose_flows_wait_and_else_where_to_look(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    waiting = seen(300 * S)._replace(may_wait=True)
    for known, says in (
        ({("dam", "gate"): waiting, ("dam", "north"): seen(400 * S)}, "those of dam/gate 5 min 0 s (Zeek's conn.log):"),
        ({("dam", "gate"): seen(300 * S)}, ""),
        ({("dam", "weir"): seen(2 * S, of_source=False)._replace(may_wait=True)}, ""),
        ({}, ""),
        (None, ""),
    ):
        monkeypatch.setattr(late_flows, "known_late_flows", lambda _settings, known=known: known)
        alert_list._print_waits(settings(CONN, EVE))
        said = capsys.readouterr().err
        assert says in said and "north" not in said and "`forebay sensor list` says which sensors" in said
        assert bool(says) == ("flows wait" in said)


def test_more_than_the_sources_have_by_now_holds_on_and_less_does_not() -> None:
    """As after a restart with another `lateness_us`, while the log still has what was before."""
    (longer,) = waits(settings(SHORTER), {("dam", "gate"): seen(300 * S)})
    assert (longer.us, longer.then) == (300 * S, Wait("dam/gate", 60 * S, "lateness_us of its source"))
    assert short_words([longer]) == (
        "those of dam/gate 5 min 0 s (as its records came with it) until event time is an hour past the last record "
        "that came with more, then 1 min 0 s (lateness_us of its source)"
    )
    assert longer.document()["then"]["lateness_us"] == 60 * S
    for before in (seen(5 * S), seen(2 * S, of_source=False)):  # what the next record states holds with it
        assert waits(settings(SHORTER), {("dam", "gate"): before}) == waits(settings(SHORTER))
    assert by_settings_words(waits(settings(SHORTER))).startswith("where a source had more before, that holds until")
    assert by_settings_words(waits(settings(EVE, lateness_us=30 * S))) == "", "that of all holds from the start on"


def test_up_says_what_holds_where_kafka_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(late_flows, "known_late_flows", lambda _settings: {("dam", "gate"): seen(300 * S)})
    up._say_waits(settings(SHORTER), as_json=False, runs=True)
    assert "dam/gate 5 min 0 s (as its records came with it) until" in capsys.readouterr().err
    for runs, known in ((False, {}), (True, None)):
        monkeypatch.setattr(late_flows, "known_late_flows", lambda _settings, known=known: known)
        up._say_waits(settings(SHORTER), as_json=False, runs=runs)
        said = capsys.readouterr().err
        assert "dam/gate 1 min 0 s (lateness_us of its source)" in said and "where a source had more before" in said


def test_a_sensor_that_is_not_listed_yet_is_named_whatever_it_is_read_from() -> None:
    chosen = settings(CONN, EVE, TOPIC, NAMED_BY_RECORDS)
    gate, weir, tower, plant, why = unlisted(chosen, [])
    assert gate == "dam/gate: not listed yet; its flows wait for others, 5 min 0 s (Zeek's conn.log)"
    assert weir == "dam/weir: not listed yet"
    assert tower == "dam/tower: not listed yet; its flows wait for others, 5 min 0 s (Zeek's conn.log)"
    assert plant == "plant: not listed yet; its flows wait for others, 5 min 0 s if they are Zeek's conn.log"
    assert (
        why.startswith("a sensor is listed once a flow was scored") and "`lateness_us` of the source sets less" in why
    )
    listed = [("dam", "gate"), ("dam", "tower"), ("dam", "weir"), ("dam", "north")]
    assert unlisted(chosen, listed) == []
    (weir, why) = unlisted(settings(EVE), [])
    assert why.endswith("`forebay source list` says what has come")


def test_a_sensor_that_has_sent_and_is_in_no_source_is_named_too() -> None:
    line, _ = unlisted(settings(), [], {("dam", "north"): seen(300 * S)})
    assert line == "dam/north: not listed yet; its flows wait for others, 5 min 0 s (as its records came with it)"
    line, _ = unlisted(settings(NAMED_BY_RECORDS), [], {("dam", "north"): seen(300 * S)})
    assert line.startswith("dam/north: ")


def test_a_topic_whose_records_name_their_sensors_is_not_taken_for_another_source() -> None:
    both, gate = settings(CONN, NAMED_BY_RECORDS), {("dam", "gate"): seen(300 * S)}
    line, _ = unlisted(both, [("dam", "gate")])
    assert line.startswith(
        "plant: of the sensors that its records may name none is listed yet but those of other sources; its flows wait"
    )
    assert [each.whose for each in waits(both, gate)] == ["dam/gate", "plant"]
    assert unlisted(both, [("dam", "gate"), ("dam", "north")]) == []
    assert [each.whose for each in waits(both, {**gate, ("dam", "north"): seen(2 * S)})] == ["dam/gate"]
