"""Of a source all of whose records are sent it is said whether, and until when, its last flows wait."""

from pipeline.settings import Settings, load_settings
from pipeline.tools.cli.source_table import document, last_lines
from pipeline.tools.followed_files import FileState
from pipeline.tools.last_flows import LastFlows, last_flows
from pipeline.tools.sensors.waits import Wait
from pipeline.tools.source_states import SourceState, TopicState
from schemas.intake import FileEntry, TopicSource

S = 1_000_000
NOW_US = 1_700_000_000 * S
CONN = FileEntry(file="/logs/conn.log", site="dam", sensor="gate")
MODBUS = FileEntry(file="/logs/modbus.log", site="dam", sensor="gate")
EVE = FileEntry(file="/logs/eve.json", site="dam", sensor="weir")
TOPIC = TopicSource(topic="zeek", site="dam", sensor="tower", format="zeek-conn+json")
OF_CONN = Wait("dam/gate", 300 * S, "Zeek's conn.log")


def sent(source: FileEntry, kind: str, ago_s: int, records: int = 5, behind_bytes: int = 0) -> SourceState:
    at_us = NOW_US - ago_s * S
    file = FileState(
        source.title, source.title, kind, records, 900, behind_bytes, at_us, NOW_US, at_us, 0.0, "open"
    )  # fmt: skip
    return SourceState(source, files=[file])


def settings(idle_us: int = 10 * S) -> Settings:
    return load_settings().model_copy(update={"idle_us": idle_us})


def test_a_file_that_is_sent_waits_for_as_long_as_its_sensor_does() -> None:
    conn, eve = sent(CONN, "zeek-conn+tsv", 100), sent(EVE, "suricata-eve+json", 1)
    assert last_flows([conn, eve], settings(), NOW_US) == [LastFlows(OF_CONN, NOW_US + 200 * S)]
    modbus = sent(MODBUS, "zeek-modbus+tsv", 20)  # the same sensor's: it waits since that came
    assert last_flows([conn, modbus], settings(), NOW_US) == [LastFlows(OF_CONN, NOW_US + 280 * S)]
    assert last_flows([conn], settings(idle_us=400 * S), NOW_US) == [LastFlows(OF_CONN, NOW_US + 300 * S)]


def test_nothing_is_said_where_none_wait_or_more_is_to_be_read() -> None:
    old = sent(CONN, "zeek-conn+tsv", 301)
    behind, none = sent(CONN, "zeek-conn+tsv", 1, behind_bytes=9), sent(CONN, "zeek-conn+tsv", 1, records=0)
    for each in (old, behind, none, SourceState(CONN), SourceState(TOPIC)):
        assert last_flows([each], settings(), NOW_US) == []


def test_without_ticks_they_wait_until_more_come() -> None:
    [found] = last_flows([sent(CONN, "zeek-conn+tsv", 9_000)], settings(idle_us=0), NOW_US)
    assert found == LastFlows(OF_CONN, None)
    assert "wait for others until more come (FOREBAY_IDLE_US=0): 5 min 0 s (Zeek's conn.log)" in last_lines([found])[0]


def test_a_topic_waits_likewise_once_all_of_it_is_read() -> None:
    read = SourceState(TOPIC, topics=[TopicState("zeek", {0: 5}, {0: 0}, NOW_US - 60 * S, 0.0)])
    [found] = last_flows([read], settings(), NOW_US)
    assert (found.wait.whose, found.until_us) == ("dam/tower", NOW_US + 240 * S)
    read.topics[0].lag[0] = 3
    assert last_flows([read], settings(), NOW_US) == []


def test_a_line_and_the_document_say_until_when() -> None:
    found = [LastFlows(OF_CONN, NOW_US)]
    assert last_lines(found) == [
        "dam/gate: its last flows are sent and wait for others until 2023-11-14 22:13:20 UTC where no more come: "
        "5 min 0 s (Zeek's conn.log)"
    ]
    [waiting] = document([], None, 0, found)["waiting"]
    assert (waiting["whose"], waiting["until_us"]) == ("dam/gate", NOW_US)
