"""`kill -9` of every stage while the flow runs: the archive is that of an reference run over the same `raw`."""

from pathlib import Path

import orjson
import pytest

from loadtest.plants.westermo import traffic
from pipeline.archive.upkeep.diff import compare
from pipeline.archive.upkeep.verify import verify
from tests.crash.flow import STAGES, Flow, copy_raw, running, send

pytestmark = [pytest.mark.integration, pytest.mark.crash, pytest.mark.timeout(420)]


def rooms_in_one_trace(path: Path) -> set[str]:
    """The most stages any single trace of the file passes through."""
    stages: dict[str, set[str]] = {}
    for line in path.read_bytes().splitlines():
        span = orjson.loads(line)
        stages.setdefault(span["trace_id"], set()).add(span["stage"].removeprefix("forebay-"))
    return max(stages.values(), key=len)


def all_accounted(flow: Flow, sent: int) -> None:
    """`accepted + rejected + late = sent`, proven from files and topics."""
    proof = verify(flow.settings.archive_uri, flow.settings)
    assert proof["ok"], proof["problems"]
    assert sum(row["sent"] for row in proof["sensors"]) == sent
    assert sum(row["accepted"] + row["rejected"] + row["late"] for row in proof["sensors"]) == sent


def test_the_archive_is_the_same_after_every_room_was_killed(kafka: str, prefix: str, tmp_path: Path) -> None:
    sent = 0
    with running(kafka, f"{prefix}calm.", tmp_path / "calm") as calm:
        for sensor in traffic.SENSORS:
            path = tmp_path / f"{sensor}.csv"
            sent += traffic.write_after_cut(sensor, path)
            with path.open("a") as file:
                file.write("this,is,not,a,flow\n")  # a reject must survive the kills as well
            sent += 1
            send(calm, path, sensor)
        calm.wait_archived(sent, 120)
        all_accounted(calm, sent)
    assert {"ingest", "featurize", "score", "alert"} <= rooms_in_one_trace(tmp_path / "calm" / "traces.jsonl")

    with running(kafka, f"{prefix}killed.", tmp_path / "killed") as killed:
        doomed = list(STAGES)
        for copied in copy_raw(calm.settings, killed.settings, messages_per_s=600):
            if doomed and copied > (len(STAGES) - len(doomed) + 1) * sent // (len(STAGES) + 2):
                killed.kill(doomed.pop(0))
        assert not doomed
        killed.wait_archived(sent, 120)
        all_accounted(killed, sent)

    difference = compare(calm.settings.archive_uri, killed.settings.archive_uri)
    assert all(table["equal"] for table in difference["rows"].values()), difference
    assert difference["ok"], difference
