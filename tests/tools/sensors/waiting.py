"""Sources of which some make flows wait, and settings with them."""

from pipeline.settings import Settings, load_settings
from pipeline.tools.sensors.late_flows import LateFlows
from pipeline.tools.sensors.waits import Wait
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
