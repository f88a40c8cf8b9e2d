"""Workers that come, go, stall and return while messages flow: the output is that of a reference run."""

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition

from pipeline.contracts.envelope import FlowsFacts
from pipeline.featurize.partition import PartitionState, advance_partition
from pipeline.runtime.kafka import clients
from pipeline.runtime.wire.batches import decode
from pipeline.runtime.wire.messages import read, write
from pipeline.settings import Settings
from tests.contracts.facts import at
from tests.integration.chains import GRACE_S, chain, deduplicated, received, send, settings_for, wait_for, worker
from tests.integration.flows_of_two_sensors import messages
from tests.patience import PATIENCE_S

pytestmark = [pytest.mark.integration, pytest.mark.crash]
CHAIN = "tests.integration.chain_stage"
FEATURIZE = "pipeline.tools.cli featurize run"


def numbered(partitions: int, count: int) -> dict[int, list[bytes]]:
    """So many different values a partition."""
    return {p: [b"%d/%d" % (p, index) for index in range(count)] for p in range(partitions)}


def test_a_worker_stopped_past_its_session_is_replaced_and_harmless_on_return(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    settings = settings_for(kafka, prefix, tmp_path)
    values = numbered(2, 300)
    send(settings, {p: each[:100] for p, each in values.items()})
    with worker(settings, CHAIN, "a") as sleeper, worker(settings, CHAIN, "b", tmp_path / "b.log"):
        received(settings, settings.topics.features, {0: 100, 1: 100})
        wait_for(tmp_path / "b.log", "ready")
        sleeper.send_signal(signal.SIGSTOP)
        send(settings, {p: each[100:200] for p, each in values.items()})
        # Only the group's own clock takes the sleeper's partitions from it.
        received(settings, settings.topics.features, {0: 200, 1: 200})
        sleeper.send_signal(signal.SIGCONT)
        send(settings, {p: each[200:] for p, each in values.items()})
        received(settings, settings.topics.features, {0: 300, 1: 300})
        time.sleep(2)  # what the sleeper still has to say
        emitted_lines = received(settings, settings.topics.features, {0: 300, 1: 300})
    for partition, each in values.items():
        assert deduplicated(emitted_lines[partition]) == chain(each)


def test_a_storm_of_rebalances_changes_nothing(kafka: str, prefix: str, tmp_path: Path) -> None:
    settings = settings_for(kafka, prefix, tmp_path, partitions=4)
    values = numbered(4, 400)
    with worker(settings, CHAIN, "steady"):
        for gust in range(8):
            send(settings, {p: each[gust * 50 : (gust + 1) * 50] for p, each in values.items()})
            with worker(settings, CHAIN, f"guest-{gust % 3}", tmp_path / f"{gust}.log") as guest:
                wait_for(tmp_path / f"{gust}.log", "ready")
                # Some leave, some are killed, some before they have done anything.
                guest.send_signal(signal.SIGTERM if gust % 2 else signal.SIGKILL)
                guest.wait(PATIENCE_S)
        emitted_lines = received(settings, settings.topics.features, dict.fromkeys(values, 400))
    for partition, each in values.items():
        assert deduplicated(emitted_lines[partition]) == chain(each)


def features_of(settings: Settings, enough: dict[int, int]) -> dict[int, list[bytes]]:
    """Values of `features` by partition, once partition p has enough[p]."""
    reader = clients.reader(settings, "test")
    reader.assign([TopicPartition(settings.topics.features, partition, 0) for partition in range(settings.partitions)])
    by_partition: dict[int, dict[int, bytes]] = {partition: {} for partition in range(settings.partitions)}
    deadline = time.monotonic() + PATIENCE_S
    while any(len(each) < enough[partition] for partition, each in by_partition.items()):
        assert time.monotonic() < deadline, {partition: len(each) for partition, each in by_partition.items()}
        for message in reader.consume(500, 0.2):
            value = clients.raise_for(message).value() or b""
            seq = decode(value, "features")[1]["seq"]
            assert by_partition[message.partition() or 0].setdefault(seq, value) == value
    reader.close()
    return {partition: [each[seq] for seq in sorted(each)] for partition, each in by_partition.items()}


def reference(settings: Settings, flows: dict[int, list[bytes]]) -> Iterator[tuple[int, list[bytes]]]:
    """What the pure functions make of each partition's messages; every ten are followed by a transaction mark."""
    for partition, payloads in flows.items():
        state, emitted = PartitionState.empty(), []
        for number, value in enumerate(payloads):
            offset = number + number // 10
            batch, facts = read(value, FlowsFacts, at("flows", partition, offset))
            state, made = advance_partition(state, batch, facts, offset, settings.lateness_of)
            emitted += [write(features.rows, features.facts) for features in made]
        yield partition, emitted


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.nightly), 4])
def test_features_do_not_depend_on_how_many_workers_make_them(
    workers: int, kafka: str, prefix: str, tmp_path: Path
) -> None:
    settings = settings_for(kafka, prefix, tmp_path / "state", partitions=4, state_every_messages=7)
    flows = {partition: messages(40, partition) for partition in range(4)}
    with ExitStack() as stack:
        for number in range(workers):
            log = tmp_path / f"{number}.log"
            stack.enter_context(worker(settings, FEATURIZE, str(number), log))
        for number in range(workers):
            wait_for(tmp_path / f"{number}.log", "ready")
        send(settings, flows)
        expected = dict(reference(settings, flows))  # a flows message may make several
        emitted_lines = features_of(settings, {partition: len(each) for partition, each in expected.items()})
    assert emitted_lines == expected


def test_asked_to_stop_it_drains_and_leaves_in_time(kafka: str, prefix: str, tmp_path: Path) -> None:
    settings = settings_for(kafka, prefix, tmp_path)
    values = numbered(2, 200)
    send(settings, values)
    with worker(settings, CHAIN) as process:
        received(settings, settings.topics.features, {0: 1, 1: 1})
        process.send_signal(signal.SIGTERM)
        assert process.wait(GRACE_S) == 0
    with worker(settings, CHAIN):
        emitted_lines = received(settings, settings.topics.features, {0: 200, 1: 200})
    for partition, each in values.items():
        assert deduplicated(emitted_lines[partition]) == chain(each)
