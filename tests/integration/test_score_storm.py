"""Score's workers paused, killed, twinned and stopped at random, inside transactions too, while messages come: what was
scored is that of a run in which nothing happened, and models hold from where the log says.
"""

import random
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from confluent_kafka import Producer

from models.serving import registry
from pipeline.contracts.promotions import PromotionLedger
from pipeline.settings import Settings
from tests.integration.chains import settings_for, worker
from tests.integration.storms import Process, Storm, sending_meanwhile
from tests.integration.test_score_worker import SCORE, payload, promote, received, reference, values
from tests.score.small_model import small_model

pytestmark = [pytest.mark.integration, pytest.mark.crash, pytest.mark.nightly]
PARTITIONS, MODELS = 4, 3
STORM_S = 90.0
BETWEEN_S = 0.05
POINTS = ("score.begun", "score.produced", "score.offsets sent", "score.committed")
Sent = dict[int, list[bytes]]


@contextmanager
def sending(settings: Settings, rng: random.Random) -> Iterator[Sent]:
    """Features messages all the while, some twice, as a zombie of featurize does; what was sent, by partition."""
    sent: Sent = {partition: [] for partition in range(PARTITIONS)}

    def send(producer: Producer) -> None:
        partition = rng.randrange(PARTITIONS)
        value = payload(len(sent[partition]), partition, rows=rng.choice((1, 20, 60)))
        for _ in range(rng.choice((1,) * 30 + (2,))):
            producer.produce(settings.topics.features, value=value, key=b"north/tap", partition=partition)
        sent[partition].append(value)

    with sending_meanwhile(settings, rng, 1 / BETWEEN_S, send):
        yield sent


@pytest.mark.parametrize("seed", [int(time.time() // 86_400)])  # of the day, in the test's name
def test_a_storm_changes_nothing(kafka: str, prefix: str, tmp_path: Path, seed: int) -> None:
    for number in range(MODELS):
        registry.save(small_model(number), tmp_path / "models")
    given = {"registry_uri": tmp_path / "models", "model": small_model(0).id, "score_group_messages": 8}
    settings = settings_for(kafka, prefix, tmp_path / "state", PARTITIONS, device="cpu", **given)
    rng, promotions = random.Random(seed), 0
    with ExitStack() as stack:

        def start(name: str, failpoint: str) -> Process:
            set_to = settings.model_copy(update={"failpoint": failpoint})
            return stack.enter_context(worker(set_to, SCORE, name, tmp_path / f"{name}.log"))

        storm = Storm(start, POINTS, rng)
        end = time.monotonic() + STORM_S
        with sending(settings, random.Random(seed + 1)) as sent:
            while time.monotonic() < end:
                if rng.random() < 0.3:
                    promotions += 1
                    from_us = 1_000_000 + 100_000 * max(map(len, sent.values())) + rng.randint(-500_000, 1_500_000)
                    promote(settings, small_model(promotions % MODELS), str(promotions), from_us)
                storm.strike()
        storm.end()
        scored = received(settings, settings.topics.archive, {p: len(each) for p, each in sent.items()})
    ledger = PromotionLedger(PARTITIONS)
    for record in values(received(settings, settings.topics.models, {0: promotions}))[0]:
        ledger.apply_payload(record)
    suspects, archive, retrain = reference(settings, sent, ledger)
    assert values(scored) == archive
    for topic, log in ((settings.topics.suspects, suspects), (settings.topics.retrain, retrain)):
        assert values(received(settings, topic, {p: len(each) for p, each in log.items()})) == log
