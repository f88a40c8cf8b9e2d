"""Forebay with the peers' job: three stages, 19 features of the last 2 s, a network of the same size, exactly once.

What it does beyond the peers is as always: records are checked and rejects stored, flows are put in order of event
time, state is bounded and saved, each stage hands over in transactions, and sensors learn their plant.
"""

import time
import uuid
from pathlib import Path

from loadtest.sending import Load, messages, send
from models.igan.config import IganConfig
from models.serving import registry
from models.training.recalibrate import recalibrate
from pipeline.featurize.feature_sets import ONLINE
from pipeline.featurize.sensor import featurize_file_rows
from pipeline.ingest.files.offline_rows import decode_file
from pipeline.runtime.kafka import clients, topics
from pipeline.settings import load_settings
from pipeline.tools.broker.state import Running
from tests.bench.bench_flow import SCENARIO, SEED
from tests.bench.path import Run, run_path
from tests.featurize.flows import matrix_of
from tests.score.small_model import small_model

STAGES = ("ingest", "featurize", "score")
QUIET_RECORDS = 5_000


def network(folder: Path) -> str:
    """A random network of the job's size in the registry `folder`, calibrated on quiet records; its id."""
    settings = load_settings(feature_set=ONLINE.name)
    load = Load(SCENARIO, QUIET_RECORDS * len(SCENARIO.sensor_names), SEED)
    model = small_model(
        width=ONLINE.width, feature_hash=ONLINE.hash, feature_set=ONLINE.name, config=IganConfig(latent=64, top=16)
    )
    lines: list[list[bytes]] = [[] for _ in SCENARIO.sensor_names]
    for number, part in messages(load, time.time_ns() // 1000 - load.span_us):
        lines[number] += [value for value, _ in part]
    for (site, sensor), records in zip(SCENARIO.sensor_names, lines, strict=True):
        path = folder / f"{site}-{sensor}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\n".join(records) + b"\n")
        decoded = decode_file(
            path,
            site=site,
            sensor=sensor,
            ingest_ts_us=time.time_ns() // 1000,
            max_future_us=settings.max_future_us,
            max_bytes=settings.file_max_bytes,
        )
        rows = featurize_file_rows(decoded.flows, settings.lateness_us, feature_set=ONLINE)
        model = recalibrate(model, f"{site}/{sensor}", matrix_of(rows), rows.column("end_ts_us").to_numpy())
    registry.save(model, folder)
    return model.id


def run_small_job(broker: Running, records: int, pack: int, folder: Path, models: Path, model: str) -> Run:
    """`raw` to `archive`, the topic of every scored row, on fresh topics."""
    name = f"small-{uuid.uuid4().hex[:8]}"
    settings = load_settings(
        bootstrap=broker.bootstrap,
        topic_prefix=f"{name}.",
        state_uri=folder / name,
        registry_uri=models,
        model=model,
        feature_set=ONLINE.name,
        metrics_port=0,
    )
    topics.create(settings)
    load = Load(SCENARIO, records, SEED, pack=pack)
    sent = send(load, settings.topics.raw, clients.connection(settings, "bench"))
    assert sent.finished, sent.refused
    return run_path(settings, records, folder / f"{name}-logs", broker.pid, stages=STAGES)
