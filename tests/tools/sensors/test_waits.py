"""Whose flows wait for others, how long and why, is said wherever somebody may wait for what is made of them."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.settings import Settings, load_settings
from pipeline.tools.cli import alert_list, doctor, up
from pipeline.tools.sensors.late_flows import LateFlows
from pipeline.tools.sensors.waits import (
    OF_ALL,
    OF_SITE,
    Wait,
    kinds_of,
    short_words,
    shorter_words,
    unlisted,
    wait_words,
    waits,
)
from pipeline.tools.system.identity import identity_of
from pipeline.tools.system.record import Phase, SystemRecord
from schemas.intake import FileEntry, Origin, TopicSource

S = 1_000_000
CONN = FileEntry(file="/logs/conn.log", site="dam", sensor="gate", format="zeek-conn+tsv")
SHORTER = CONN.model_copy(update={"lateness_us": 60 * S})
EVE = FileEntry(file="/logs/eve.json", site="dam", sensor="weir", format="suricata-eve+json")
TOPIC = TopicSource(topic="zeek", site="dam", sensor="tower", format="zeek-conn+json")
NAMED_BY_RECORDS = TopicSource(topic="plant", site="dam", sensor=Origin.model_validate({"field": "host"}))
OF_CONN = Wait("dam/gate", 300 * S, "Zeek's conn.log")


def settings(*sources: FileEntry | TopicSource, **others: object) -> Settings:
    return load_settings().model_copy(update={"sources": sources, **others})


def seen(lateness_us: int, flows: int = 0, of_source: bool = True) -> LateFlows:
    return LateFlows(flows, 0, lateness_us, 0, lateness_us, of_source)


def test_who_waits_is_the_sensor_by_its_source_its_format_or_its_site() -> None:
    assert waits(settings(CONN, EVE, TOPIC)) == [OF_CONN, replace_whose(OF_CONN, "dam/tower")]
    assert waits(settings(SHORTER, EVE)) == [Wait("dam/gate", 60 * S, "lateness_us of its source")]
    assert waits(settings(SHORTER.model_copy(update={"lateness_us": 5 * S}), EVE)) == []
    assert waits(settings()) == []
    by_site = settings(EVE, site_lateness_us={"dam": 20 * S})
    assert waits(by_site) == [
        Wait("dam/weir", 20 * S, OF_SITE),
        Wait("all other sensors of dam", 20 * S, OF_SITE, of_others=True),
    ]
    by_all = waits(settings(EVE, lateness_us=30 * S))
    assert [(each.whose, each.us) for each in by_all] == [("dam/weir", 30 * S), ("all other sensors", 30 * S)]


def test_other_sensors_wait_by_the_lateness_of_their_site_where_it_has_its_own() -> None:
    found = waits(settings(lateness_us=60 * S, site_lateness_us={"dam": 20 * S, "mill": 2 * S}))
    assert found == [
        Wait("all other sensors of dam", 20 * S, OF_SITE, of_others=True),
        Wait("all other sensors of other sites", 60 * S, OF_ALL, of_others=True),
    ]
    assert waits(settings(site_lateness_us={"mill": 2 * S})) == []


def test_a_source_that_leaves_the_sensor_to_its_records_has_the_lateness_of_its_site() -> None:
    others = {"lateness_us": 60 * S, "site_lateness_us": {"dam": 20 * S}}
    source = NAMED_BY_RECORDS.model_copy(update={"format": "suricata-eve+json"})
    assert Wait("plant", 20 * S, OF_SITE) in waits(settings(source, **others))


def replace_whose(wait: Wait, whose: str) -> Wait:
    return wait._replace(whose=whose)


def test_of_several_sources_of_a_sensor_the_longest_wait_holds() -> None:
    other = EVE.model_copy(update={"sensor": "gate", "lateness_us": 600 * S})
    assert waits(settings(CONN, other)) == waits(settings(other, CONN))
    assert waits(settings(CONN, other)) == [Wait("dam/gate", 600 * S, "lateness_us of its source")]


def test_what_a_file_without_a_format_is_says_the_file(tmp_path: Path) -> None:
    log = tmp_path / "conn.log"
    source = FileEntry(file=str(log), site="dam", sensor="gate")
    globbed = FileEntry(file=str(tmp_path / "*.log"), site="dam", sensor="gate")
    assert kinds_of(source) is None and kinds_of(globbed) is None
    assert waits(settings(source)) == [OF_CONN._replace(is_sure=False)]
    log.write_text("#separator \\x09\n#path\tconn\n#fields\tts\tuid\n")
    assert kinds_of(source) == kinds_of(globbed) == {"zeek-conn+tsv"}
    assert waits(settings(source)) == [OF_CONN]
    log.write_text('{"event_type": "flow", "flow_id": 1, "flow": {}, "timestamp": "2026-01-01T00:00:00"}\n')
    assert kinds_of(source) == {"suricata-eve+json"} and waits(settings(source)) == []
    several = FileEntry(files=(str(log), str(tmp_path / "to-come.log")), site="dam", sensor="gate")
    assert kinds_of(several) is None
    os.mkfifo(tmp_path / "pipe")
    assert kinds_of(FileEntry(file=str(tmp_path / "pipe"), site="dam", sensor="gate")) is None


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


EVE_WAITS = Wait("dam/weir", 600 * S, "lateness_us of its source")


def test_what_the_log_says_holds_comes_before_the_settings() -> None:
    unsure = NAMED_BY_RECORDS.model_copy(update={"sensor": "gate"})
    assert waits(settings(unsure), {("dam", "gate"): seen(300 * S)}) == [OF_CONN]
    assert waits(settings(unsure), {("dam", "gate"): seen(2 * S, of_source=False)}) == []
    (by_hand,) = waits(settings(), {("dam", "gate"): seen(40 * S)})
    assert by_hand == Wait("dam/gate", 40 * S, "as its records came with it")
    assert [each.whose for each in waits(settings(NAMED_BY_RECORDS))] == ["plant"]
    assert waits(settings(NAMED_BY_RECORDS), {("dam", "x"): seen(2 * S, of_source=False)}) == []


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


def test_status_says_it_by_the_sources_of_what_runs(tmp_path: Path) -> None:
    me = identity_of(os.getpid())
    assert me is not None
    running = SystemRecord(
        *(me, str(tmp_path), Phase.RUNNING, 5, "127.0.0.1:4711", "mine.", settings(CONN).variables()["FOREBAY_SOURCES"])
    )
    assert waits(load_settings(**running.chosen)) == [OF_CONN]
    slower = replace(running, event_time={"lateness_us": 400 * S, "of_later": 1})
    assert [each.us for each in waits(load_settings(**slower.chosen))] == [300 * S, 400 * S]


def test_doctor_says_it_and_finds_no_fault() -> None:
    (finding,) = doctor._waits(settings(CONN), {})
    assert finding.verdict == "ok" and "dam/gate 5 min 0 s" in finding.found
    assert list(doctor._waits(settings(EVE), {})) == []


def test_an_empty_list_of_alerts_says_it(capsys: pytest.CaptureFixture[str]) -> None:
    alert_list._print_waits(settings(CONN))
    assert "dam/gate 5 min 0 s" in capsys.readouterr().err
    alert_list._print_waits(settings(EVE))
    assert capsys.readouterr().err == ""


def test_a_sensor_that_is_not_listed_yet_is_named_whatever_it_is_read_from() -> None:
    chosen = settings(CONN, EVE, TOPIC, NAMED_BY_RECORDS)
    gate, weir, tower, plant, why = unlisted(chosen, [])
    assert gate == "dam/gate: not listed yet; its flows wait for others, 5 min 0 s (Zeek's conn.log)"
    assert weir == "dam/weir: not listed yet"
    assert tower == "dam/tower: not listed yet; its flows wait for others, 5 min 0 s (Zeek's conn.log)"
    assert plant == "plant: not listed yet; its flows wait for others, 5 min 0 s if they are Zeek's conn.log"
    assert why.startswith("a sensor is listed some minutes after") and "`lateness_us` of the source sets less" in why
    listed = [("dam", "gate"), ("dam", "tower"), ("dam", "weir")]
    assert unlisted(chosen, listed) == []
    (weir, why) = unlisted(settings(EVE), [])
    assert why.endswith("`forebay source list` says what has come")


def test_a_sensor_that_has_sent_and_is_in_no_source_is_named_too() -> None:
    line, _ = unlisted(settings(), [], {("dam", "north"): seen(300 * S)})
    assert line == "dam/north: not listed yet; its flows wait for others, 5 min 0 s (as its records came with it)"
    line, _ = unlisted(settings(NAMED_BY_RECORDS), [], {("dam", "north"): seen(300 * S)})
    assert line.startswith("dam/north: ")
