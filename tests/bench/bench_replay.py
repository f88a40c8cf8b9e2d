"""How fast history is played again: from an archive and from topic `flows`, with one worker and two.

python -m tests.bench.bench_replay [FLOWS [archive]]

FLOWS: how much history is made first, 2,000,000 where nothing is said. archive: without Kafka. Each replay is a
`forebay replay run` of its own, as a user starts it; one of (nearly) nothing before it says what loading takes. The
archive is read after the broker has ended. The last line is one JSON document.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow.parquet as pq

from loadtest.conn_json import CONTENT_TYPE, conn_json
from loadtest.scenarios import SCENARIOS, records
from models.serving import registry
from models.training.recalibrate import recalibrate
from pipeline.contracts.raw import SourceInfo
from pipeline.ingest.decode import decode_messages
from pipeline.ingest.messages import Messages, RawMessage
from pipeline.ingest.pack import pack
from pipeline.runtime.kafka import clients, topics
from pipeline.runtime.wire.messages import write
from pipeline.settings import Settings, load_settings
from pipeline.tools.broker import local
from pipeline.tools.replay import reference_run
from pipeline.tools.replay.reference_run import Outcome
from pipeline.tools.replay.request import ARCHIVE, TOPIC

FLOWS = 2_000_000
PARTITIONS = 2
A_MESSAGE = 256
TOGETHER = 512
QUIET = 40_000
PLANT_PER_S = 5_000
START_US = 1_700_000_000_000_000


def history(partition: int, count: int) -> Iterator[Messages]:
    """One sensor's records, many a message, then the end of the source; so many messages at a time."""
    stream = SourceInfo(CONTENT_TYPE, (), "plant", f"tap-{partition}")
    block = A_MESSAGE * TOGETHER

    def message(offset: int, payload: bytes, of: SourceInfo = stream) -> RawMessage:
        return RawMessage(partition, offset, START_US + 2**40, of, payload)

    for first in range(0, count, block):
        size = min(block, count - first)
        lines = conn_json(records(SCENARIOS["steady"], 3, partition, first, size, START_US))
        starts = range(0, size, A_MESSAGE)
        offset = first // A_MESSAGE
        yield Messages.of(
            [message(offset + n, lines.message(at, min(at + A_MESSAGE, size))) for n, at in enumerate(starts)]
        )
    yield Messages.of(
        [message(-(-count // A_MESSAGE), b"", SourceInfo("end-of-source", (), stream.site, stream.sensor))]
    )


def at_home(settings: Settings, folder: Path) -> str:
    """Id of the shipped model calibrated on the plant's first flows: of a strange plant every flow is a suspect."""
    reference_run.take(settings, folder, 0, history(0, QUIET), Outcome())
    table = pq.read_table(folder / "flows", columns=["features", "end_ts_us"], partitioning=None).combine_chunks()
    column = table.column("features").chunk(0)
    matrix = column.flatten().to_numpy().reshape(len(column), -1).copy()
    model = recalibrate(registry.load(), "plant", matrix, table.column("end_ts_us").to_numpy())
    registry.save(model, Path(settings.registry_uri))
    return model.id


def produce_flows(settings: Settings, came: Iterator[Messages], partition: int) -> None:
    """What ingest makes of the log, into topic `flows`."""
    producer = clients.producer(settings, "bench")
    for messages in came:
        for packed in pack(messages, decode_messages(messages, settings.max_future_us), settings.flows_rows):
            producer.produce(settings.topics.flows, write(packed.flows, packed.facts), partition=partition)
            producer.poll(0)
        producer.flush()


def replay(settings: Settings, run: str, source: str, workers: int, *options: str) -> tuple[float, dict[str, Any]]:
    """Wall seconds of one command, and its document."""
    environment = {
        "FOREBAY_REPLAY_URI": str(settings.replay_uri),
        "FOREBAY_REGISTRY_URI": str(settings.registry_uri),
        "FOREBAY_MODEL": settings.model,
        "FOREBAY_PARTITIONS": str(PARTITIONS),
        "FOREBAY_DEVICE": "cpu",
    }
    where = ["--archive", str(settings.archive_uri), "--bootstrap", settings.bootstrap, "--prefix", "bench."]
    command = ["replay", "run", "--run", run, "--source", source, "--workers", str(workers), *where, *options, "--json"]
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.tools.cli", *command],
        check=True,
        stdout=subprocess.PIPE,
        env={**os.environ, **environment},
    )
    return time.perf_counter() - started, orjson.loads(done.stdout.splitlines()[-1])


def measured(settings: Settings, source: str) -> Iterator[dict[str, Any]]:
    """Each way to replay from a source."""
    nothing = ["--to", "2000-01-01"] if source == ARCHIVE else ["--offsets", "0:0-1,1:0-1"]
    for workers in (1, 2):
        loading_s, _ = replay(settings, f"{source}-{workers}-nothing", source, workers, *nothing)
        for features in (False, True):
            option = "--features" if features else "--no-features"
            whole_s, document = replay(settings, f"{source}-{workers}-{features}", source, workers, option)
            taken = document["taken"]
            figures = {
                "source": source,
                "workers": workers,
                "features": features,
                "flows": taken,
                "suspects": document["suspects"],
                "loading_s": round(loading_s, 2),
                "flows_per_s": round(taken / whole_s),
                "flows_per_s_loaded": round(taken / max(whole_s - loading_s, 1e-9)),
                "times_plant": round(taken / whole_s / PLANT_PER_S, 1),
            }
            name = f"{source}, {workers} workers{'' if features else ', features left out'}"
            print(
                f"{name:42}{figures['flows_per_s']:>10,} flows/s, {figures['times_plant']:5.1f} x {PLANT_PER_S:,}/s; "
                f"once loaded ({loading_s:.1f} s) {figures['flows_per_s_loaded']:>10,}; "
                f"{document['suspects']:,} suspects",
                flush=True,
            )
            yield figures


def main() -> None:
    """Make the history, replay it every way."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else FLOWS
    kafka = sys.argv[2:] != [ARCHIVE]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        running = local.start(folder / "broker") if kafka else None
        measurements: list[dict[str, Any]] = []
        try:
            settings = load_settings(
                bootstrap=running.bootstrap if running else None,
                topic_prefix="bench.",
                partitions=PARTITIONS,
                archive_uri=folder / "archive",
                replay_uri=folder / "replays",
                registry_uri=folder / "models",
                max_future_us=2**60,
                device="cpu",
            )
            settings = settings.model_copy(update={"model": at_home(settings, folder / "quiet")})
            for partition in range(PARTITIONS):
                reference_run.take(
                    settings, settings.archive_uri, partition, history(partition, count // PARTITIONS), Outcome()
                )
            if running:
                topics.create(settings)
                for partition in range(PARTITIONS):
                    produce_flows(settings, history(partition, count // PARTITIONS), partition)
                measurements += measured(settings, TOPIC)
        finally:
            if running:
                local.stop(folder / "broker")
        measurements += measured(settings, ARCHIVE)
        fastest = int(np.max([result["flows_per_s"] for result in measurements]))
        print(orjson.dumps({"flows": count, "fastest_flows_per_s": fastest, "runs": measurements}).decode())


if __name__ == "__main__":
    main()
