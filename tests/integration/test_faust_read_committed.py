"""The shell around Faust, on a real broker: only committed input, exact positions, repeated output recognisable."""

import asyncio
import os
import signal
import time
from dataclasses import asdict
from pathlib import Path

import orjson
import pytest
from confluent_kafka import TopicPartition

from pipeline.errors import RefusedState, Stalled
from pipeline.runtime.faust.partitions import Partitions
from pipeline.runtime.faust.worker import Worker
from pipeline.runtime.kafka import clients
from pipeline.runtime.kafka.outage import KafkaWatch
from pipeline.runtime.kafka.stall import StallDetector
from pipeline.runtime.shutdown import Stop
from pipeline.runtime.state import pointers
from pipeline.runtime.telemetry import start
from pipeline.tools.broker import local
from tests.integration.chain_stage import ChainRoom
from tests.integration.chains import GRACE_S, chain, deduplicated, received, send, settings_for, wait_for, worker
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.integration
STAGE = "tests.integration.chain_stage"


def test_an_aborted_transaction_is_invisible(kafka: str, prefix: str, tmp_path: Path) -> None:
    settings = settings_for(kafka, prefix, tmp_path)
    producer = clients.transactional_producer(settings, "test")
    committed: list[bytes] = []
    for round_number in range(20):
        producer.begin_transaction()
        values = [b"%d-%d" % (round_number, index) for index in range(5)]
        for value in values:
            producer.produce(settings.topics.flows, value=value, partition=0)
        producer.flush()
        if round_number % 2:
            producer.abort_transaction()
        else:
            producer.commit_transaction()
            committed += values
    # An open transaction at the end: nothing after it may be read either.
    producer.begin_transaction()
    producer.produce(settings.topics.flows, value=b"open", partition=0)
    producer.flush()
    with worker(settings, STAGE):
        emitted = received(settings, settings.topics.features, {0: len(committed)})[0]
        time.sleep(1)
        found_later = received(settings, settings.topics.features, {0: len(committed)})[0]
    producer.abort_transaction()
    assert emitted == found_later == chain(committed)


def test_killed_three_times_it_emits_what_an_undisturbed_run_emits(kafka: str, prefix: str, tmp_path: Path) -> None:
    settings = settings_for(kafka, prefix, tmp_path)
    values = {p: [b"%d/%d" % (p, index) for index in range(600)] for p in (0, 1)}
    for part in range(4):
        send(settings, {p: messages[part * 150 : (part + 1) * 150] for p, messages in values.items()})
        enough = {p: part * 150 + 60 for p in values} if part < 3 else {p: 600 for p in values}
        with worker(settings, STAGE) as process:
            emitted = received(settings, settings.topics.features, enough)
            process.kill()
    for partition, messages in values.items():
        assert deduplicated(emitted[partition]) == chain(messages)


def test_a_rebalance_moves_partitions_with_their_state(kafka: str, prefix: str, tmp_path: Path) -> None:
    settings = settings_for(kafka, prefix, tmp_path)
    values = {p: [b"%d/%d" % (p, index) for index in range(300)] for p in (0, 1)}
    send(settings, {p: messages[:100] for p, messages in values.items()})
    with worker(settings, STAGE, "a") as first:
        received(settings, settings.topics.features, {0: 100, 1: 100})
        with worker(settings, STAGE, "b", tmp_path / "b.log"):
            wait_for(tmp_path / "b.log", "ready")
            send(settings, {p: messages[100:200] for p, messages in values.items()})
            received(settings, settings.topics.features, {0: 200, 1: 200})
            first.send_signal(signal.SIGTERM)
            assert first.wait(PATIENCE_S) == 0
        # `b` is killed: its static seat stays taken until it comes back.
        send(settings, {p: messages[200:] for p, messages in values.items()})
        with worker(settings, STAGE, "a"), worker(settings, STAGE, "b"):
            emitted = received(settings, settings.topics.features, {0: 300, 1: 300})
    for partition, messages in values.items():
        assert deduplicated(emitted[partition]) == chain(messages)


@pytest.mark.crash
def test_a_broker_that_dies_and_comes_back_changes_nothing(tmp_path: Path) -> None:
    broker = local.start(tmp_path / "broker")
    try:
        settings = settings_for(broker.bootstrap, "t.", tmp_path / "state")
        values = {p: [b"%d/%d" % (p, index) for index in range(200)] for p in (0, 1)}
        send(settings, {p: messages[:100] for p, messages in values.items()})
        with worker(settings, STAGE, log=tmp_path / "log") as process:
            received(settings, settings.topics.features, {0: 100, 1: 100})
            os.kill(broker.pid, signal.SIGKILL)
            time.sleep(2)
            local.start(tmp_path / "broker")
            send(settings, {p: messages[100:] for p, messages in values.items()})
            emitted = received(settings, settings.topics.features, {0: 200, 1: 200})
            assert process.poll() is None
    finally:
        local.stop(tmp_path / "broker", grace_s=10.0)
    for partition, messages in values.items():
        assert deduplicated(emitted[partition]) == chain(messages)


def test_two_workers_that_both_emit_change_nothing(kafka: str, prefix: str, tmp_path: Path) -> None:
    settings = settings_for(kafka, prefix, tmp_path, partitions=1)
    values = [b"%d" % index for index in range(400)]
    send(settings, {0: values[:200]})
    with worker(settings, STAGE) as zombie:
        received(settings, settings.topics.features, {0: 100})
        zombie.send_signal(signal.SIGSTOP)
        # Its twin takes the same seat: the group does not fence what the paused one will still emit and point to.
        with worker(settings, STAGE):
            received(settings, settings.topics.features, {0: 200})
            zombie.send_signal(signal.SIGCONT)
            send(settings, {0: values[200:300]})
            received(settings, settings.topics.features, {0: 300})
            time.sleep(1)
    send(settings, {0: values[300:]})
    with worker(settings, STAGE):
        emitted = received(settings, settings.topics.features, {0: 400})
    assert deduplicated(emitted[0]) == chain(values)


def test_an_exception_stops_the_worker_with_its_position_unmoved(kafka: str, prefix: str, tmp_path: Path) -> None:
    settings = settings_for(kafka, prefix, tmp_path, partitions=1)
    send(settings, {0: [b"a", b"b", b"poison", b"c"]})
    log = tmp_path / "log"
    with worker(settings, STAGE, log=log) as process:
        assert process.wait(PATIENCE_S) == 1
    assert b'"offset": 2' in log.read_bytes()
    emitted = received(settings, settings.topics.features, {0: 2})[0]
    assert deduplicated(emitted) == chain([b"a", b"b"])
    newest = pointers.read(settings, settings.topics.featurize_state, [0])[0]
    assert not newest or newest[0].position <= 2


def test_a_saved_position_that_the_topic_no_longer_holds_is_refused(kafka: str, prefix: str, tmp_path: Path) -> None:
    settings = settings_for(kafka, prefix, tmp_path, partitions=1)
    send(settings, {0: [b"a"] * 20})
    with worker(settings, STAGE) as process:
        received(settings, settings.topics.features, {0: 20})
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    admin = clients.admin(settings)
    send(settings, {0: [b"b"] * 20})
    admin.delete_records([TopicPartition(settings.topics.flows, 0, 40)])[
        TopicPartition(settings.topics.flows, 0, 40)
    ].result()
    log = tmp_path / "log"
    with worker(settings, STAGE, log=log) as process:
        assert process.wait(PATIENCE_S) != 0
    assert b"messages were deleted before they were read" in log.read_bytes()


def test_messages_deleted_while_a_worker_lags_stop_it(kafka: str, prefix: str, tmp_path: Path) -> None:
    settings = settings_for(kafka, prefix, tmp_path, partitions=1)
    send(settings, {0: [b"a"] * 20})
    log = tmp_path / "log"
    with worker(settings, STAGE, log=log) as process:
        received(settings, settings.topics.features, {0: 20})
        process.send_signal(signal.SIGSTOP)  # it lags, but not for longer than its session
        send(settings, {0: [b"b"] * 40})
        admin = clients.admin(settings)
        for future in admin.delete_records([TopicPartition(settings.topics.flows, 0, 50)]).values():
            future.result(30)
        process.send_signal(signal.SIGCONT)
        assert process.wait(PATIENCE_S) != 0
    assert b"messages were deleted before they were read" in log.read_bytes()


def test_a_consumer_that_hangs_ends_the_worker_and_marks_do_not(kafka: str, prefix: str, tmp_path: Path) -> None:
    settings = settings_for(kafka, prefix, tmp_path, partitions=1)
    stage = ChainRoom(settings)
    telemetry = start("chain", settings)
    kafka_watch = KafkaWatch("chain", settings, telemetry, Stop(), lambda: True)

    async def run() -> None:
        shell = Worker(stage, settings, telemetry, kafka_watch)
        running = asyncio.ensure_future(shell.run())
        await asyncio.to_thread(send, settings, {0: [b"a"] * 20})  # the mark of a transaction is the last record
        await asyncio.to_thread(received, settings, settings.topics.features, {0: 20})
        shell._stall = StallDetector(settings, kafka_watch, quiet_s=1.0, confirm_s=1.0)  # a first fetch may take longer
        await asyncio.sleep(5.0)
        assert not running.done(), "everything was read"
        shell._app.consumer.pause_partitions(shell._app.consumer.assignment())  # what a hang looks like from outside
        await asyncio.to_thread(send, settings, {0: [b"b"] * 20})
        await asyncio.wait_for(running, PATIENCE_S)

    with pytest.raises(Stalled, match=r"flows\[0\]: got no records for 2 s although Kafka answers"):
        asyncio.run(run())
    telemetry.close()
    with worker(settings, STAGE):
        emitted = received(settings, settings.topics.features, {0: 40})[0]
    assert deduplicated(emitted) == chain([b"a"] * 20 + [b"b"] * 20)


def test_stopping_saves_within_what_is_granted(kafka: str, prefix: str, tmp_path: Path) -> None:
    settings = settings_for(kafka, prefix, tmp_path, partitions=1)
    send(settings, {0: [b"%d" % index for index in range(55)]})
    with worker(settings, STAGE) as process:
        received(settings, settings.topics.features, {0: 55})
        process.send_signal(signal.SIGTERM)
        assert process.wait(GRACE_S) == 0
    newest = pointers.read(settings, settings.topics.featurize_state, [0])[0][0]
    assert newest.seq == 55


@pytest.mark.parametrize("record", [b"no JSON", b"{}", "elsewhere", "other partition", "number in a text"])
def test_a_malformed_pointer_stops_nobody(kafka: str, prefix: str, tmp_path: Path, record: bytes | str) -> None:
    """It is ignored, as a malformed record of `models` is, and said in the log and a metric; the one before holds."""
    settings = settings_for(kafka, prefix, tmp_path, partitions=1)
    topic = settings.topics.featurize_state
    good = pointers.Pointer(0, 2, 2, "a" * 64, "chain/0")
    changed: dict[str, dict[str, object]] = {
        "elsewhere": {"digest": "../../../../dev/zero"},
        "other partition": {"partition": 1},
        "number in a text": {"position": "9"},
    }
    payload = record if isinstance(record, bytes) else orjson.dumps({**asdict(good), "position": 9, **changed[record]})
    producer = clients.producer(settings, "test")
    for value in (good.encode(), payload):
        producer.produce(topic, value=value, key=b"0", partition=0)
    producer.flush()
    ignored: list[int | None] = []
    emitted = pointers.read(settings, topic, [0], ignored=lambda message, _error: ignored.append(message.offset()))
    assert emitted == {0: [good]} and ignored == [1]
    # The worker continues with what it can use: here the state of the good one is not there, and that is what it says.
    telemetry = start("chain", settings)
    with pytest.raises(RefusedState, match="state chain/0/aaaaaaaaaaaa"):
        Partitions(ChainRoom(settings), settings, telemetry).restore([0])
    assert telemetry.registry.get_sample_value("forebay_malformed_records_total", {"topic": topic}) == 1
    telemetry.close()
