"""The server as a process: on loopback and under TLS with a token, and what it refuses to start with, in a line."""

import asyncio
import json
import signal
import ssl
import subprocess
import sys
from functools import partial
from pathlib import Path

import httpx
import numpy as np
import pytest
import trustme
from fastapi import FastAPI

from models.serving import registry
from models.serving.score import Scorer
from pipeline.errors import Misconfigured
from pipeline.runtime.telemetry import Telemetry
from pipeline.settings import load_settings
from pipeline.tools.http_server import Listening
from pipeline.tools.inference import serving
from pipeline.tools.inference.measures import STAGE
from pipeline.tools.inference.serving import Request, token_of
from tests.commands import forebay
from tests.models import tiny
from tests.patience import PATIENCE_S
from tests.tools.inference.server import until

SERVE = ("score", "serve", "--port", "0", "--json")
WORDS = [sys.executable, "-m", "pipeline.tools.cli", *SERVE]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return registry.save(tiny.model(), tmp_path_factory.mktemp("registry"))


@pytest.mark.slow
def test_it_serves_under_tls_with_a_token_and_ends_when_asked(tmp_path: Path, model: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    cert, key, trusted, token = (tmp_path / name for name in ("cert.pem", "key.pem", "ca.pem", "token"))
    for number, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(str(cert), append=number > 0)
    issued.private_key_pem.write_to_path(str(key))
    authority.cert_pem.write_to_path(str(trusted))
    token.write_text("a-token-of-sixteen\n")
    options = ["--tls-cert", str(cert), "--tls-key", str(key), "--token-file", str(token), "--model", str(model)]
    process = subprocess.Popen([*WORDS, *options, "--threads", "2"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        says = json.loads(process.stdout.readline())
        assert says["model"] == tiny.model().id and says["url"].startswith("https://127.0.0.1:")
        rows = tiny.rows(seed=1, count=5).matrix
        entry = {"name": "rows", "datatype": "FP32", "shape": [5, 6], "data": rows.tolist()}
        context = ssl.create_default_context(cafile=str(trusted))
        with httpx.Client(base_url=says["url"], verify=context, trust_env=False, timeout=PATIENCE_S) as client:
            assert client.get("/v2/health/ready").status_code == 200
            assert client.post("/v2/models/igan/infer", json={"inputs": [entry]}).status_code == 401
            headers = {"authorization": "Bearer a-token-of-sixteen"}
            answer = client.post("/v2/models/igan/infer", json={"inputs": [entry]}, headers=headers)
        wanted = Scorer(tiny.model(), "cpu").score(rows, np.zeros(5, np.int64), np.full(5, "*")).score
        assert np.array_equal(np.array(answer.json()["outputs"][0]["data"], np.float32), wanted)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()
        process.wait(PATIENCE_S)
        if process.stdout is not None:
            process.stdout.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (("--host", "0.0.0.0"), 78, "expected TLS beyond this machine"),  # noqa: S104
        (("--engine", "abacus"), 1, "engine: got abacus, expected one of kernel"),
        (("--latency-budget-ms", "0"), 78, "latency_budget_ms"),
    ],
)
def test_what_it_cannot_start_with(options: tuple[str, ...], code: int, says: str, model: Path) -> None:
    run = forebay(*SERVE, "--model", str(model), *options)
    assert run.code == code and says.lower() in run.stderr.lower() and "Traceback" not in run.stderr, run.stderr


def test_its_loop_beats_as_long_as_the_application_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    telemetry, beats = Telemetry(STAGE, load_settings(metrics_port=-1)), list[int]()
    monkeypatch.setattr(telemetry, "beat", lambda: beats.append(1))
    monkeypatch.setattr(serving, "BEAT_EVERY_S", 0.001)

    async def run() -> None:
        async with serving._with_tasks([partial(serving._beat, telemetry)], FastAPI()):
            await until(lambda: len(beats) > 3)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())
    telemetry.close()


def request(host: str, file: Path | None) -> Request:
    return Request(Listening(host, 0), "kernel", 1, file)


def test_tokens_that_are_none(tmp_path: Path) -> None:
    assert token_of(request("127.0.0.1", None)) is None
    with pytest.raises(Misconfigured, match="got an address that others reach, and no token"):
        token_of(request("10.0.0.1", None))
    with pytest.raises(Misconfigured, match="got No such file or directory, expected a file"):
        token_of(request("127.0.0.1", tmp_path / "missing"))
    file = tmp_path / "token"
    for content in (b"short", b"with a space inside", "ümläute-ümläute-ü".encode(), b"x" * 5_000, b""):
        file.write_bytes(content)
        with pytest.raises(Misconfigured, match="expected 16 to"):
            token_of(request("127.0.0.1", file))
    file.write_bytes(b"  0123456789abcdef\n")
    assert token_of(request("10.0.0.1", file)) == b"0123456789abcdef"
