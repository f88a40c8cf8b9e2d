"""A Maven repository on this machine, with a hook for what goes wrong on the way."""

import gc
import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pipeline.tools.broker.lock import Lock, LockedJar

CONTENT = {name: f"the bytes of {name}".encode() * 1000 for name in ("one", "two", "three")}
Answer = Callable[[str, int, bytes], tuple[int, bytes]]


@dataclass
class Repository:
    """Serves `CONTENT` as group `g`, version 1; `answer` may change status and bytes by (artifact, nth request)."""

    address: str = ""
    asked: dict[str, int] = field(default_factory=dict)
    answer: Answer = lambda _artifact, _nth, content: (200, content)

    @property
    def repositories(self) -> dict[str, str]:
        return {"here": self.address}


@pytest.fixture
def repository() -> Iterator[Repository]:
    served = Repository()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            artifact = self.path.split("/")[2]
            if not self.path.endswith(".jar"):
                self.send_error(404)
                return
            served.asked[artifact] = served.asked.get(artifact, 0) + 1
            status, content = served.answer(artifact, served.asked[artifact], CONTENT[artifact])
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_arguments: object) -> None:
            """Nothing: the test's output is not a server's log."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served.address = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield served
        server.shutdown()
        thread.join()
    gc.collect()  # inside this test, whose warnings' filter knows about it


@pytest.fixture
def lock() -> Lock:
    return Lock(
        "4.0.0",
        tuple(LockedJar("g", name, "1", hashlib.sha256(text).hexdigest(), len(text)) for name, text in CONTENT.items()),
    )
