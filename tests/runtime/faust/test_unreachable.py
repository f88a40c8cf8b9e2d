"""A Kafka that goes away between the first look at it and the worker's own."""

import socket

import pytest

from pipeline.errors import KafkaUnreachable
from pipeline.runtime.faust import worker
from pipeline.runtime.kafka import clients
from pipeline.runtime.telemetry import start
from pipeline.settings import load_settings
from tests.runtime.faust.test_retained_snapshots import Clock


def test_it_is_said_clearly(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # not listening: connections are refused
        settings = load_settings(bootstrap=f"127.0.0.1:{nobody.getsockname()[1]}", metrics_port=-1)
        monkeypatch.setattr(clients, "require_broker", lambda _settings: None)
        with pytest.raises(KafkaUnreachable, match=r"does not answer \(KafkaConnectionError"):
            worker.run(Clock(), settings, start("clock", settings))
