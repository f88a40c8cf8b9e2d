"""How fast history is played again: from an archive and from topic `flows`, with one worker and two.

python -m tests.bench.bench_replay
"""

import tempfile
import time
from pathlib import Path

from loadtest.conn_json import CONTENT_TYPE, conn_json
from loadtest.scenarios import SCENARIOS, records
from pipeline.broker import local
from pipeline.ingest.decode import decode_messages
from pipeline.ingest.messages import Messages, RawMessage, Stream
from pipeline.ingest.pack import pack
from pipeline.kafka import clients, topics
from pipeline.replay import run as runs
from pipeline.replay import undisturbed
from pipeline.replay.request import ARCHIVE, TOPIC, Request
from pipeline.replay.undisturbed import Outcome
from pipeline.settings import Settings, load_settings
from pipeline.wire.batches import encode

RECORDS = 400_000
PARTITIONS = 2
A_MESSAGE = 256
START_US = 1_700_000_000_000_000


def raw_log(partition: int) -> list[RawMessage]:
    """One sensor's records, many a message, then the end of the source."""
    stream = Stream(CONTENT_TYPE, (), "plant", f"tap-{partition}")
    count = RECORDS // PARTITIONS
    lines = conn_json(records(SCENARIOS["steady"], 3, partition, 0, count, START_US))
    log = [
        RawMessage(partition, at // A_MESSAGE, START_US + 2**40, stream, lines.message(at, min(at + A_MESSAGE, count)))
        for at in range(0, count, A_MESSAGE)
    ]
    end = Stream("end-of-source", (), stream.site, stream.sensor)
    return [*log, RawMessage(partition, len(log), START_US + 2**40, end, b"")]


def produce_flows(settings: Settings, log: list[RawMessage], partition: int) -> None:
    """What ingest makes of the log, into topic `flows`."""
    producer = clients.producer(settings, "bench")
    messages = Messages.of(log)
    for packed in pack(messages, decode_messages(messages, settings.max_future_us), settings.flows_rows):
        producer.produce(settings.topics.flows, encode(packed.flows, packed.meta), partition=partition)
        producer.poll(0)
    producer.flush()


def timed(settings: Settings, request: Request, workers: int) -> None:
    """Print one replay's rate; the models' loading is in it, as it is for a user."""
    began = time.perf_counter()
    report = runs.run(settings, request, workers)
    seconds = time.perf_counter() - began
    name = f"{request.source}, {workers} workers{'' if request.features else ', features left out'}"
    print(f"{name:45} {report['taken'] / seconds:>10,.0f} flows/s  {report['taken'] / seconds / 5_000:6.1f} x 5,000/s")


def main() -> None:
    """Make the history, replay it every way."""
    with tempfile.TemporaryDirectory() as folder:
        broker = Path(folder) / "broker"
        running = local.start(broker)
        try:
            settings = load_settings(
                bootstrap=running.bootstrap,
                topic_prefix="bench.",
                partitions=PARTITIONS,
                archive_uri=Path(folder) / "archive",
                replay_uri=Path(folder) / "replays",
                registry_uri=Path(folder) / "models",
                max_future_us=2**60,
                device="cpu",
            )
            topics.create(settings)
            for partition in range(PARTITIONS):
                log = raw_log(partition)
                undisturbed.take(settings, settings.archive_uri, partition, [Messages.of(log)], Outcome())
                produce_flows(settings, log, partition)
            number = 0
            for source in (ARCHIVE, TOPIC):
                for workers in (1, 2):
                    for features in (False, True):
                        number += 1
                        timed(settings, Request(f"r{number}", source, features=features), workers)
        finally:
            local.stop(broker)


if __name__ == "__main__":
    main()
