"""Ingest on a real Kafka: files into `raw`, `raw` into `flows` and `rejects`, each record once, whatever dies."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
import structlog
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its types do not say that it exports them
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from pipeline.contracts.raw import END_OF_SOURCE, SourceInfo
from pipeline.ingest import worker as ingest_worker
from pipeline.ingest.messages import Messages
from pipeline.runtime.kafka import clients, errors
from pipeline.runtime.kafka.outage import KafkaWatch
from pipeline.runtime.shutdown import Stop
from pipeline.runtime.telemetry import start
from pipeline.runtime.wire.batches import decode
from pipeline.settings import Settings
from tests.ingest.records import ICSFLOW, ZEEK, joined
from tests.integration.ingest_stage import (
    FLOWS_OF_LEFT,
    LEFT,
    ROOT,
    created,
    environment,
    forebay,
    read,
    send,
    value,
    worker,
)
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.integration


@pytest.fixture
def stage(kafka: str, prefix: str) -> Settings:
    return created(kafka, prefix)


def committed_records(settings: Settings) -> int:
    return sum(decode(value(message), "flow")[1]["records"] for message in read(settings, settings.topics.flows))


def wait_for(settings: Settings, records: int, marks: int = 0) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        metas = [decode(value(message), "flow")[1] for message in read(settings, settings.topics.flows)]
        if sum(meta["records"] for meta in metas) >= records and sum(len(meta["ended"]) for meta in metas) >= marks:
            return
        time.sleep(0.3)
    pytest.fail(f"only {committed_records(settings)} of {records} records after {PATIENCE_S} s")


def every_position_once(settings: Settings) -> Counter[str]:
    """Check that all of `raw` is covered once by ranges that follow one another; where each record went."""
    covered: list[tuple[int, int, int]] = []
    rows: list[tuple[int, int, int]] = []
    went: Counter[str] = Counter()
    records = rejected = 0
    for message in read(settings, settings.topics.flows):
        batch, meta = decode(value(message), "flow")
        assert meta["raw_partition"] == message.partition()
        covered.append((meta["raw_partition"], *meta["first"]))
        covered.append((meta["raw_partition"], *meta["last"]))
        records, rejected = records + meta["records"], rejected + meta["rejected"]
        columns = (batch[name].to_pylist() for name in ("raw_partition", "raw_offset", "raw_index"))
        rows += zip(*columns, strict=True)
        went["flows"] += batch.num_rows
    assert covered == sorted(covered)
    for message in read(settings, settings.topics.rejects):
        batch, _ = decode(value(message), "reject")
        assert set(batch["raw_partition"].to_pylist()) == {message.partition()}
        columns = (batch[name].to_pylist() for name in ("raw_partition", "raw_offset", "raw_index"))
        rows += zip(*columns, strict=True)
        went.update(batch["reason"].to_pylist())
    assert went.total() == records and went.total() - went["flows"] == rejected
    assert len(set(rows)) == len(rows)
    sent: list[tuple[int, int, int]] = []
    for message in read(settings, settings.topics.raw):
        lines = [line for line in value(message).split(b"\n") if line]
        sent += [(message.partition() or 0, message.offset() or 0, at) for at in range(len(lines))]
    assert sorted(rows) == sorted(sent)
    return went


def test_a_file_becomes_flows_with_its_rejects_and_its_mark(stage: Settings, tmp_path: Path) -> None:
    good = json.dumps(ZEEK)
    path = tmp_path / "gate.log"
    path.write_text("\n".join([good, "broken", good, json.dumps({**ZEEK, "id.orig_p": 70_000}), good]))
    code, sent = forebay(stage, "flow", "send", str(path), "--site", "dam", "--pack", "2", "--json")
    assert code == 0 and sent["sent"] == sent["records"] == 5 and sent["messages"] == 3 and sent["finished"]
    traces = tmp_path / "traces.jsonl"
    with worker(stage, FOREBAY_TRACE_FILE=str(traces)):
        wait_for(stage, 5, 1)
    assert every_position_once(stage) == Counter(flows=3, not_json=1, port_range=1)
    messages = read(stage, stage.topics.flows)
    batch, meta = decode(value(messages[-1]), "flow")
    assert meta["ended"] == [["dam", "gate"]] and messages[-1].key() == b"dam/gate"
    assert set(batch["site"].to_pylist()) == {"dam"} and set(batch["sensor"].to_pylist()) == {"gate"}
    reject = decode(value(read(stage, stage.topics.rejects)[0]), "reject")[0].to_pylist()
    assert [row["source_record"] for row in reject] == [1, 3] and reject[0]["record"] == b"broken"
    raw = clients.headers_of(read(stage, stage.topics.raw)[0])
    flows = clients.headers_of(messages[-1])
    span = json.loads(traces.read_text().splitlines()[0])
    assert (
        raw["traceparent"][:35] == flows["traceparent"][:35] and span["trace_id"] == raw["traceparent"][3:35].decode()
    )


def test_an_idle_sensor_gets_one_tick_and_a_sensor_that_ended_none(stage: Settings) -> None:
    good = json.dumps(ZEEK).encode()
    producer = clients.producer(stage, "foreign")
    zeek = ("content-type", b"zeek-conn+json")
    for sensor in (b"gate", b"weir"):
        producer.produce(stage.topics.raw, good, headers=[zeek, ("site", b"dam"), ("sensor", sensor)], partition=1)
    end = {"content-type": b"end-of-source", "site": b"dam", "sensor": b"weir"}
    producer.produce(stage.topics.raw, b"", headers={**end}, partition=1)
    producer.flush()

    def ticks() -> list[list[list[str]]]:
        metas = [decode(value(message), "flow")[1] for message in read(stage, stage.topics.flows)]
        return [meta["silent"] for meta in metas if meta["silent"]]

    with worker(stage, FOREBAY_IDLE_US="500000"):
        deadline = time.monotonic() + PATIENCE_S
        while not ticks() and time.monotonic() < deadline:
            time.sleep(0.3)
        time.sleep(2)  # four more idle timeouts
        assert ticks() == [[["dam", "gate"]]]
        producer.produce(stage.topics.raw, good, headers=[zeek, ("site", b"dam"), ("sensor", b"gate")], partition=1)
        producer.flush()
        while len(ticks()) < 2 and time.monotonic() < deadline:
            time.sleep(0.3)
        assert ticks() == [[["dam", "gate"]]] * 2
    assert every_position_once(stage) == Counter(flows=3)


def test_whatever_stands_in_raw_is_covered(stage: Settings) -> None:
    producer = clients.producer(stage, "foreign")
    named = [("site", b"dam"), ("sensor", b"gate")]
    zeek = ("content-type", b"zeek-conn+json")
    good = json.dumps(ZEEK).encode()
    row = ",".join(ICSFLOW.values()).encode()
    columns = ("columns", json.dumps(list(ICSFLOW)).encode())
    sent: list[tuple[bytes | None, list[tuple[str, bytes]]]] = [
        (good, [zeek, *named]),
        (None, []),
        (b"", [zeek, *named]),
        (good, []),
        (good + b"\n" + good, [zeek]),
        (row, [("content-type", b"icsflow+csv"), columns, *named]),
        (row, [("content-type", b"icsflow+csv"), *named]),
        (b"", [("content-type", b"end-of-source")]),
        (b"\n".join([good] * 10_000), [zeek, *named]),
    ]
    for payload, headers in sent:
        producer.produce(stage.topics.raw, payload, partition=0, headers=[(name, text) for name, text in headers])
    producer.flush(10)
    with worker(stage):
        wait_for(stage, 10_006)
    metas = [decode(value(message), "flow")[1] for message in read(stage, stage.topics.flows)]
    assert sum(meta["records"] for meta in metas) == 10_006
    assert metas[0]["first"] == [0, 0] and metas[-1]["last"] == [8, 9999]
    assert max(meta["records"] for meta in metas) <= stage.flows_rows
    reasons = [
        decode(value(message), "reject")[0]["reason"].to_pylist() for message in read(stage, stage.topics.rejects)
    ]
    assert Counter(reason for several in reasons for reason in several) == Counter(content_type=1, origin=2, columns=1)
    # Ranges follow one another without a gap, also through messages that hold nothing.
    for before, after in pairwise(metas):
        offset, index = before["last"]
        assert after["first"] in ([offset, index + 1], [offset + 1, 0])


@pytest.mark.crash
def test_killed_twice_every_record_is_there_once(stage: Settings) -> None:
    sender = subprocess.Popen(
        [sys.executable, "-m", "pipeline.tools.cli", "flow", "send", str(LEFT), "--speed=800", "--json", "--site=w"],
        env=environment(stage), cwd=ROOT, stdout=subprocess.PIPE,
    )  # fmt: skip
    for _ in range(2):
        before = committed_records(stage)
        with worker(stage, FOREBAY_FLOWS_ROWS="64") as process:
            deadline = time.monotonic() + PATIENCE_S
            while committed_records(stage) <= before + 100 and time.monotonic() < deadline:
                time.sleep(0.1)
            process.kill()
    with worker(stage):
        stdout, _ = sender.communicate(timeout=PATIENCE_S)
        assert json.loads(stdout.decode().splitlines()[-1])["sent"] == FLOWS_OF_LEFT
        wait_for(stage, FLOWS_OF_LEFT, 1)
    assert every_position_once(stage) == Counter(flows=FLOWS_OF_LEFT)


@pytest.mark.crash
def test_two_workers_share_the_partitions_and_one_takes_over(stage: Settings) -> None:
    sensors = ["a", "b", "c", "d"]
    with worker(stage, FOREBAY_INSTANCE_ID="1"):
        with worker(stage, FOREBAY_INSTANCE_ID="2"):
            for sensor in sensors[:2]:
                assert send(stage, LEFT, sensor) == FLOWS_OF_LEFT
            wait_for(stage, 2 * FLOWS_OF_LEFT, 2)
        for sensor in sensors[2:]:
            assert send(stage, LEFT, sensor) == FLOWS_OF_LEFT
        wait_for(stage, 4 * FLOWS_OF_LEFT, 4)
    assert every_position_once(stage) == Counter(flows=4 * FLOWS_OF_LEFT)


@contextmanager
def opened(settings: Settings, records: int) -> Iterator[tuple[ingest_worker.IngestWorker, Messages]]:
    """The worker in this process, with the raw messages that it has received: `records` of one record each."""
    telemetry = start(ingest_worker.STAGE, settings)
    ours = ingest_worker.IngestWorker(settings, telemetry, KafkaWatch("ingest", settings, telemetry, Stop()))
    raw = clients.producer(settings, "foreign")
    headers = {"content-type": b"zeek-conn+json", "site": b"dam", "sensor": b"gate"}
    for _ in range(records):
        raw.produce(settings.topics.raw, json.dumps(ZEEK).encode(), partition=0, headers={**headers})
    raw.flush(10)
    ours.subscribe()
    yield ours, received(ours, records)
    ours.close()
    telemetry.close()


def committed(ours: ingest_worker.IngestWorker, messages: Messages) -> bool:
    """Whether what these messages became is committed; False after an abort."""
    return ours.process_batches(messages) and ours.transactions.settle()


def received(ours: ingest_worker.IngestWorker, records: int) -> Messages:
    """So many messages, however many calls they take."""
    messages = ours.receive()
    deadline = time.monotonic() + PATIENCE_S
    while len(messages) < records and time.monotonic() < deadline:
        more = ours.receive()
        messages = more if not len(messages) else joined(messages, more) if len(more) else messages
    assert len(messages) == records
    return messages


def test_an_aborted_transaction_is_not_seen_and_a_fenced_worker_stops(stage: Settings) -> None:
    with opened(stage, 3) as (ours, messages):
        ours.producer.begin_transaction()
        ours.producer.produce(stage.topics.flows, b"never committed", partition=0)
        ours.producer.flush(10)
        ours.producer.abort_transaction(30)
        assert read(stage, stage.topics.flows) == []
        # A later worker of the same name fences this one: its transaction must fail and leave nothing.
        later = clients.transactional_producer(stage, ingest_worker.STAGE)
        with pytest.raises(KafkaException, match=r"(?i)fenced") as raised:
            committed(ours, messages)
        assert read(stage, stage.topics.flows) == []
        assert errors.kind_of(raised.value.args[0]) is errors.Kind.FENCED
        del later


def test_what_kafka_refuses_is_read_again(stage: Settings) -> None:
    with opened(stage, 3) as (ours, messages):
        limit_messages(stage, 1_000)
        wait_until_refused(stage, 2_000)
        assert not committed(ours, messages)
        assert read(stage, stage.topics.flows) == []
        limit_messages(stage, 8_388_608)
        ours.start_over()
        again = received(ours, 3)
        assert again.offset.tolist() == messages.offset.tolist()
        for _ in range(5):
            # The client may need another round to get back in step with the broker's sequence numbers.
            if committed(ours, again):
                break
            ours.start_over()
            again = received(ours, 3)
    assert every_position_once(stage) == Counter(flows=3)


def test_an_aborted_transaction_admits_nobody(stage: Settings) -> None:
    """A source ends, and another sensor takes its place: read again, the first one's records are in time for theirs."""
    one = stage.model_copy(update={"max_sensors": 1})
    with opened(one, 1) as (ours, messages):  # of sensor gate
        raw = clients.producer(one, "foreign")
        mark = SourceInfo(END_OF_SOURCE, site="dam", sensor="gate")
        raw.produce(one.topics.raw, b"", mark.key, partition=0, headers=mark.headers)
        raw.flush(10)
        send_of(one, ["weir"])
        messages = joined(messages, received(ours, 2))
        limit_messages(one, 1_000)
        wait_until_refused(one, 2_000)
        assert ours.process(messages.part(0, 1))
        assert not committed(ours, messages.part(1, len(messages))), "of the transaction before it, or of its own"
        limit_messages(one, 8_388_608)
        ours.start_over()
        again = received(ours, 3)
        for _ in range(5):
            if committed(ours, again):
                break
            ours.start_over()
            again = received(ours, 3)
    assert every_position_once(one) == Counter(flows=2)


def ticks_in(settings: Settings) -> list[Message]:
    return [
        message for message in read(settings, settings.topics.raw) if ("content-type", b"tick") in headers_of(message)
    ]


def headers_of(message: Message) -> list[tuple[str, bytes | None]]:
    return list(message.headers() or [])  # type: ignore[arg-type]  # values are bytes or None


def test_no_tick_behind_what_has_not_been_read_yet(stage: Settings) -> None:
    """While another partition's backlog drains, a sensor's messages wait in the client: it is not idle."""
    idle = stage.model_copy(update={"idle_us": 300_000})
    with opened(idle, 3) as (ours, messages):
        assert committed(ours, messages)
        raw = clients.producer(stage, "foreign")
        headers = {"content-type": b"zeek-conn+json", "site": b"dam", "sensor": b"gate"}
        for number in range(40):
            backlog = {**headers, "sensor": b"weir"} if number % 2 else headers
            raw.produce(stage.topics.raw, json.dumps(ZEEK).encode(), partition=number % 2, headers={**backlog})
        raw.flush(10)
        time.sleep(1.0)  # longer than the sensor may be idle, as the other partition's backlog would take
        ours.tick()
        assert ticks_in(stage) == [], "the sensor has sent; ingest has not read it yet"
        assert committed(ours, received(ours, 40))
        deadline = time.monotonic() + PATIENCE_S
        while len(ticks_in(stage)) < 2 and time.monotonic() < deadline:
            more = ours.receive()
            assert not more or committed(ours, more)
            ours.tick()
        ticks = {message.partition(): message.offset() for message in ticks_in(stage)}
        assert ticks == {0: 23, 1: 20}, "one each, right behind everything it sent"


def test_sensors_beyond_the_bound_are_rejects_also_after_a_restart(stage: Settings) -> None:
    few = stage.model_copy(update={"max_sensors": 3})
    with opened(few, 1) as (ours, messages):  # of sensor gate
        assert committed(ours, messages)
        send_of(stage, ["weir", "sluice", "date-2026-11-28", "gate"])
        assert committed(ours, received(ours, 4))
    with opened(few, 0) as (successor, _nothing):
        send_of(stage, ["date-2026-11-29", "sluice", "weir", "gate"])
        assert committed(successor, received(successor, 4))
    assert every_position_once(stage) == Counter(flows=7, too_many_sensors=2)
    for message in read(stage, stage.topics.rejects):
        for row in decode(value(message), "reject")[0].to_pylist():
            assert row["sensor"].startswith("date-") and json.loads(row["record"]) == ZEEK
            assert "got another sensor where 3 are active, expected at most max_sensors" in row["detail"]


def test_raw_that_was_deleted_unread_is_reported_and_counted(stage: Settings) -> None:
    with opened(stage, 3) as (ours, messages):
        assert committed(ours, messages)
    send_of(stage, ["gate"] * 20)
    delete_below(stage, 13)
    with structlog.testing.capture_logs() as lines, opened(stage, 0) as (successor, _nothing):
        assert committed(successor, received(successor, 10))
        counted = successor.telemetry.registry.get_sample_value(
            "forebay_offsets_deleted_unread_total", {"stage": "ingest"}
        )
    warnings = [line for line in lines if line["event"] == "deleted before it was read"]
    assert [(line["log_level"], line["partition"], line["position"], line["offsets"]) for line in warnings] == [
        ("warning", 0, 3, 10)
    ]
    assert counted == 10
    with structlog.testing.capture_logs() as lines, opened(stage, 2) as (successor, messages):
        assert committed(successor, messages)
    assert not [line for line in lines if line["event"] == "deleted before it was read"]


def delete_below(settings: Settings, offset: int) -> None:
    """What retention does to partition 0 of `raw`."""
    admin = clients.admin(settings)
    for future in admin.delete_records([TopicPartition(settings.topics.raw, 0, offset)]).values():
        future.result(30)


def send_of(settings: Settings, sensors: list[str]) -> None:
    """A record of each of the sensors into partition 0."""
    raw = clients.producer(settings, "foreign")
    for sensor in sensors:
        headers: dict[str, str | bytes | None] = {"content-type": b"zeek-conn+json", "site": b"dam", "sensor": sensor}
        raw.produce(settings.topics.raw, json.dumps(ZEEK).encode(), partition=0, headers=headers)
    raw.flush(10)


def limit_messages(settings: Settings, most_bytes: int) -> None:
    """Set how large a message `flows` takes."""
    entry = ConfigEntry("max.message.bytes", str(most_bytes), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, settings.topics.flows, incremental_configs=[entry])
    admin = clients.admin(settings)  # its answers come only while it lives
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(20)


def wait_until_refused(settings: Settings, size_bytes: int) -> None:
    """The broker hears of a limit from its controller, a moment later: until it refuses such a message in `flows`."""
    producer, deadline = clients.transactional_producer(settings, "test"), time.monotonic() + PATIENCE_S
    answers: list[KafkaError | None] = []
    while not answers or answers[-1] is None:
        assert time.monotonic() < deadline
        producer.begin_transaction()
        value, heard = os.urandom(size_bytes), lambda error, _message: answers.append(error)
        producer.produce(settings.topics.flows, value, partition=0, on_delivery=heard)
        producer.flush(PATIENCE_S)
        producer.abort_transaction()
    assert answers[-1].code() == KafkaError.MSG_SIZE_TOO_LARGE, answers
