"""Replays of what really ran: from the topic and from the archive, by one process or two, bit for bit what was live."""

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from confluent_kafka import TopicPartition

from loadtest.plants.westermo import traffic
from pipeline.archive.upkeep.ledger import Ledger
from pipeline.archive.upkeep.query import connect
from pipeline.runtime.kafka import clients, tail, topics
from pipeline.runtime.state.replay_snapshots import SnapshotCatalog
from pipeline.settings import Settings
from pipeline.tools.alerts import verdicts
from pipeline.tools.alerts.reading import alerts
from pipeline.tools.replay import history, reference_run, states
from pipeline.tools.replay import run as runs
from pipeline.tools.replay.compare import LIVE, compare
from pipeline.tools.replay.outlet import settings_of
from pipeline.tools.replay.request import ARCHIVE, TOPIC, Request
from tests.contracts.verdict_records import on_event
from tests.crash.flow import running, send

pytestmark = pytest.mark.integration

SAME = ("features", "score", "class", "novelty", "p_value", "suspect", "model", "late_by_us", "end_ts_us", "record_id")


def by_position(table: pa.Table) -> pa.Table:
    order = [(name, "ascending") for name in ("raw_partition", "raw_offset", "raw_index")]
    return table.take(pc.sort_indices(table, order)).combine_chunks()


def contents(lines: list[bytes]) -> dict[str, Any]:
    return {orjson.loads(line)["finding_info"]["uid"]: reference_run.content(line) for line in lines}


def is_incident(alert: dict[str, Any] | None) -> TypeGuard[dict[str, Any]]:
    """Replays have no notices."""
    return alert is not None and "notice" not in alert["unmapped"]


def what_was_live(settings: Settings) -> tuple[dict[str, bytes], pa.Table]:
    """Incidents by uid as they last stood, and the rows of the archive by position."""
    incidents = alerts(settings, from_start=True, follow=False)
    live = {incident["finding_info"]["uid"]: orjson.dumps(incident) for incident in incidents if is_incident(incident)}
    with connect(settings.archive_uri) as archive:
        rows = archive.sql("SELECT * FROM flows UNION ALL BY NAME SELECT * FROM late").to_arrow_table()
    return live, by_position(rows)


def alert_keys(settings: Settings) -> set[str]:
    """The keys in topic `alerts`."""
    reader = clients.reader(settings, "test", **tail.EOF_EVENTS)
    ends = tail.ends(settings, settings.topics.alerts, range(settings.partitions))
    reader.assign([TopicPartition(settings.topics.alerts, partition, 0) for partition in ends])
    keys = {(message.key() or b"").decode() for message in tail.read_to(reader, settings.topics.alerts, ends)}
    reader.close()
    return keys


RETAIN_OFTEN = {
    "state_every_messages": 1,
    "state_every_s": 0.1,
    "state_kept_every_us": 60_000_000,
    "flows_rows": 100,
}


@dataclass(frozen=True)
class Ran:
    """What ran, whose stages have ended: its settings, how many records were sent, its incidents and rows."""

    settings: Settings
    sent: int
    live: dict[str, bytes]
    rows: pa.Table


@pytest.fixture(scope="module")
def ran(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Stages that retain their states often, also after two of them were killed."""
    folder, sent = tmp_path_factory.mktemp("ran"), 0
    with running(kafka, f"t{uuid.uuid4().hex[:10]}.", folder / "flow", **RETAIN_OFTEN) as flow:
        for sensor in traffic.SENSORS:
            path = folder / f"{sensor}.csv"
            sent += traffic.write_after_cut(sensor, path)
            send(flow, path, sensor, speed="120")  # saves, at most a fiftieth of the time, are to be many
            if sensor == traffic.SENSORS[0]:
                for stage in ("featurize", "alert"):
                    flow.kill(stage)
        flow.wait_archived(sent)
        flow.wait_drained(sent)  # alert may be behind the archive
    settings = flow.settings.model_copy(update={"device": "cpu"})
    return Ran(settings, sent, *what_was_live(settings))


def test_replays_are_what_was_live(ran: Ran, tmp_path: Path) -> None:
    settings = ran.settings.model_copy(update={"replay_uri": tmp_path / "replays"})
    sent, live, rows = ran.sent, ran.live, ran.rows
    with Ledger(settings, kafka=True) as ledger:
        first, again = ledger.refresh(), ledger.refresh()
    assert first == again
    assert first["balanced"]
    assert sum(row["sent"] for row in first["sensors"]) == sent
    assert all(row["sent"] == row["accepted"] + row["late"] + row["rejected"] for row in first["sensors"])

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

    assert alert_keys(settings_of(settings, "topic-two")) == set(live)

    comparison = compare(settings, LIVE, "topic")
    assert comparison["flows"]["same_score"] == sent
    assert comparison["incidents"]["same"] == len(live)

    confirmed, false = (orjson.loads(entry) for entry in list(live.values())[:2])
    verdicts.send(settings, on_event(confirmed, "fp", 1))
    verdicts.send(settings, on_event(confirmed, "tp", 2))
    verdicts.send(settings, on_event(false, "benign", 3))
    judged = compare(settings, LIVE, "archive", judgements=["topic"])
    assert judged["verdicts"] | {"outside": 0} == judged["verdicts"]
    assert (judged["verdicts"]["read"], judged["verdicts"]["overruled"]) == (3, 1)
    for side in ("first", "second"):
        counts = judged[side]["verdicts"]
        assert (counts["confirmed"], counts["confirmed_found"], counts["false"], counts["false_raised"]) == (1, 1, 1, 1)
        assert judged[side]["labelled_by"]["verdicts"] == judged[side]["labelled"] > 0


def delete_flows(settings: Settings, before: dict[int, int]) -> None:
    """What retention does: the messages before these offsets are gone."""
    where = [TopicPartition(settings.topics.flows, partition, offset) for partition, offset in before.items()]
    admin = clients.admin(settings)  # referenced until the answers are here
    for future in admin.delete_records(where).values():
        future.result(30)


def within(table: pa.Table, from_us: int) -> pa.Table:
    return by_position(table.filter(pc.greater_equal(table.column("end_ts_us"), from_us)))


def test_a_replay_starts_from_retained_snapshots(ran: Ran, tmp_path: Path) -> None:
    """The last of this file: it deletes flows of what ran."""
    settings = ran.settings.model_copy(update={"replay_uri": tmp_path / "replays"})
    sent, live, rows = ran.sent, ran.live, ran.rows
    listed = states.listed(settings)
    assert all(entry["whole"] for entry in listed)
    windows = [entry for entry in listed if entry["room"] == "featurize"]
    assert len(windows) > 10 and len({entry["partition"] for entry in listed}) == 2
    times_us = sorted(entry["reached_us"] for entry in windows)
    from_us = times_us[len(times_us) // 2] + 1

    def replayed(name: str, workers: int = 1, **others: Any) -> dict[str, Any]:
        report = runs.run(settings, Request(name, TOPIC, from_us=from_us, **others), workers)
        comparison, expected = by_position(pq.read_table(settings.replay_uri / name / "rows")), within(rows, from_us)
        assert 0 < len(comparison) < len(rows)
        for column in SAME:
            assert comparison.column(column).to_pylist() == expected.column(column).to_pylist(), (name, column)
        lines = (settings.replay_uri / name / runs.INCIDENTS).read_bytes().splitlines()
        last = {uid: entry for uid, entry in live.items() if orjson.loads(entry)["unmapped"]["last_ts_us"] >= from_us}
        assert contents(lines) == contents(list(last.values())), name
        return report

    whole, warm = replayed("whole", states=False), replayed("warm")
    assert [entry["position"] for entry in whole["began"]] == [0, 0]
    assert all(entry["windows"] and entry["incidents"] and entry["position"] > 0 for entry in warm["began"])
    assert warm["warnings"] == whole["warnings"] == []
    assert warm["taken"] < whole["taken"] == sent
    assert warm["incidents_sha256"] == whole["incidents_sha256"]

    delete_flows(settings, {entry["partition"]: entry["position"] for entry in warm["began"]})
    assert [history.flows_first(settings, entry["partition"]) for entry in warm["began"]] == [
        entry["position"] for entry in warm["began"]
    ]
    again = replayed("again", workers=2)
    for figure in ("began", "rows_sha256", "incidents_sha256", "taken", "warnings"):
        assert again[figure] == warm[figure], figure
    # Without them something is missing, and that is said.
    warnings: list[str] = []
    without = runs.run(settings, Request("without", TOPIC, from_us=from_us, states=False), warn=warnings.append)
    assert without["warnings"] == warnings and len(warnings) == 2
    # A topic that was made anew is another one, whatever its name.
    former = settings.model_copy(update={"topic_prefix": f"{settings.topic_prefix}anew."})
    retained = Path(settings.state_uri) / "kept"
    (retained / settings.topics.flows).rename(retained / former.topics.flows)
    topics.create(former)
    assert states.listed(former) and not any(
        SnapshotCatalog(former.state_uri, former.topics.flows, number).of(topics.topic_id(former, former.topics.flows))
        for number in range(2)
    )
