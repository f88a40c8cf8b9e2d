"""Real receivers for the tests: certificates, an HTTP server that can be told to fail, a mail server, rsyslog."""

import shutil
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import trustme

from tests.clients.plant import search_path
from tests.patience import PATIENCE_S


class Certificates:
    """An authority of the test's own, and a certificate for this machine."""

    def __init__(self, folder: Path) -> None:
        self.authority = trustme.CA()
        self.server = self.authority.issue_cert("localhost", "127.0.0.1")
        self.ca_file = str(folder / "ca.pem")
        self.certificate_file, self.key_file = str(folder / "server.pem"), str(folder / "server.key")
        self.authority.cert_pem.write_to_path(self.ca_file)
        for part in self.server.cert_chain_pems:
            part.write_to_path(self.certificate_file, append=Path(self.certificate_file).exists())
        self.server.private_key_pem.write_to_path(self.key_file)

    def context(self) -> ssl.SSLContext:
        """A server's side."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.server.configure_cert(made)
        return made


class WebServer:
    """An HTTP server that answers as it is told, and remembers what came."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.answers: list[tuple[int, dict[str, str]]] = []
        """Status and headers of the next answers; 200 after them."""
        self.hang_s = 0.0
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.requests.append((self.path, dict(self.headers), body))
                if outer.hang_s:
                    outer.over.wait(outer.hang_s)
                status, headers = outer.answers.pop(0) if outer.answers else (200, {})
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "4")
                self.end_headers()
                self.wfile.write(b"said")

            def log_message(self, *_arguments: Any) -> None:
                return

        self.over = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.scheme = "https" if context else "http"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{self.scheme}://localhost:{self._server.server_address[1]}/hook?of=forebay"

    def close(self) -> None:
        """Stop it."""
        self.over.set()
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def web_server(context: ssl.SSLContext | None = None) -> Iterator[WebServer]:
    """A server, stopped at the end."""
    server = WebServer(context)
    try:
        yield server
    finally:
        server.close()


def has_rsyslog_with_tls() -> bool:
    """Whether rsyslog and its TLS driver are installed."""
    drivers = Path("/usr/lib").glob("*/rsyslog/lmnsd_ossl.so")
    return shutil.which("rsyslogd", path=search_path()) is not None and any(drivers)


def rsyslog_configuration(port: int, folder: Path, certificates: Certificates) -> str:
    """A receiver over TLS that writes what came as JSON, a line a message: its header, structured data, text."""
    return f"""
global(workDirectory="{folder}" maxMessageSize="64k" defaultNetstreamDriver="ossl"
       defaultNetstreamDriverCAFile="{certificates.ca_file}"
       defaultNetstreamDriverCertFile="{certificates.certificate_file}"
       defaultNetstreamDriverKeyFile="{certificates.key_file}")
module(load="imtcp" streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="anon")
input(type="imtcp" port="{port}" address="127.0.0.1")
template(name="parts" type="list" option.jsonf="on") {{
    property(outname="pri" name="pri" format="jsonf")
    property(outname="app" name="app-name" format="jsonf")
    property(outname="msgid" name="msgid" format="jsonf")
    property(outname="time" name="timereported" dateFormat="rfc3339" format="jsonf")
    property(outname="data" name="structured-data" format="jsonf")
    property(outname="text" name="msg" format="jsonf")
}}
action(type="omfile" file="{folder}/received" template="parts")
"""


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.02)


def listens(port: int) -> bool:
    """Whether somebody listens on a TCP port."""
    with socket.socket() as probe:
        probe.settimeout(30.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0
