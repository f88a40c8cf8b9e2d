"""Whose flows wait for others, how long and why: by the settings, and by what the log says holds."""

import os
from dataclasses import replace
from pathlib import Path

from pipeline.settings import load_settings
from pipeline.tools.sensors.waits import OF_ALL, OF_SITE, Wait, kinds_of, waits
from pipeline.tools.system.identity import identity_of
from pipeline.tools.system.record import Phase, SystemRecord
from schemas.intake import FileEntry
from tests.tools.sensors.waiting import CONN, EVE, NAMED_BY_RECORDS, OF_CONN, SHORTER, TOPIC, S, seen, settings


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


def test_what_the_log_says_holds_comes_before_the_settings() -> None:
    unsure = NAMED_BY_RECORDS.model_copy(update={"sensor": "gate"})
    assert waits(settings(unsure), {("dam", "gate"): seen(300 * S)}) == [OF_CONN]
    assert waits(settings(unsure), {("dam", "gate"): seen(2 * S, of_source=False)}) == []
    (by_hand,) = waits(settings(), {("dam", "gate"): seen(40 * S)})
    assert by_hand == Wait("dam/gate", 40 * S, "as its records came with it")
    assert [each.whose for each in waits(settings(NAMED_BY_RECORDS))] == ["plant"]
    assert waits(settings(NAMED_BY_RECORDS), {("dam", "x"): seen(2 * S, of_source=False)}) == []


def test_status_says_it_by_the_sources_of_what_runs(tmp_path: Path) -> None:
    me = identity_of(os.getpid())
    assert me is not None
    running = SystemRecord(
        *(me, str(tmp_path), Phase.RUNNING, 5, "127.0.0.1:4711", "mine.", settings(CONN).variables()["FOREBAY_SOURCES"])
    )
    assert waits(load_settings(**running.chosen)) == [OF_CONN]
    slower = replace(running, event_time={"lateness_us": 400 * S, "of_later": 1})
    assert [each.us for each in waits(load_settings(**slower.chosen))] == [300 * S, 400 * S]
