"""Stage 2 on a real broker: what it emits is what a reference run emits, byte for byte, once repeats are dropped."""

import signal
import time
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition

from pipeline.contracts.envelope import FlowsFacts
from pipeline.featurize.partition import PartitionState, advance_partition
from pipeline.runtime.kafka import clients, tail
from pipeline.runtime.state import pointers
from pipeline.runtime.wire.batches import decode
from pipeline.runtime.wire.messages import read, write
from pipeline.runtime.wire.traceparent import parse
from pipeline.settings import Settings
from tests.contracts.facts import at
from tests.integration.chains import settings_for, worker
from tests.integration.flows_of_two_sensors import messages
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.integration
STAGE = "pipeline.tools.cli featurize run"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
MessagesByPartition = dict[int, list[tuple[int, bytes, dict[str, bytes]]]]


@pytest.fixture
def settings(kafka: str, prefix: str, tmp_path: Path) -> Settings:
    return settings_for(kafka, prefix, tmp_path / "state", state_every_messages=7)


def send(settings: Settings, flows: dict[int, list[bytes]], abort: bool = False) -> None:
    """Put flows messages into their partitions in transactions of four, as ingest does."""
    producer = clients.transactional_producer(settings, "test")
    for partition, payloads in flows.items():
        for first in range(0, len(payloads), 4):
            producer.begin_transaction()
            for value in payloads[first : first + 4]:
                producer.produce(
                    settings.topics.flows, value=value, partition=partition, headers={"traceparent": TRACE}
                )
            producer.flush()
            if abort:
                producer.abort_transaction()
            else:
                producer.commit_transaction()


def received(settings: Settings, enough: dict[int, int], timeout_s: float = PATIENCE_S) -> MessagesByPartition:
    """Everything in `features`, repeats too, once seq enough[p] - 1 has been seen in partition p."""
    reader = clients.reader(settings, "test")
    reader.assign([TopicPartition(settings.topics.features, partition, 0) for partition in enough])
    by_partition: MessagesByPartition = {partition: [] for partition in enough}
    highest = dict.fromkeys(enough, -1)
    deadline = time.monotonic() + timeout_s
    while any(highest[p] < enough[p] - 1 for p in enough):
        assert time.monotonic() < deadline, f"{highest} of {enough}"
        for message in reader.consume(500, 0.2):
            partition, value = message.partition() or 0, clients.raise_for(message).value() or b""
            seq = decode(value, "features")[1]["seq"]
            by_partition[partition].append((seq, value, clients.headers_of(message)))
            highest[partition] = max(highest[partition], seq)
    reader.close()
    return by_partition


def offsets(settings: Settings, partitions: int) -> dict[int, list[int]]:
    """Offsets of the flows messages that were committed: the features messages name them."""
    topic, by_partition = settings.topics.flows, {partition: list[int]() for partition in range(partitions)}
    reader = clients.reader(settings, "test", **tail.EOF_EVENTS)
    reader.assign([TopicPartition(topic, partition, 0) for partition in by_partition])
    for message in tail.read_to(reader, topic, tail.ends(settings, topic, by_partition), PATIENCE_S):
        by_partition[message.partition() or 0].append(message.offset() or 0)
    reader.close()
    return by_partition


def reference(settings: Settings, flows: dict[int, list[bytes]]) -> dict[int, list[bytes]]:
    """The features messages of a run without faults."""
    emitted: dict[int, list[bytes]] = {}
    read_at = offsets(settings, settings.partitions)
    for partition, payloads in flows.items():
        state, emitted[partition] = PartitionState.empty(), []
        for value, offset in zip(payloads, read_at[partition], strict=True):
            batch, facts = read(value, FlowsFacts, at("flows", partition, offset))
            state, made = advance_partition(state, batch, facts, offset, settings.lateness_of)
            emitted[partition] += [write(features.rows, features.facts) for features in made]
    return emitted


def deduplicated(received_by_partition: MessagesByPartition) -> dict[int, list[bytes]]:
    """By seq; two messages of one seq must have the same bytes."""
    values: dict[int, dict[int, bytes]] = {partition: {} for partition in received_by_partition}
    for partition, emitted in received_by_partition.items():
        for seq, value, _ in emitted:
            assert values[partition].setdefault(seq, value) == value, f"seq {seq} was emitted again with other bytes"
    return {partition: [by_seq[seq] for seq in sorted(by_seq)] for partition, by_seq in values.items()}


@pytest.mark.parametrize("stated", [False, True], ids=["a lateness of the site", "one of each source"])
def test_killed_three_times_it_emits_the_same_bytes(settings: Settings, stated: bool) -> None:
    flows = {p: messages(100, p, stated=stated) for p in (0, 1)}
    for part in range(4):
        send(settings, {p: all_of[part * 25 : (part + 1) * 25] for p, all_of in flows.items()})
        # In the end all of them: where a sensor sends again that was idle, a flows message makes several.
        expected = reference(settings, flows) if part == 3 else {}
        with worker(settings, STAGE) as process:
            collected = received(settings, {p: len(expected[p]) if expected else part * 25 + 12 for p in flows})
            process.kill()
    assert deduplicated(collected) == expected
    rows = [decode(value, "features") for value in expected[0]]
    late = sum((batch.column("late_by_us").to_numpy() > 0).sum() for batch, _ in rows)
    assert late > 0, "the input has late flows"
    assert any(meta["frontier"] is not None for _, meta in rows), "and flows that wait for their turn"
    said = {us for _, meta in rows for _, sensor, us in meta.get("lateness", []) if sensor == "west"}
    assert said == ({3_000_000, 8_000_000} if stated else set()), "what holds, also when it has grown"
    _, _, headers = collected[0][0]
    parent, span = parse(TRACE), parse(headers["traceparent"])
    assert parent is not None
    assert span is not None
    assert span.trace_id == parent.trace_id
    assert span.span_id != parent.span_id


def test_an_aborted_transaction_leaves_no_trace(settings: Settings) -> None:
    flows = messages(30, 0)
    send(settings, {0: flows[:10]})
    send(settings, {0: messages(8, 0, seed=99)}, abort=True)
    send(settings, {0: flows[10:]})
    expected = reference(settings, {0: flows})[0]
    with worker(settings, STAGE):
        collected = received(settings, {0: len(expected)})
    assert deduplicated(collected)[0] == expected


def test_a_zombie_that_emits_and_points_beside_its_successor_changes_nothing(settings: Settings) -> None:
    flows = messages(120, 0)
    send(settings, {0: flows[:40]})
    with worker(settings, STAGE) as zombie:
        received(settings, {0: 20})
        zombie.send_signal(signal.SIGSTOP)
        with worker(settings, STAGE):
            received(settings, {0: 40})
            zombie.send_signal(signal.SIGCONT)
            send(settings, {0: flows[40:80]})
            received(settings, {0: 80})
            time.sleep(1)
    send(settings, {0: flows[80:]})
    expected = reference(settings, {0: flows})[0]
    with worker(settings, STAGE) as process:
        collected = received(settings, {0: len(expected)})
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    assert deduplicated(collected)[0] == expected
    newest = pointers.read(settings, settings.topics.featurize_state, [0])[0][0]
    assert newest.seq == len(expected)


def test_flows_of_another_partition_stop_the_worker(settings: Settings, tmp_path: Path) -> None:
    send(settings, {0: messages(3, 0)[:1], 1: messages(3, 0)[1:2]})
    log = tmp_path / "log"
    with worker(settings, STAGE, log=log) as process:
        assert process.wait(PATIENCE_S) == 64
    assert "every hop keeps the partition number" in log.read_text().replace("\n", " ")
