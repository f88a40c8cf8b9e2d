"""`forebay score serve --follow`: a promotion in Kafka changes the model of a server that is asked all the while."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pytest

from models.serving import registry
from models.serving.score import Scorer
from pipeline.contracts.promotions import Promotion, vote
from pipeline.runtime.kafka import clients
from pipeline.settings import Settings, inherited_environment
from pipeline.tools import promotion
from tests.integration.chains import ROOT, settings_for
from tests.score.small_model import WIDTH, small_model

pytestmark = pytest.mark.integration
MODELS = {model.id: model for model in (small_model(0), small_model(1))}
BEFORE, AFTER = MODELS.values()
ROWS = np.random.default_rng(3).exponential(1.0, (5, WIDTH)).astype(np.float32)
INFER = "/v2/models/igan/infer"
BODY = {"inputs": [{"name": "rows", "datatype": "FP32", "shape": [5, WIDTH], "data": ROWS.tolist()}]}


def score_of(model_id: str) -> list[float]:
    scorer = Scorer(MODELS[model_id], "cpu")
    scores: list[float] = scorer.score(ROWS, np.zeros(5, np.int64), np.full(5, "*")).score.tolist()
    return scores


def accepted(settings: Settings, made: Promotion) -> None:
    """A promotion, and what score votes for each partition, in a transaction as score's."""
    promotion.issue(settings, made)
    producer = clients.transactional_producer(settings, "test")
    producer.begin_transaction()
    for partition in range(2):
        producer.produce(settings.topics.models, orjson.dumps(vote(made, partition, 2, -1)), partition=0)
    producer.commit_transaction()


def started(settings: Settings) -> tuple[subprocess.Popen[str], Any]:
    words = [sys.executable, "-m", "pipeline.tools.cli", "score", "serve", "--port", "0", "--json", "--follow"]
    process = subprocess.Popen(
        [*words, "--threads", "2"],
        env=inherited_environment({**settings.variables(), "OMP_NUM_THREADS": "1"}),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())


def test_a_promotion_is_followed_while_requests_run(kafka: str, prefix: str, tmp_path: Path) -> None:
    for model in MODELS.values():
        registry.save(model, tmp_path / "models")
    settings = settings_for(
        kafka, prefix, tmp_path / "state", registry_uri=tmp_path / "models", model=BEFORE.id, device="cpu"
    )
    answers: list[dict[str, Any]] = []
    enough = threading.Event()
    process, says = started(settings)
    try:
        assert says["model"] == BEFORE.id

        def asking() -> None:
            with httpx.Client(base_url=says["url"], trust_env=False, timeout=60) as client:
                while not enough.is_set():
                    answer = client.post(INFER, json=BODY)
                    assert answer.status_code == 200, answer.text
                    answers.append(answer.json())

        clients_of_it = [threading.Thread(target=asking) for _ in range(4)]
        for each in clients_of_it:
            each.start()
        accepted(settings, Promotion("p", AFTER.id, AFTER.sha256, AFTER.id, 1))
        with httpx.Client(base_url=says["url"], trust_env=False, timeout=60) as client:
            until = time.monotonic() + 60
            while client.get("/v2/models/igan").json()["versions"] != [AFTER.id] and time.monotonic() < until:
                time.sleep(0.05)
            assert client.post(INFER, json=BODY).json()["model_version"] == AFTER.id
            assert client.get("/v2/health/ready").json() == {"ready": True}
            assert client.get(f"/v2/models/igan/versions/{BEFORE.id}").status_code == 404
        enough.set()
        for each in clients_of_it:
            each.join(60)
    finally:
        enough.set()
        process.terminate()
        assert process.wait(60) == 0
        if process.stdout is not None:
            process.stdout.close()
    assert {answer["model_version"] for answer in answers} == {BEFORE.id, AFTER.id}
    for model_id in MODELS:
        scores = {tuple(each["outputs"][0]["data"]) for each in answers if each["model_version"] == model_id}
        assert [np.array(each, np.float32).tolist() for each in scores] == [score_of(model_id)]
    # Another server starts with what holds.
    process, says = started(settings)
    process.terminate()
    assert says["model"] == AFTER.id and process.wait(60) == 0
    if process.stdout is not None:
        process.stdout.close()
