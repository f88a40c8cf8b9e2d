"""Of a source all of whose records are sent it is said whether, and until when, its last flows wait."""

from pipeline.settings import Settings, load_settings
from pipeline.tools.cli.source_table import document, last_lines
from pipeline.tools.followed_files import FileState
from pipeline.tools.last_flows import LastFlows, last_flows
from pipeline.tools.sensors.late_flows import LateFlows
from pipeline.tools.sensors.waits import Wait
from pipeline.tools.source_states import SourceState, TopicState
from schemas.intake import FileEntry, Origin, TopicSource

S = 1_000_000
NOW_US = 1_700_000_000 * S
CONN = FileEntry(file="/logs/conn.log", site="dam", sensor="gate")
MODBUS = FileEntry(file="/logs/modbus.log", site="dam", sensor="gate")
EVE = FileEntry(file="/logs/eve.json", site="dam", sensor="weir")
TOPIC = TopicSource(topic="zeek", site="dam", sensor="tower", format="zeek-conn+json")
OF_CONN = Wait("dam/gate", 300 * S, "Zeek's conn.log")


def sent(
    source: FileEntry, kind: str, ago_s: int, records: int = 5, behind_bytes: int | None = 0, state: str = "open"
) -> SourceState:
    at_us = NOW_US - ago_s * S
    file = FileState(
        source.title, source.title, kind, records, 900, behind_bytes, at_us, NOW_US, at_us, 0.0, state
    )  # fmt: skip
    return SourceState(source, files=[file])


def settings(idle_us: int = 10 * S, **others: object) -> Settings:
    return load_settings().model_copy(update={"idle_us": idle_us, **others})


def test_a_file_that_is_sent_waits_for_as_long_as_its_sensor_does() -> None:
    conn, eve = sent(CONN, "zeek-conn+tsv", 100), sent(EVE, "suricata-eve+json", 1)
    assert last_flows([conn, eve], settings(), NOW_US) == [LastFlows(OF_CONN, NOW_US + 200 * S)]
    modbus = sent(MODBUS, "zeek-modbus+tsv", 20)  # the same sensor's: it waits since that came
    assert last_flows([conn, modbus], settings(), NOW_US) == [LastFlows(OF_CONN, NOW_US + 280 * S)]
    assert last_flows([conn], settings(idle_us=400 * S), NOW_US) == [LastFlows(OF_CONN, NOW_US + 300 * S)]


def test_a_tick_waits_for_a_lateness_that_records_came_with_and_for_no_other() -> None:
    eve = sent(EVE, "suricata-eve+json", 1)
    slow = settings(lateness_us=60 * S)
    of_weir = Wait("dam/weir", 60 * S, "FOREBAY_LATENESS_US")
    assert last_flows([eve], slow, NOW_US) == [LastFlows(of_weir, NOW_US + 9 * S)]
    assert last_flows([sent(EVE, "suricata-eve+json", 11)], slow, NOW_US) == []
    of_site = settings(site_lateness_us={"dam": 60 * S})
    assert [each.until_us for each in last_flows([eve], of_site, NOW_US)] == [NOW_US + 9 * S]
    own = sent(EVE.model_copy(update={"lateness_us": 40 * S}), "suricata-eve+json", 1)
    assert [each.until_us for each in last_flows([own], slow, NOW_US)] == [NOW_US + 39 * S]
    other = sent(CONN.model_copy(update={"sensor": "weir", "lateness_us": 20 * S}), "zeek-conn+tsv", 1)
    assert last_flows([other, eve], slow, NOW_US) == [LastFlows(of_weir, NOW_US + 19 * S)]


def test_nothing_is_said_of_a_sensor_one_of_whose_sources_is_behind() -> None:
    conn, far = sent(CONN, "zeek-conn+tsv", 1), sent(MODBUS, "zeek-modbus+tsv", 1, behind_bytes=9_000)
    assert last_flows([conn, far], settings(), NOW_US) == last_flows([far, conn], settings(), NOW_US) == []
    not_begun = sent(MODBUS, "zeek-modbus+tsv", 1, records=0, behind_bytes=9_000)
    assert last_flows([conn, not_begun], settings(), NOW_US) == []
    of_other = sent(EVE, "suricata-eve+json", 1, behind_bytes=9_000)
    assert [each.wait for each in last_flows([conn, of_other], settings(), NOW_US)] == [OF_CONN]
    named = Origin.model_validate({"field": "host", "else": "x"})
    any_sensor = SourceState(
        TopicSource(topic="all", site="dam", sensor=named), topics=[TopicState("all", {0: 5}, {0: 3}, NOW_US, 0.0)]
    )
    assert last_flows([conn, any_sensor], settings(), NOW_US) == []


def test_nothing_is_said_of_a_file_that_cannot_be_seen_until_it_is_done() -> None:
    hidden = sent(CONN, "zeek-conn+tsv", 1, behind_bytes=None)
    assert last_flows([hidden], settings(), NOW_US) == []
    seen = sent(MODBUS, "zeek-modbus+tsv", 1)
    assert last_flows([hidden, seen], settings(), NOW_US) == []
    for state in ("done", "lost"):  # nothing more is expected of it
        [found] = last_flows([sent(CONN, "zeek-conn+tsv", 1, behind_bytes=None, state=state)], settings(), NOW_US)
        assert found.wait == OF_CONN


def test_nothing_is_said_where_where_none_wait_or_more_is_to_be_read() -> None:
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


def test_what_holds_at_the_sensor_counts_where_its_records_came_with_more() -> None:
    shorter = sent(CONN.model_copy(update={"lateness_us": 60 * S}), "zeek-conn+tsv", 1)
    before = {("dam", "gate"): LateFlows(5, 0, 300 * S, 0, 300 * S, True)}
    [found] = last_flows([shorter], settings(), NOW_US, before)
    assert (found.wait.us, found.until_us) == (300 * S, NOW_US + 299 * S)
    of_site = {("dam", "gate"): LateFlows(5, 0, 90 * S, 0, 90 * S)}
    [found] = last_flows([shorter], settings(lateness_us=90 * S), NOW_US, of_site)
    assert (found.wait.us, found.until_us) == (90 * S, NOW_US + 59 * S), "a tick does not wait for the site's"


def test_a_line_and_the_document_say_until_when() -> None:
    found = [LastFlows(OF_CONN, NOW_US)]
    assert last_lines(found) == [
        "dam/gate: its last flows are sent and wait for others until 2023-11-14 22:13:20 UTC at least where no more "
        "come: 5 min 0 s (Zeek's conn.log)"
    ]
    [waiting] = document([], None, 0, found)["waiting"]
    assert (waiting["whose"], waiting["until_us"]) == ("dam/gate", NOW_US)
