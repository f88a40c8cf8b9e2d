"""Why nothing comes of a log yet is said where the wait is the format's, and of each sensor that is not listed."""

import pytest

from pipeline.settings import Settings, load_settings
from pipeline.tools.cli import up
from pipeline.tools.sensors.waits import unlisted, wait_words, waits_by_format
from schemas.intake import FileEntry, TopicSource

CONN = FileEntry(file="/logs/conn.log", site="dam", sensor="gate")
SHORTER = CONN.model_copy(update={"lateness_us": 60_000_000})
EVE = FileEntry(file="/logs/eve.json", site="dam", sensor="weir", format="suricata-eve+json")
TOPIC = TopicSource(topic="zeek", site="dam", sensor="tower", format="zeek-conn+json")


def settings(*sources: FileEntry | TopicSource) -> Settings:
    return load_settings().model_copy(update={"sources": sources})


def test_a_source_waits_by_its_format_where_it_may_be_zeeks_and_sets_nothing_else() -> None:
    assert [waits_by_format(each) for each in (CONN, SHORTER, EVE, TOPIC)] == [True, False, False, True]


def test_up_says_how_long_flows_wait_and_what_shortens_it(capsys: pytest.CaptureFixture[str]) -> None:
    up._say_waits(settings(EVE, CONN), as_json=False)
    said = capsys.readouterr().err
    assert "flows of Zeek's conn.log wait 5 min 0 s" in said and "`lateness_us` of the source sets less" in said
    for chosen, as_json in ((settings(), False), (settings(SHORTER, EVE), False), (settings(CONN), True)):
        up._say_waits(chosen, as_json)
    assert capsys.readouterr().err == ""


def test_a_sensor_that_is_not_listed_yet_is_named_with_what_it_waits_for() -> None:
    two = settings(CONN, EVE, TOPIC)
    gate, weir = unlisted(two, [])
    assert gate.startswith("dam/gate: not listed yet: a sensor is listed a minute") and wait_words(two) in gate
    assert weir.startswith("dam/weir: not listed yet: ") and "conn.log" not in weir and "`forebay source list`" in weir
    assert unlisted(two, [("dam", "gate"), ("dam", "weir")]) == []
