"""What the tests of Faust's shell share: a worker process, input, and the chain a reference run would emit."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import TopicPartition

from pipeline.runtime.kafka import clients, topics
from pipeline.settings import Settings, inherited_environment, load_settings
from tests.integration.chain_stage import Chain, line, step
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]
GRACE_S = 60.0
"""What Kubernetes grants a worker to end: terminationGracePeriodSeconds in k8s/base."""
SESSION_S = 6.0
"""The shortest session a broker allows by default: what waits for its end waits no longer than it must."""


def settings_for(kafka: str, prefix: str, state: Path, partitions: int = 2, **others: object) -> Settings:
    """Settings of a fresh set of topics, which are created."""
    settings = load_settings(
        bootstrap=kafka,
        topic_prefix=prefix,
        partitions=partitions,
        state_uri=state,
        state_every_s=0.2,
        metrics_port=-1,
        **{"session_timeout_s": SESSION_S, **others},
    )
    topics.create(settings)
    return settings


@contextmanager
def worker(
    settings: Settings, module: str, instance: str = "0", log: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A stage as a process of its own (`python -m MODULE`); killed at the end if it still runs."""
    worker_settings = settings.model_copy(update={"instance_id": instance})
    environment = inherited_environment({**worker_settings.variables(), "OMP_NUM_THREADS": "1"})
    stderr = log.open("ab") if log is not None else None
    process = subprocess.Popen([sys.executable, "-m", *module.split()], env=environment, cwd=ROOT, stderr=stderr)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()
        if stderr is not None:
            stderr.close()


def wait_for(log: Path, word: str, timeout_s: float = PATIENCE_S) -> None:
    """Wait until a worker's log has a word."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if log.exists() and word in log.read_text():
            return
        time.sleep(0.05)
    raise AssertionError(f"'{word}' never came in {log}: {log.read_text() if log.exists() else 'no log'}")


def send(settings: Settings, values: dict[int, list[bytes]]) -> None:
    """Put values into `flows`, partition by partition, in transactions of 10 messages (so offsets have holes)."""
    producer = clients.transactional_producer(settings, "test")
    for partition, messages in values.items():
        for first in range(0, len(messages), 10):
            producer.begin_transaction()
            for value in messages[first : first + 10]:
                producer.produce(settings.topics.flows, value=value, partition=partition)
            producer.commit_transaction()


def received(
    settings: Settings, topic: str, enough: dict[int, int], timeout_s: float = PATIENCE_S
) -> dict[int, list[bytes]]:
    """What is in a topic, per partition, once partition p's last seq is enough[p] - 1."""
    values: dict[int, list[bytes]] = {partition: [] for partition in enough}
    reader = clients.reader(settings, "test")
    reader.assign([TopicPartition(topic, partition, 0) for partition in enough])
    deadline = time.monotonic() + timeout_s
    while any(not seqs(values[p]) or max(seqs(values[p])) < enough[p] - 1 for p in enough):
        assert time.monotonic() < deadline, f"{topic}: { ({p: len(each) for p, each in values.items()}) } of {enough}"
        for message in reader.consume(500, 0.2):
            values[message.partition() or 0].append(clients.raise_for(message).value() or b"")
    reader.close()
    return values


def seqs(lines: list[bytes]) -> list[int]:
    """The seq at the head of every line."""
    return [int(line.split()[0]) for line in lines]


def chain(values: list[bytes]) -> list[bytes]:
    """The lines that a reference run emits."""
    state, lines = Chain(0, b""), []
    for value in values:
        state = step(state, value)
        lines.append(line(state))
    return lines


def deduplicated(lines: list[bytes]) -> list[bytes]:
    """One line per seq, in the order of seq; two different lines of one seq are a failure."""
    by_seq: dict[int, bytes] = {}
    for each in lines:
        assert by_seq.setdefault(int(each.split()[0]), each) == each, "a message emitted again is not the same"
    return [by_seq[seq] for seq in sorted(by_seq)]
