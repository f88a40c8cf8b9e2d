import socket
import time
from pathlib import Path
from typing import Any

import pytest
import trustme

from pipeline.settings import load_settings
from pipeline.tools.doctor.alert_outputs import alert_outputs
from pipeline.tools.doctor.findings import Finding


def check(*entries: dict[str, Any], now_s: float | None = None) -> dict[str, Finding]:
    outputs = load_settings(outputs=[{"name": f"to-{number}", **entry} for number, entry in enumerate(entries)]).outputs
    return {row.check: row for row in alert_outputs(outputs, time.time() if now_s is None else now_s)}


@pytest.fixture
def listening() -> Any:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_receiver_that_answers_is_fine_and_one_that_does_not_is_a_warning(listening: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        free = closed.getsockname()[1]
    rows = check(
        {"syslog": f"tcp://127.0.0.1:{listening}"},
        {"webhook": f"http://127.0.0.1:{listening}/a-secret-path"},
        {"syslog": f"tls://127.0.0.1:{free}"},
        {"syslog": "udp://127.0.0.1:514"},
        {"email": f"smtp://127.0.0.1:{free}", "sender": "a@b.example", "to": ["c@d.example"]},
    )
    assert [row.verdict for row in rows.values()] == ["ok", "ok", "warn", "ok", "warn"]
    assert "refused" in rows["output to-2"].found and rows["output to-2"].remedy and rows["output to-2"].expected
    assert "cannot be seen" in rows["output to-3"].found
    assert "secret" not in str(rows)


def test_files_that_an_output_names_must_be_readable(tmp_path: Path, listening: int) -> None:
    entry = {"webhook": f"http://127.0.0.1:{listening}/", "secret_file": str(tmp_path / "none")}
    (row,) = check(entry).values()
    assert row.verdict == "fail" and "secret_file" in row.found and "secret_file" in row.remedy


def test_a_file_must_be_writable_and_is_not_written(tmp_path: Path) -> None:
    grows = tmp_path / "alerts.jsonl"
    grows.write_text("before\n")
    blocked = tmp_path / "alerts.jsonl" / "below.jsonl"
    rows = check({"file": str(grows)}, {"file": str(tmp_path / "new" / "alerts.cef")}, {"file": str(blocked)})
    assert [row.verdict for row in rows.values()] == ["ok", "ok", "fail"]
    assert grows.read_text() == "before\n" and list(tmp_path.iterdir()) == [grows]
    assert "no folder" in rows["output to-2"].found or "Not a directory" in rows["output to-2"].found


def test_certificates_of_outputs_are_due_too(tmp_path: Path, listening: int) -> None:
    file = tmp_path / "ca.crt"
    trustme.CA().cert_pem.write_to_path(file)
    entry = {"syslog": f"tls://127.0.0.1:{listening}", "ca_file": str(file)}
    assert list(check(entry)) == ["output to-0"]
    rows = check(entry, now_s=4e10)
    assert rows["output to-0, certificate (authority)"].verdict == "fail"
    assert "output to-0" in rows["output to-0, certificate (authority)"].remedy


def test_without_outputs_there_is_nothing_to_say() -> None:
    assert check() == {}
