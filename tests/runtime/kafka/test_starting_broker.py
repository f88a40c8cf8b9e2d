"""A broker that starts knows of no broker for a moment: no process may end by that."""

import contextlib
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from tests.patience import PATIENCE_S

API_VERSIONS, METADATA = 18, 3
NO_BROKER = struct.pack(">iihcii", 0, 0, 1, b"x", -1, 0)


class StartingBroker:
    """Answers API versions and metadata: that it leads the cluster, or once it is `starting`, that there is no broker.

    The metadata is of version 4: throttle time, brokers, cluster id, controller, topics.
    """

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.starting = False
        host = b"127.0.0.1"
        self._itself = struct.pack(f">iiih{len(host)}sihhcii", 0, 1, 1, len(host), host, self.port, -1, 1, b"x", 1, 0)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        # The client may end with an answer unread: its connection is reset then, which is no failure of the test.
        with contextlib.suppress(ConnectionError), connection, connection.makefile("rwb") as stream:
            while len(size := stream.read(4)) == 4:
                request = stream.read(*struct.unpack(">i", size))
                key, version, number = struct.unpack(">hhi", request[:8])
                answer = struct.pack(">i", number) + (self._metadata() if key == METADATA else _api_versions(version))
                stream.write(struct.pack(">i", len(answer)) + answer)
                stream.flush()

    def _metadata(self) -> bytes:
        return NO_BROKER if self.starting else self._itself


def _api_versions(version: int) -> bytes:
    """Version 0 alone; UNSUPPORTED_VERSION makes the client ask again with it."""
    known = ((API_VERSIONS, 0, 0), (METADATA, 0, 4))
    return struct.pack(">hi", 35 if version else 0, len(known)) + b"".join(struct.pack(">hhh", *each) for each in known)


@pytest.fixture
def starting() -> Iterator[StartingBroker]:
    broker = StartingBroker()
    yield broker
    broker.close()


PROGRAM = """
import sys
from pipeline.runtime.kafka.outage import KafkaWatch
from pipeline.runtime.shutdown import Stop
from pipeline.runtime.telemetry import start
from pipeline.settings import Settings

settings = Settings(bootstrap=sys.argv[1], metrics_port=-1)
telemetry = start("ingest", settings)
watch = KafkaWatch("ingest", settings, telemetry, Stop())
print(watch.answers(), flush=True)
input()
print([watch.answers() for _ in range(3)])
"""


@pytest.mark.slow
def test_a_worker_lives_through_a_broker_that_starts(starting: StartingBroker) -> None:
    """Before: SIGABRT by an assertion of librdkafka."""
    arguments = [sys.executable, "-c", PROGRAM, f"127.0.0.1:{starting.port}"]
    with subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        starting.starting = True
        answers, errors = process.communicate("\n", timeout=PATIENCE_S)
    assert process.returncode == 0, errors
    assert answers.splitlines()[-1] == "[False, False, False]"
