"""What the server counts of requests: taken, answered, refused by reason, how full batches are, how long it takes."""

import numpy as np
import pytest

from models.serving.engines import engine_of
from models.serving.score import Scorer
from pipeline.runtime.telemetry import Telemetry
from pipeline.settings import load_settings
from pipeline.tools.inference.application import application
from pipeline.tools.inference.current_service import CurrentService
from pipeline.tools.inference.documents import ARROW
from pipeline.tools.inference.guard import Guarded
from pipeline.tools.inference.measures import REASONS, STAGE, Measures
from pipeline.tools.inference.scoring_service import ScoringService
from tests.models import tiny
from tests.tools.inference.arrow import batch_of, stream
from tests.tools.inference.server import HOSTS
from tests.tools.triage.pages import ADDRESS, TestClient

INFER = "/v2/models/igan/infer"
MATRIX = tiny.rows(seed=7, count=40).matrix


def test_requests_and_what_becomes_of_them() -> None:
    telemetry = Telemetry(STAGE, load_settings(metrics_port=-1))
    measures, model = Measures(telemetry), tiny.model()
    service = ScoringService([Scorer(model, engine=engine_of("kernel", model))], 100, 100, 5_000, measures)
    current = CurrentService(service)
    measures.waiting_rows(lambda: current.now.waiting_rows)

    def value(name: str, **labels: str) -> float:
        found = telemetry.registry.get_sample_value(name, labels)
        assert found is not None, name
        return found

    assert value("forebay_rejected_total", stage=STAGE, reason="busy") == 0
    app = application(current, Guarded(HOSTS, None, 1_000_000, 8), measures)
    entry = {"name": "rows", "datatype": "FP32", "shape": [40, 6], "data": MATRIX.tolist()}
    with TestClient(app, base_url=ADDRESS, raise_server_exceptions=False) as client:
        assert client.get("/v2").status_code == 200
        for _ in range(2):
            assert client.post(INFER, json={"inputs": [entry]}).status_code == 200
        body = stream(batch_of(MATRIX[:10]))
        assert client.post(INFER, content=body, headers={"content-type": ARROW}).status_code == 200
        assert client.post(INFER, content=b"{").status_code == 400
        assert client.post(INFER, content=b"{", headers={"content-type": "text/html"}).status_code == 415
        assert (
            client.post(
                INFER, content=stream(batch_of(np.zeros((101, 6), np.float32))), headers={"content-type": ARROW}
            ).status_code
            == 413
        )
        assert client.post("/v2/models/other/infer", json={}).status_code == 404
        assert client.post(f"{INFER}/", json={}, follow_redirects=False).status_code == 307
        assert client.post(INFER, json={}, headers={"origin": "http://elsewhere"}).status_code == 403
    service.close()
    requests = {body: value("forebay_serve_requests_total", body=body) for body in ("json", "binary", "arrow")}
    assert requests == {"json": 2, "binary": 0, "arrow": 1}
    refused = {reason: value("forebay_rejected_total", stage=STAGE, reason=reason) for reason in REASONS.values()}
    assert {reason: count for reason, count in refused.items() if count} == {
        "malformed": 1,
        "kind": 1,
        "too large": 1,
        "unknown": 1,
        "web page": 1,
    }
    assert value("forebay_rows_in_total", stage=STAGE) == value("forebay_rows_out_total", stage=STAGE) == 90
    for name in ("forebay_serve_request_seconds", "forebay_serve_wait_seconds", "forebay_serve_batch_fill"):
        assert value(f"{name}_count") == 3, name
    assert value("forebay_serve_batch_fill_sum") == pytest.approx(0.9)
    assert value("forebay_batch_seconds_count", stage=STAGE) == 3
    assert value("forebay_serve_waiting_rows") == 0 and value("forebay_errors_total", stage=STAGE) == 0
    telemetry.close()


def test_a_fault_of_the_servers_own_is_counted_and_its_answer_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    telemetry = Telemetry(STAGE, load_settings(metrics_port=-1))
    measures, model = Measures(telemetry), tiny.model()
    service = ScoringService([Scorer(model, engine=engine_of("kernel", model))], 100, 100, 5_000, measures)
    monkeypatch.setattr(service, "score", None)
    app = application(CurrentService(service), Guarded(HOSTS, None, 1_000_000, 8), measures)
    with TestClient(app, base_url=ADDRESS, raise_server_exceptions=False) as client:
        answer = client.post(INFER, content=stream(batch_of(MATRIX)), headers={"content-type": ARROW})
    service.close()
    assert answer.status_code == 500 and "its log says more" in answer.json()["error"]
    assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["cache-control"] == "no-store"
    value = telemetry.registry.get_sample_value
    assert value("forebay_errors_total", {"stage": STAGE}) == 1
    assert value("forebay_serve_request_seconds_count") == 0
    telemetry.close()
