import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from pipeline.settings import load_settings
from pipeline.tools.cli import status as status_command
from pipeline.tools.system import record, status
from pipeline.tools.system.identity import identity_of
from pipeline.tools.system.record import BrokerRecord, Phase, State, SystemRecord, WorkerRecord
from pipeline.tools.system.worker_table import endpoint_row, page_row


def test_a_system_whose_own_kafka_does_not_run_is_not_ready(tmp_path: Path) -> None:
    me = identity_of(os.getpid())
    assert me is not None
    without = SystemRecord(me, str(tmp_path), Phase.RUNNING, 5)
    assert status.document(without)["ready"]
    broker = BrokerRecord(str(tmp_path / "broker"), True)
    stopped = status.document(SystemRecord(me, str(tmp_path), Phase.RUNNING, 5, broker=broker))
    assert stopped["broker"]["state"] == "does not run" and stopped["running"] and not stopped["ready"]


@contextmanager
def answering(path: str) -> Iterator[int]:
    """A port at which one path is answered with 200, any other with 404."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == path else 404)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_port
        server.shutdown()


def of_row(row: Any, port: int) -> WorkerRecord:
    """A row's worker, at work as this process."""
    me = identity_of(os.getpid())
    return WorkerRecord(row.name, row.is_stage, State.READY, me, port, host=row.host, ready_path=row.ready_path)


def test_the_pages_address_is_said_and_it_is_asked_where_it_listens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = identity_of(os.getpid())
    assert me is not None
    page, endpoint = page_row(load_settings()), endpoint_row("x", 0, "192.0.2.1")
    lines: list[str] = []
    monkeypatch.setattr(status_command, "_line", lines.append)
    with answering("/readyz") as port:
        workers = (of_row(page, port), of_row(endpoint, 1))
        # The stages listen on another address, where nobody answers.
        record.write(tmp_path, SystemRecord(me, str(tmp_path), Phase.RUNNING, 5, host="192.0.2.1", workers=workers))
        system = record.read(tmp_path)
        assert system is not None
        found = status.document(system)
    address = f"http://127.0.0.1:{port}"
    assert found["page"] == system.page == address
    assert {each["name"]: each["ready"] for each in found["workers"]} == {"triage": True, "endpoint": False}
    status_command._show(found)
    assert f"the page: {address}" in lines


def test_sensors_are_said_to_be_those_remembered_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    me = identity_of(os.getpid())
    assert me is not None
    lines: list[str] = []
    monkeypatch.setattr(status_command, "_line", lines.append)
    found = status.document(SystemRecord(me, str(tmp_path), Phase.RUNNING, 5))
    status_command._show({**found, "sensors": {"settling": 1, "learning": 4}})
    says = "sensors  4 learning, 1 settling, of those remembered now; forebay sensor list has all that ever sent"
    assert says in lines


def test_a_box_without_a_page_says_nothing_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    me = identity_of(os.getpid())
    assert me is not None
    lines: list[str] = []
    monkeypatch.setattr(status_command, "_line", lines.append)
    ended = WorkerRecord(record.PAGE, False, State.FAILED, host="127.0.0.1", port=9480)
    for workers in ((), (ended,)):
        found = status.document(SystemRecord(me, str(tmp_path), Phase.RUNNING, 5, workers=workers))
        status_command._show(found)
        assert found["page"] is None
    assert not [line for line in lines if "the page" in line]
