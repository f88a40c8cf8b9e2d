"""Intake killed fifty times, at every step and at any moment, its Kafka too: each record once, each key in order."""

import os
import signal
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest
from confluent_kafka import Message, TopicPartition
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]  # its types do not say that it exports it

from pipeline.runtime.kafka import clients, topics
from pipeline.settings import Settings, load_settings
from pipeline.tools.broker import local
from pipeline.tools.broker.ports import is_free
from schemas.intake import TopicSource
from tests.ingest.records import ZEEK
from tests.integration.chains import wait_for, worker
from tests.patience import PATIENCE_S

pytestmark = [pytest.mark.crash, pytest.mark.nightly, pytest.mark.timeout(3000)]

SEED = 19
KILLS = 50
INTAKE = "pipeline.tools.cli intake run"
STEPS = ("begun", "produced", "offsets sent", "committed")
RESTART_EVERY = 10
"""Every tenth time Kafka is restarted under the worker, by SIGTERM and by SIGKILL in turn, before that is killed."""
MAX_MOMENT_S = 3.0
"""A worker that dies at any moment dies so late at the latest: its imports take one second, its first poll follows."""
INPUT_PARTITIONS = 3
SENSORS = 7
Key = tuple[str, int, str]
"""Topic and partition that a record came from, and its sensor: what has an order."""


def input_topics(settings: Settings) -> list[str]:
    return [source.title for source in settings.topic_sources]


class Collector(threading.Thread):
    """Writes two topics all the time: one keyed by its sensors, one spread over its partitions as GoFlow2 does it.

    Of its messages some are no records, some are of logs that are left out, some hold three records, some are wrapped.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(name="collector", daemon=True)
        self.topics = input_topics(settings)
        self.producer = clients.producer(settings, "collector")
        self.random = Random(SEED)
        self.numbers = 0
        self.messages = 0
        self.enough = threading.Event()

    def run(self) -> None:
        """Write until `enough` is set."""
        while not self.enough.wait(0.02):
            for _ in range(self.random.randrange(1, 30)):
                self.send()
            self.producer.poll(0)
        assert self.producer.flush(PATIENCE_S) == 0

    def send(self) -> None:
        """Send a message of any kind."""
        self.messages += 1
        number = self.random.randrange(SENSORS)
        keyed = self.random.random() < 0.6
        partition = number if keyed else self.random.randrange(INPUT_PARTITIONS)
        self.producer.produce(
            self.topics[0 if keyed else 1], self.value(f"s{number}"), partition=partition % INPUT_PARTITIONS
        )

    def value(self, sensor: str) -> bytes:
        """A message's bytes."""
        kind = self.random.random()
        if kind < 0.05:
            self.numbers += 1
            return b"INFO[%d] no record" % self.numbers
        if kind < 0.1:
            return orjson.dumps({"_path": "dns", "ts": time.time(), "uid": "D", "query": "x", "sensor": sensor})
        if kind < 0.2:
            return orjson.dumps([self.record(sensor) for _ in range(3)])
        if kind < 0.4:
            return orjson.dumps({"message": orjson.dumps(self.record(sensor)).decode(), "sensor": sensor})
        return orjson.dumps(self.record(sensor))

    def record(self, sensor: str) -> dict[str, Any]:
        """A record of conn.log with its number."""
        self.numbers += 1
        return {**ZEEK, "ts": time.time(), "uid": f"C{self.numbers}", "sensor": sensor}


def read(settings: Settings, topic: str) -> Iterator[Message]:
    """Everything committed in a topic, partition by partition."""
    consumer = clients.reader(settings, "test", **{"enable.partition.eof": True})
    partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
    for partition in sorted(partitions):
        consumer.assign([TopicPartition(topic, partition, 0)])
        ended = False
        while not ended:
            for message in consumer.consume(1000, 1.0):
                ended = ended or message.error() is not None
                if message.error() is None:
                    yield message
    consumer.close()


def uids(value: bytes) -> list[tuple[str, str]]:
    """Sensor and uid of each record in a message of the collector's; what is none has its text as uid."""
    if value.startswith(b"INFO"):
        return [("", value.decode())]
    document = orjson.loads(value)
    records = document if isinstance(document, list) else [document]
    records = [orjson.loads(each["message"]) if "message" in each else each for each in records]
    return [(each["sensor"], each["uid"]) for each in records if each.get("_path") != "dns"]


def expected(settings: Settings) -> dict[Key, list[str]]:
    """The records that lie in the input, in the order in which they lie there."""
    sent: dict[Key, list[str]] = defaultdict(list)
    for topic in input_topics(settings):
        for message in read(settings, topic):
            for sensor, uid in uids(bytes(message.value() or b"")):
                sent[topic, message.partition() or 0, sensor].append(uid)
    return sent


def in_raw(settings: Settings) -> list[tuple[str, str]]:
    """Header `sensor`, and uid, of each record committed in `raw`, in order within each partition."""
    records = []
    for message in read(settings, settings.topics.raw):
        headers = clients.headers_of(message)
        sensor = headers["sensor"].decode()
        assert bytes(message.key() or b"") == b"dam/" + headers["sensor"]
        for line in bytes(message.value() or b"").split(b"\n"):
            uid = line.decode() if line.startswith(b"INFO") else orjson.loads(line)["uid"]
            records.append((sensor, uid))
    return records


def committed(settings: Settings) -> bool:
    """Whether intake's positions are at the ends of its input."""
    consumer = clients.consumer(settings, "intake", **{"group.instance.id": "reader"})
    try:
        wanted = [TopicPartition(topic, n) for topic in input_topics(settings) for n in range(INPUT_PARTITIONS)]
        return all(
            at.offset == consumer.get_watermark_offsets(at, 30)[1] for at in consumer.committed(wanted, timeout=30)
        )
    finally:
        consumer.close()


def wait_until_committed(settings: Settings) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not committed(settings):
        assert time.monotonic() < deadline, "intake has not read everything"
        time.sleep(0.5)


def kill_often(settings: Settings, broker: Path, folder: Path, random: Random) -> Counter[str]:
    """Start intake and see it die, again and again; how often of what."""
    died: Counter[str] = Counter()
    for number in range(KILLS):
        log = folder / f"{number}.log"
        restart = number % RESTART_EVERY == RESTART_EVERY - 1
        turn = number % (len(STEPS) + 1)
        step = "" if restart or turn == len(STEPS) else STEPS[turn]
        armed = settings.model_copy(
            update={"failpoint": f"intake.{step}:{random.choice((1, 1, 2, 3, 8))}" if step else ""}
        )
        with worker(armed, INTAKE, "a", log) as process:
            if step:
                assert process.wait(PATIENCE_S) == -signal.SIGKILL, log.read_text()
            elif restart:
                wait_for(log, "ready")
                restart_broker(broker, number // RESTART_EVERY % 2 == 1)
                time.sleep(random.uniform(0, MAX_MOMENT_S))
            else:
                time.sleep(random.uniform(0, MAX_MOMENT_S))
            assert step or process.poll() is None, log.read_text()
        died[step or ("Kafka restarted" if restart else "any moment")] += 1
    return died


def restart_broker(broker: Path, hard: bool) -> None:
    running = local.status(broker).state
    assert running is not None
    if hard:
        os.kill(running.pid, signal.SIGKILL)
    else:
        local.stop(broker)
    deadline = time.monotonic() + PATIENCE_S
    while not is_free(running.port):  # the one that was killed, as it ends
        assert time.monotonic() < deadline
        time.sleep(0.1)
    local.start(broker, running.port)


def check(settings: Settings) -> tuple[int, int]:
    """Compare `raw` with the input: (messages in, records); each record once, and in its input's order."""
    sent, came = expected(settings), in_raw(settings)
    numbers = Counter(uid for uids_of in sent.values() for uid in uids_of)
    got = Counter(uid for _, uid in came)
    assert set(numbers.values()) == {1}
    assert got == numbers, (len(numbers - got), len(got - numbers))
    place = {uid: number for number, (_, uid) in enumerate(came)}
    for (topic, partition, sensor), of_key in sent.items():
        if sensor:  # what is no record has no sensor of its own
            places = [place[uid] for uid in of_key]
            assert places == sorted(places), (topic, partition, sensor)
            assert {came[at][0] for at in places} == {sensor}
    return sum(1 for topic in input_topics(settings) for _ in read(settings, topic)), len(came)


def prepared(bootstrap: str, prefix: str, names: Sequence[str]) -> Settings:
    facts = {"site": "dam", "sensor": {"field": "sensor", "else": "unnamed"}}
    sources = tuple(TopicSource.model_validate({"topic": f"{prefix}{name}", **facts}) for name in names)
    settings = load_settings(
        bootstrap=bootstrap, topic_prefix=f"{prefix}ours.", partitions=4, sources=sources, metrics_port=-1
    )
    topics.create(settings)
    admin = clients.admin(settings)  # referenced until the answers are here
    wanted = [NewTopic(topic, INPUT_PARTITIONS, 1) for topic in input_topics(settings)]
    for future in admin.create_topics(wanted).values():
        future.result(30)
    return settings


def test_killed_fifty_times_with_exact_books(prefix: str, tmp_path: Path) -> None:
    broker = tmp_path / "broker"
    settings = prepared(local.start(broker).bootstrap, prefix, ("keyed", "spread"))
    try:
        collector = Collector(settings)
        collector.start()
        died = kill_often(settings, broker, tmp_path, Random(SEED))
        collector.enough.set()
        collector.join()
        with worker(settings, INTAKE, "a", tmp_path / "last.log") as process:
            wait_until_committed(settings)
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_S) == 0
        messages, records = check(settings)
        assert messages == collector.messages and died.total() == KILLS
        sys.stderr.write(
            f"{KILLS} kills {dict(died)}: {messages} messages in, {records} records, each once, in order\n"
        )
    finally:
        local.stop(broker)
