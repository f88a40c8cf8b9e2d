"""How many messages of other tools a second of one core's time intake turns into `raw`: a record a message, no headers.

Run it by hand: `python -m tests.bench.bench_intake [MESSAGES]`. First the conversion alone (CPU time, best of five),
then the worker with a Kafka of its own: its CPU time over a backlog of MESSAGES in three partitions.
"""

import json
import resource
import sys
import tempfile
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]  # its types do not say that it exports it

from pipeline.ingest.intake import worker
from pipeline.ingest.intake.convert import Converter
from pipeline.runtime.kafka import clients, tail, topics
from pipeline.runtime.kafka.outage import KafkaWatch
from pipeline.runtime.shutdown import Stop
from pipeline.runtime.telemetry import start
from pipeline.settings import Settings, load_settings
from pipeline.tools.broker import local
from pipeline.tools.cli.output import emit
from schemas.intake import TopicSource
from tests.ingest.records import EVE, ZEEK

BATCH = 16_384
ROUNDS = 5
PARTITIONS = 3


def records() -> dict[str, bytes]:
    """One record of each shape that intake meets most."""
    zeek = json.dumps(ZEEK)
    wrapper = {"@timestamp": "2023-11-14T22:13:22.000Z", "host": {"name": "edge"}, "ecs": {"version": "8.0.0"}}
    return {
        "zeek": zeek.encode(),
        "eve": json.dumps(EVE).encode(),
        "filebeat": json.dumps({**wrapper, "message": zeek}).encode(),
        "other log": b'{"_path":"dns","ts":1700000000.25,"uid":"C1","query":"plc7.example","qtype_name":"A","rcode":0}',
    }


def conversions() -> dict[str, int]:
    """Records a second of the conversion alone."""
    converter = Converter(TopicSource(topic="zeek", site="plant", sensor="edge"))
    rates = {}
    for name, record in records().items():
        best = 0.0
        for _ in range(ROUNDS + 1):
            started = time.process_time()
            converter.convert([record] * BATCH, [])
            best = max(best, BATCH / (time.process_time() - started))
        rates[name] = round(best)
    return rates


def backlog(settings: Settings, messages: int) -> str:
    """A topic with a backlog; its name."""
    name = f"{settings.topic_prefix}zeek"
    admin = clients.admin(settings)  # held until the answers are here
    for future in admin.create_topics([NewTopic(name, PARTITIONS, 1)]).values():
        future.result(30)
    producer = clients.producer(settings, "bench", **{"queue.buffering.max.messages": 1_000_000})
    record = records()["zeek"]
    now_ms = time.time_ns() // 1_000_000
    for number in range(messages):
        producer.produce(name, record, partition=number % PARTITIONS, timestamp=now_ms + number // 1000)
        if number % 10_000 == 0:
            producer.poll(0)
    producer.flush(120)
    return name


def of_worker(bootstrap: str, messages: int) -> dict[str, float]:
    """CPU time of the worker in this process over the backlog, start and first compilation left out."""
    prefix = f"b{uuid.uuid4().hex[:8]}."
    settings = load_settings(bootstrap=bootstrap, topic_prefix=f"{prefix}ours.", partitions=4, metrics_port=-1)
    topics.create(settings)
    name = backlog(settings.model_copy(update={"topic_prefix": prefix}), messages)
    settings = settings.model_copy(update={"sources": (TopicSource(topic=name, site="plant", sensor="edge"),)})
    done: list[float] = []

    def watch() -> None:
        """Stop the worker once all is committed; until the group has a coordinator, Kafka does not say."""
        reader = clients.consumer(settings, worker.STAGE)
        read = 0
        while read < messages:
            time.sleep(0.2)
            with suppress(KafkaException):
                positions = reader.committed([TopicPartition(name, number) for number in range(PARTITIONS)], 10)
                read = sum(max(0, position.offset) for position in positions)
        done.append(time.monotonic())
        stop.requested = True
        reader.close()

    stop = Stop()
    thread = threading.Thread(target=watch)
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    thread.start()
    telemetry = start(worker.STAGE, settings)
    with KafkaWatch(worker.STAGE, settings, telemetry, stop) as kafka:
        kafka.run(lambda: worker.session(settings, telemetry, kafka))
    thread.join()
    telemetry.close()
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    raw_messages = sum(tail.ends(settings, settings.topics.raw, range(settings.partitions)).values())
    return {
        "messages_per_core_s": round(messages / cpu_s),
        "messages_per_s": round(messages / (done[0] - started)),
        "raw_messages": raw_messages,
        "max_rss_mib": round(after.ru_maxrss / 1024),
    }


def main() -> None:
    """Print the figures."""
    messages = int(sys.argv[1]) if len(sys.argv) > 1 else 500_000
    rates = conversions()
    with tempfile.TemporaryDirectory() as folder:
        broker = local.start(Path(folder) / "broker")
        try:
            measured = of_worker(broker.bootstrap, messages)
        finally:
            local.stop(Path(folder) / "broker")
    emit({"messages": messages, "convert_per_core_s": rates, **measured})


if __name__ == "__main__":
    main()
