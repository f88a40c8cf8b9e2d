"""Replays of what really ran: from the topic and from the archive, by one process or two, bit for bit what was live."""

from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from confluent_kafka import TopicPartition

from loadtest.plants.westermo import traffic
from pipeline.alert import feedback
from pipeline.alert.reading import alerts
from pipeline.archive.account import Books
from pipeline.archive.query import connect
from pipeline.kafka import clients, tail
from pipeline.replay import run as runs
from pipeline.replay import undisturbed
from pipeline.replay.compare import LIVE, compare
from pipeline.replay.outlet import settings_of
from pipeline.replay.request import ARCHIVE, TOPIC, Request
from tests.crash.flow import running, send

pytestmark = [pytest.mark.integration, pytest.mark.timeout(420)]

SAME = ("features", "score", "class", "novelty", "p_value", "suspect", "model", "late_by_us", "end_ts_us", "record_id")


def by_position(table: pa.Table) -> pa.Table:
    order = [(name, "ascending") for name in ("raw_partition", "raw_offset", "raw_index")]
    return table.take(pc.sort_indices(table, order)).combine_chunks()


def contents(lines: list[bytes]) -> dict[str, Any]:
    return {orjson.loads(line)["finding_info"]["uid"]: undisturbed.content(line) for line in lines}


def test_replays_are_what_was_live(kafka: str, prefix: str, tmp_path: Path) -> None:
    sent = 0
    with running(kafka, prefix, tmp_path / "flow") as flow:
        for sensor in traffic.SENSORS:
            path = tmp_path / f"{sensor}.csv"
            sent += traffic.write_after_cut(sensor, path)
            send(flow, path, sensor)
        flow.wait_archived(sent, 120)
        with Books(flow.settings, kafka=True) as books:
            first, again = books.look(), books.look()
        assert first == again
        assert first["balanced"]
        assert sum(row["sent"] for row in first["sensors"]) == sent
        assert all(row["sent"] == row["accepted"] + row["late"] + row["rejected"] for row in first["sensors"])
    settings = flow.settings.model_copy(update={"replay_uri": tmp_path / "replays", "device": "cpu"})
    live = {
        one["finding_info"]["uid"]: orjson.dumps(one) for one in alerts(settings, from_start=True, follow=False) if one
    }
    with connect(settings.archive_uri) as archive:
        rows = by_position(archive.sql("SELECT * FROM flows UNION ALL BY NAME SELECT * FROM late").to_arrow_table())

    asked = (
        (Request("topic", TOPIC), 1),
        (Request("topic-two", TOPIC, topics=True), 2),
        (Request("archive", ARCHIVE), 1),
        (Request("archive-two", ARCHIVE), 2),
        (Request("pinned", TOPIC, model="shipped", features=False), 1),
    )
    reports = {request.run: runs.run(settings, request, workers) for request, workers in asked}
    for name, report in reports.items():
        folder = settings.replay_uri / name
        replayed = by_position(pq.read_table(folder / "rows"))
        assert report["rows"] == len(replayed) == len(rows) == sent, name
        for column in SAME if name != "pinned" else SAME[1:]:
            assert replayed.column(column).to_pylist() == rows.column(column).to_pylist(), (name, column)
        lines = (folder / runs.INCIDENTS).read_bytes().splitlines()
        assert contents(lines) == contents(list(live.values())), name
    for pair in (("topic", "topic-two"), ("archive", "archive-two")):
        first, second = (reports[name] for name in pair)
        assert first["rows_sha256"] == second["rows_sha256"]
        assert first["incidents_sha256"] == second["incidents_sha256"]

    own = settings_of(settings, "topic-two")
    reader = clients.reader(own, "test", **tail.EOF_EVENTS)
    ends = tail.ends(own, own.topics.alerts, range(own.partitions))
    reader.assign([TopicPartition(own.topics.alerts, partition, 0) for partition in ends])
    keys = {(message.key() or b"").decode() for message in tail.read_to(reader, own.topics.alerts, ends)}
    reader.close()
    assert keys == set(live)

    found = compare(settings, LIVE, "topic")
    assert found["flows"]["same_score"] == sent
    assert found["incidents"]["same"] == len(live)

    confirmed, false = (orjson.loads(one) for one in list(live.values())[:2])
    feedback.send(settings, feedback.verdict_of(confirmed, "fp", "ada", 1))
    feedback.send(settings, feedback.verdict_of(confirmed, "tp", "ada", 2))
    feedback.send(settings, feedback.verdict_of(false, "benign", "ada", 3))
    judged = compare(settings, LIVE, "archive", judgements=["topic"])
    assert judged["verdicts"] | {"outside": 0} == judged["verdicts"]
    assert (judged["verdicts"]["read"], judged["verdicts"]["overruled"]) == (3, 1)
    for side in ("first", "second"):
        said = judged[side]["verdicts"]
        assert (said["confirmed"], said["confirmed_found"], said["false"], said["false_raised"]) == (1, 1, 1, 1)
        assert judged[side]["labelled_by"]["verdicts"] == judged[side]["labelled"] > 0
