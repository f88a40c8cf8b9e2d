"""Ingest's workers paused, killed, twinned and stopped at random, inside transactions too, while records come: each
record is there once, in the order of `raw`.
"""

import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from confluent_kafka import Producer

from pipeline.contracts.raw import END_OF_SOURCE
from pipeline.settings import Settings
from tests.ingest.records import ZEEK
from tests.integration.chains import settings_for, worker
from tests.integration.storms import Process, Storm, sending_meanwhile
from tests.integration.test_ingest_worker import every_position_once, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.crash, pytest.mark.nightly]
INGEST = "pipeline.tools.cli ingest run"
PARTITIONS = 4
STORM_S = 90.0
POINTS = ("ingest.decoded", "ingest.begun", "ingest.produced", "ingest.offsets sent", "ingest.committed")


@contextmanager
def sending(settings: Settings, rng: random.Random) -> Iterator[Counter[str]]:
    """Messages of records and broken lines all the while, now and then the end of a source; how many of each kind."""
    sent: Counter[str] = Counter()
    good = json.dumps(ZEEK).encode()

    def send(producer: Producer) -> None:
        partition, kind = rng.randrange(PARTITIONS), rng.choice(("flows",) * 20 + ("not_json", "ended"))
        count = rng.choice((1, 1, 40)) if kind == "flows" else int(kind == "not_json")
        value = b"\n".join([good] * count) if kind == "flows" else b"broken" * count
        content_type = END_OF_SOURCE if kind == "ended" else "zeek-conn+json"
        headers: dict[str, str | bytes | None] = {
            "content-type": content_type,
            "site": "dam",
            "sensor": f"s{partition}-{rng.randrange(3)}",
        }
        producer.produce(settings.topics.raw, value, partition=partition, headers=headers)
        sent[kind] += count

    with sending_meanwhile(settings, rng, 50, send):
        yield sent


@pytest.mark.parametrize("seed", [int(time.time() // 86_400)])  # of the day, in the test's name
def test_a_storm_changes_nothing(kafka: str, prefix: str, tmp_path: Path, seed: int) -> None:
    settings = settings_for(kafka, prefix, tmp_path / "state", PARTITIONS, gather_ms=20)
    with ExitStack() as stack:

        def start(name: str, failpoint: str) -> Process:
            set_to = settings.model_copy(update={"failpoint": failpoint})
            return stack.enter_context(worker(set_to, INGEST, name, tmp_path / f"{name}.log"))

        storm = Storm(start, POINTS, random.Random(seed))
        end = time.monotonic() + STORM_S
        with sending(settings, random.Random(seed + 1)) as sent:
            while time.monotonic() < end:
                storm.strike()
        storm.end()
        wait_for(settings, sent["flows"] + sent["not_json"])
    del sent["ended"]
    assert every_position_once(settings) == sent
