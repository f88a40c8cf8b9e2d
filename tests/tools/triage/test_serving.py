"""The server as a process: on loopback and under TLS, and what it refuses to start with, in a line."""

import json
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import httpx
import orjson
import pytest
import trustme

from tests.commands import forebay
from tests.patience import PATIENCE_S
from tests.tools.triage.pages import alert

pytestmark = pytest.mark.slow
SERVE = ("triage", "serve", "--port", "0", "--json")
WORDS = [sys.executable, "-m", "pipeline.tools.cli", *SERVE]


@pytest.fixture
def alerts(tmp_path: Path) -> Path:
    file = tmp_path / "alerts.jsonl"
    file.write_bytes(orjson.dumps(alert(1)) + b"\n\n" + orjson.dumps(alert(2, site="other")) + b"\n")
    return file


def refused(*options: str) -> tuple[int, str]:
    """What it leaves with, and what it says."""
    run = forebay(*SERVE, *options)
    return run.code, run.stderr


def test_it_serves_alerts_of_a_file_under_tls_and_ends_when_asked(tmp_path: Path, alerts: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    cert, key, trusted = (str(tmp_path / name) for name in ("cert.pem", "key.pem", "ca.pem"))
    for number, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(cert, append=number > 0)
    issued.private_key_pem.write_to_path(key)
    authority.cert_pem.write_to_path(trusted)
    options = ["--data", str(tmp_path / "page"), "--alerts", str(alerts), "--tls-cert", cert, "--tls-key", key]
    process = subprocess.Popen([*WORDS, *options], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        assert url.startswith("https://127.0.0.1:")
        context = ssl.create_default_context(cafile=trusted)
        with httpx.Client(base_url=url, verify=context, trust_env=False, timeout=PATIENCE_S) as client:
            answer = client.get("/api/v1/incidents")
            assert answer.json()["total"] == 2
            assert "strict-transport-security" in answer.headers
            with client.stream("GET", "/api/v1/events", headers={"last-event-id": "0"}) as events:
                assert any(line.startswith("event: incident") for line in events.iter_lines())
                process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0, "who watches does not keep it from ending"
    finally:
        process.kill()
        process.wait(PATIENCE_S)
        if process.stdout is not None:
            process.stdout.close()


def test_what_it_cannot_start_with(tmp_path: Path, alerts: Path) -> None:
    data = ("--data", str(tmp_path / "page"), "--alerts", str(alerts))
    code, says = refused("--host", "0.0.0.0", *data)  # noqa: S104
    assert code == 78 and "expected TLS beyond this machine" in says
    code, says = refused("--tls-cert", str(alerts), "--tls-key", str(alerts), *data)
    assert code == 78 and "expected a certificate and its key" in says
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"unmapped": {}}\n')
    code, says = refused("--alerts", str(broken), "--data", str(tmp_path / "page"))
    assert code == 64 and "line 1" in says
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, says = refused(*data, "--port", str(taken.getsockname()[1]))
    assert code == 2 and "expected an address of this machine and a free port" in says
    assert "Traceback" not in says
