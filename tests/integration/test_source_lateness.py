"""Two sensors whose logs come equally out of order, each with its source's lateness, from files to the archive."""

import json
from pathlib import Path

import pytest

from pipeline.archive.upkeep.verify import account
from pipeline.contracts.raw import END_OF_SOURCE, SourceInfo
from pipeline.runtime.kafka import clients
from pipeline.tools.sensors.late_flows import late_flows
from tests.crash.flow import running
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.integration

BEGAN_S = 1_700_000_000
RECORDS = 300


def conn_log(path: Path, host: int) -> int:
    """A conn.log of which every tenth record is of a connection that a timeout closed; how many are."""
    lines = []
    for number in range(RECORDS):
        behind_s = 100 if number % 10 == 9 else 0
        record = {"ts": BEGAN_S + 200 + number - behind_s, "uid": f"C{host}{number}", "proto": "tcp"}
        record |= {"id.orig_h": f"192.0.2.{host}", "id.orig_p": 40_000 + number, "id.resp_h": "198.51.100.9"}
        lines.append(json.dumps({**record, "id.resp_p": 502, "conn_state": "SF", "duration": 0.5}))
    path.write_text("\n".join(lines) + "\n")
    return RECORDS // 10


def test_each_sensor_waits_as_long_as_its_source_says(kafka: str, prefix: str, tmp_path: Path) -> None:
    entries = []
    for host, (sensor, own) in enumerate({"gate": {}, "weir": {"lateness_us": 50_000_000}}.items(), 1):
        timed_out = conn_log(tmp_path / f"{sensor}.log", host)
        entries.append({"file": str(tmp_path / f"{sensor}.log"), "site": "dam", "sensor": sensor, **own})
    (tmp_path / "sources.yaml").write_text(json.dumps({"sources": entries}))
    with running(kafka, prefix, tmp_path / "flow") as flow:
        words = ("flow", "follow", "--once", "--sources", str(tmp_path / "sources.yaml"))
        follower = flow.processes.start("follow", *words)
        assert follower.process.wait(PATIENCE_S) == 0, follower.last_words()
        flow.wait_ingested()  # the end in a message with the flows would leave no trace of what held until then
        producer = clients.producer(flow.settings, "test")
        for sensor in ("gate", "weir"):
            end = SourceInfo(END_OF_SOURCE, site="dam", sensor=sensor)
            producer.produce(flow.settings.topics.raw, b"", key=end.key, headers=end.headers)
        assert producer.flush(30) == 0
        flow.wait_archived(2 * RECORDS)
        late = {row["sensor"]: row["late"] for row in account(flow.settings.archive_uri)}
        assert late == {"gate": 0, "weir": timed_out}, "five minutes of Zeek's conn.log, and its own, too short"
        found = late_flows(flow.settings)
    assert {name[1]: (each.lateness_us, each.late, each.of_source) for name, each in found.items()} == {
        "gate": (300_000_000, 0, True),
        "weir": (50_000_000, timed_out, True),
    }
    assert found["dam", "weir"].proposed_us == 100_000_000
