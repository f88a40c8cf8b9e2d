"""What a row costs a model in shadow (docs/adr/0058): `python -m tests.bench.bench_shadow [RUNS]`.

Rows of 75 features lie in `archive` as score writes them, in messages of 2,000 and of 60 rows; the command goes over
them, saves every two seconds, and ends. Processor time of a run over four rows, its start, is taken off. The last line
is JSON.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import NamedTuple

from models.igan.config import IganConfig
from models.serving import registry
from pipeline.contracts.promotions import PromotionLedger
from pipeline.runtime.kafka import clients, topics
from pipeline.runtime.wire.messages import write
from pipeline.score.group import encoded, read, score_group
from pipeline.score.model_cache import ModelCache
from pipeline.settings import Settings, inherited_environment, load_settings
from pipeline.tools.processes import CLI
from tests.bench.path import workplace
from tests.contract.tree import ROOT
from tests.contracts.facts import at
from tests.score.small_model import facts, features, small_model

WIDTH, PARTITIONS = 75, 4
IN_USE, CANDIDATE = (small_model(seed, width=WIDTH, config=IganConfig(alert_level=0.01)) for seed in (0, 1))


class Load(NamedTuple):
    """What lies in the topic."""

    messages: int
    rows: int


START = Load(PARTITIONS, 1)
LOADS = (Load(400, 2_000), Load(1_600, 60))


def filled(settings: Settings, load: Load, cache: ModelCache) -> None:
    """Put the messages into `archive`, all of one moment: `--for` goes by their timestamps."""
    topics.create(settings)
    producer, now_ms = clients.producer(settings, "bench"), time.time_ns() // 1_000_000
    for number in range(load.messages):
        partition, seq = number % PARTITIONS, number // PARTITIONS
        batch = features(load.rows, partition, seq * load.rows, width=WIDTH, scale=1.0)
        entry = read(write(batch, facts(seq, partition, batch)), at("features", partition))
        [routed] = score_group([entry], PromotionLedger(PARTITIONS), cache)
        producer.produce(settings.topics.archive, encoded(routed, entry)[1], partition=partition, timestamp=now_ms)
        producer.poll(0)
    producer.flush()


def run(kafka: str, folder: str, load: Load, cache: ModelCache) -> float:
    """Seconds of processor time of a shadow over them."""
    settings = load_settings(
        bootstrap=kafka,
        topic_prefix=f"b{uuid.uuid4().hex[:10]}.",
        partitions=PARTITIONS,
        registry_uri=folder,
        device="cpu",
        metrics_port=-1,
    )
    filled(settings, load, cache)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    words = ("model", "shadow", CANDIDATE.id, "--start", "earliest", "--for", "1s", "--anew", "--json")
    environment = inherited_environment({**settings.variables(), "OMP_NUM_THREADS": "1"})
    done = subprocess.run(
        [sys.executable, *CLI, *words], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
    )
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["rows"] == load.messages * load.rows, seen["rows"]
    return used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """The loads in turn."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    document: dict[str, list[float]] = {}
    with workplace("bench-shadow-") as (_, running), tempfile.TemporaryDirectory() as folder:
        for model in (IN_USE, CANDIDATE):
            registry.save(model, Path(folder))
        cache = ModelCache(IN_USE.id, Path(folder), "cpu")
        for _ in range(runs):
            start_s = run(running.bootstrap, folder, START, cache)
            document.setdefault("start_cpu_s", []).append(round(start_s, 2))
            for load in LOADS:
                used_s = run(running.bootstrap, folder, load, cache)
                rows = load.messages * load.rows
                us = round((used_s - start_s) * 1e6 / rows, 2)
                document.setdefault(f"cpu_us_a_row_{load.rows}", []).append(us)
                print(f"{load}: {us} us a row", flush=True)
    print(json.dumps(document))


if __name__ == "__main__":
    main()
