"""Intake on a real Kafka: what other tools write becomes `raw`, each record once, whatever dies."""

import json
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest
from confluent_kafka import Message, Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its types do not say that it exports them
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from pipeline.contracts.raw import MAX_RECORD_BYTES
from pipeline.ingest.decode import decode_messages
from pipeline.ingest.headers import HeaderCache
from pipeline.runtime.kafka import clients, topics
from pipeline.settings import Settings, load_settings
from schemas.intake import TopicSource
from tests.integration.chains import wait_for, worker
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.integration

SOURCE_PARTITIONS = 3
# What is older than the retention of a topic, Kafka deletes.
NOW_MS = time.time_ns() // 1_000_000 - 3_600_000
INTAKE = "pipeline.tools.cli intake run"

# As nfdump writes it where it is 23:13:20.5.
LOCAL = {"type": "FLOW", "first": "2023-11-14T23:13:20.500", "last": "2023-11-14T23:13:21.500", "in_packets": 5}
LOCAL |= {"in_bytes": 500, "proto": 6, "tcp_flags": "...AP.SF", "src_port": 50_820, "dst_port": 502}
LOCAL |= {"src4_addr": "192.0.2.1", "dst4_addr": "198.51.100.9"}


@pytest.fixture
def settings(kafka: str, prefix: str, tmp_path: Path) -> Settings:
    source = {
        "topic": f"{prefix}zeek-other",
        "site": {"field": "host.name", "else": "plant"},
        "sensor": "edge",
        "time_zone": "Europe/Vienna",
    }
    made = load_settings(
        bootstrap=kafka,
        topic_prefix=f"{prefix}ours.",
        partitions=2,
        sources=(TopicSource.model_validate(source),),
        state_uri=tmp_path / "state",
        metrics_port=-1,
    )
    topics.create(made)
    wanted = [NewTopic(f"{prefix}zeek-other", SOURCE_PARTITIONS, 1)]
    admin = clients.admin(made)  # referenced until the answers are here
    for future in admin.create_topics(wanted).values():
        future.result(30)
    return made


def conn(number: int, **more: object) -> bytes:
    """A record of conn.log that ends `number` milliseconds after a time."""
    record = {"ts": 1_700_000_000 + number / 1000, "uid": f"C{number}", "id.orig_h": "192.0.2.7", "id.orig_p": 50820}
    more = {"id.resp_h": "198.51.100.9", "id.resp_p": 502, "proto": "tcp", "conn_state": "SF", **more}
    return json.dumps({**record, **more}).encode()


def write(settings: Settings, records: list[bytes], at_ms: int = NOW_MS) -> None:
    """Records as a collector without a key writes them: over all partitions, one a millisecond, no headers."""
    producer = clients.producer(settings, "test")
    for number, record in enumerate(records):
        producer.produce(
            settings.sources[0].title, record, partition=number % SOURCE_PARTITIONS, timestamp=at_ms + number
        )
    assert producer.flush(30) == 0


def raw_records(settings: Settings) -> dict[int, list[tuple[str, str, bytes]]]:
    """What is committed in `raw`: site, content-type and bytes of each record, by partition."""
    consumer = clients.reader(settings, "test", **{"enable.partition.eof": True})
    consumer.assign([TopicPartition(settings.topics.raw, partition, 0) for partition in range(settings.partitions)])
    records: dict[int, list[tuple[str, str, bytes]]] = {}
    ended = 0
    while ended < settings.partitions:
        for message in consumer.consume(500, 1.0):
            if message.error() is not None:
                ended += 1
                continue
            headers = clients.headers_of(message)
            value = message.value()
            assert isinstance(value, bytes)
            records.setdefault(message.partition() or 0, []).extend(
                (headers["site"].decode(), headers["content-type"].decode(), line) for line in value.split(b"\n")
            )
    consumer.close()
    return records


def wait_for_records(settings: Settings, count: int, process: "subprocess.Popen[bytes] | None" = None) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if process is not None and process.poll() is not None:
            return
        if sum(map(len, raw_records(settings).values())) >= count:
            return
        time.sleep(0.5)
    pytest.fail(f"only {sum(map(len, raw_records(settings).values()))} of {count} records after 90 s")


def test_a_mixed_topic_becomes_flows_of_the_sites_its_records_name(settings: Settings, tmp_path: Path) -> None:
    inner = conn(1).decode()
    write(settings, [
        conn(0),
        json.dumps({"message": inner, "host": {"name": "plant-2"}, "ecs": {"version": "8.0.0"}}).encode(),
        b'{"_path":"dns","ts":1700000000.0,"uid":"D","query":"x"}',
        b"INFO[0000] starting",
        json.dumps(LOCAL).encode(),
    ])  # fmt: skip
    with worker(settings, INTAKE, "a", tmp_path / "a.log"):
        wait_for_records(settings, 4)
    records = [record for part in raw_records(settings).values() for record in part]
    assert Counter((site, kind) for site, kind, _ in records) == {
        ("plant", "zeek-conn+json"): 1,
        ("plant-2", "zeek-conn+json"): 1,
        ("plant", "nfdump+json"): 1,
        ("plant", ""): 1,
    }
    consumer = clients.reader(settings, "test")
    consumer.assign([TopicPartition(settings.topics.raw, partition, 0) for partition in range(settings.partitions)])
    messages, deadline = list[Message](), time.monotonic() + PATIENCE_S
    while len(messages) < 4 and time.monotonic() < deadline:
        messages += [message for message in consumer.consume(4, 1.0) if message.error() is None]
    consumer.close()
    together = HeaderCache().messages(messages)
    stated = {source.content_type: source.lateness_us for source in together.sources}
    assert stated == {"zeek-conn+json": 300_000_000, "nfdump+json": None, "": None}, "how long their flows are to wait"
    decoded = decode_messages(together, 0)
    starts = dict(zip(decoded.flows["sensor_uid"].to_pylist(), decoded.flows["start_ts_us"].to_pylist(), strict=True))
    assert starts == {"C0": 1_700_000_000_000_000, "C1": 1_700_000_000_001_000, None: 1_700_000_000_500_000}
    assert decoded.rejects["reason"].to_pylist() == ["content_type"]


def test_killed_at_every_step_every_record_is_there_once_and_in_order(settings: Settings, tmp_path: Path) -> None:
    steps = ("produced:1", "offsets sent:1", "committed:1", "produced:2", "offsets sent:2")
    batch = 600
    for number, step in enumerate(steps):
        write(settings, [conn(batch * number + each) for each in range(batch)], NOW_MS + batch * number)
        armed = settings.model_copy(update={"failpoint": f"intake.{step}"})
        with worker(armed, INTAKE, "a", tmp_path / f"{number}.log") as process:
            wait_for_records(settings, batch * (number + 1), process)
    with worker(settings, INTAKE, "a", tmp_path / "last.log"):
        wait_for_records(settings, batch * len(steps))
    [records] = raw_records(settings).values()
    assert [json.loads(record)["uid"] for _, _, record in records] == [f"C{n}" for n in range(batch * len(steps))]


def test_a_backlog_over_three_partitions_is_read_in_order(settings: Settings, tmp_path: Path) -> None:
    """Partition after partition it would come out of order by the whole length of the backlog."""
    write(settings, [conn(number) for number in range(30_000)])
    with worker(settings, INTAKE, "a", tmp_path / "a.log"):
        wait_for_records(settings, 30_000)
    [records] = raw_records(settings).values()
    assert [json.loads(record)["uid"] for _, _, record in records] == [f"C{number}" for number in range(30_000)]


def test_a_second_worker_takes_over_and_the_first_says_so(settings: Settings, tmp_path: Path) -> None:
    with worker(settings, INTAKE, "a", tmp_path / "a.log") as first:
        wait_for(tmp_path / "a.log", "ready")
        with worker(settings, INTAKE, "a", tmp_path / "b.log"):
            wait_for(tmp_path / "b.log", "ready")
            write(settings, [conn(number) for number in range(100)])
            wait_for_records(settings, 100)
            assert first.wait(PATIENCE_S) == 75
    assert sum(map(len, raw_records(settings).values())) == 100


def test_topics_of_kafka_itself_are_of_no_pattern(settings: Settings, tmp_path: Path) -> None:
    """Each commit writes into them: read as a source, they would feed intake its own commits for ever."""
    shared = settings.topic_prefix.removesuffix("ours.")
    source = TopicSource.model_validate({"pattern": f"^({shared}zeek|__)", "site": "plant", "sensor": "edge"})
    write(settings, [conn(0)])
    with worker(settings.model_copy(update={"sources": (source,)}), INTAKE, "a", tmp_path / "a.log"):
        wait_for_records(settings, 1)
        time.sleep(2)
    assert [kind for part in raw_records(settings).values() for _, kind, _ in part] == ["zeek-conn+json"]


def test_a_record_that_kafka_would_not_take_in_raw_is_sent_cut_off(settings: Settings, tmp_path: Path) -> None:
    topic = settings.sources[0].title
    larger = ConfigEntry("max.message.bytes", "20000000", incremental_operation=AlterConfigOpType.SET)
    admin = clients.admin(settings)  # referenced until the answers are here
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[larger])
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(30)
    producer = Producer({"bootstrap.servers": settings.bootstrap, "message.max.bytes": 20_000_000})
    producer.produce(topic, conn(0, text="x" * 9_000_000), partition=0, timestamp=NOW_MS)
    assert producer.flush(30) == 0
    write(settings, [conn(1)], NOW_MS + 5)
    with worker(settings, INTAKE, "a", tmp_path / "a.log") as process:
        wait_for_records(settings, 2, process)
    records = [record for part in raw_records(settings).values() for _, _, record in part]
    assert [len(record) for record in records] == [MAX_RECORD_BYTES + 1, len(conn(1))]
