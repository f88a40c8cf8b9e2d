"""Syslog: over TLS to a real rsyslog, over TCP to a receiver that goes away and comes back, over UDP."""

import json
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest

from pipeline.tools.broker.ports import free_port
from pipeline.tools.outputs.revision import revision_of
from pipeline.tools.outputs.sending import Refused, Retry
from pipeline.tools.outputs.syslog_sender import SyslogSender
from schemas.outputs import SyslogOutput
from tests.clients.plant import client
from tests.patience import PATIENCE_S
from tests.tools.outputs.receivers import (
    Certificates,
    has_rsyslog_with_tls,
    listens,
    rsyslog_configuration,
    wait_until,
)
from tests.tools.outputs.revisions import event, revision


def sender(url: str, **others: Any) -> SyslogSender:
    return SyslogSender(SyslogOutput(name="siem", syslog=url, **{"timeout_s": 60.0, **others}))


@pytest.mark.slow
@pytest.mark.skipif(
    not has_rsyslog_with_tls(),
    reason="not proven: that rsyslog takes alerts over TLS (rsyslogd, rsyslog-openssl are not installed)",
)
def test_rsyslog_takes_alerts_over_tls(tmp_path: Path) -> None:
    certificates, port = Certificates(tmp_path), free_port()
    (tmp_path / "rsyslog.conf").write_text(rsyslog_configuration(port, tmp_path, certificates))
    log, received = tmp_path / "log", tmp_path / "received"
    made = [revision_of(event()), revision(says='über ] " \\ 日', key="k-2"), revision(key="k-3")]
    arguments = ("rsyslogd", "-n", "-f", f"{tmp_path}/rsyslog.conf", "-i", f"{tmp_path}/pid")
    forms = ("cef", "text", "ocsf")
    with client(*arguments, log=log):
        wait_until(lambda: listens(port), "rsyslog's port")
        for each, name in zip(made, forms, strict=True):
            one = sender(f"tls://localhost:{port}", ca_file=certificates.ca_file, format=name)
            assert "acknowledged by the receiver's TLS connection" in one.send(each)
            one.close()
        with pytest.raises(Retry, match="does not verify"):
            sender(f"tls://localhost:{port}").send(made[0])
        wait_until(lambda: received.exists() and received.read_bytes().count(b"\n") == 3, "three messages")
    lines = [json.loads(line) for line in received.read_text(encoding="utf-8").splitlines()]
    by_key = {line["data"].partition('key="')[2].partition('"')[0]: line for line in lines}
    first = by_key[made[0].key]
    assert (first["pri"], first["app"], first["msgid"]) == ("132", "forebay", "incident-end")
    assert first["text"].startswith("CEF:0|Forebay|Forebay|")
    assert "über" in by_key["k-2"]["text"] and json.loads(by_key["k-3"]["text"]) == event()


class Receiver:
    """A TCP or TLS receiver that can be closed and opened again on the same port."""

    def __init__(self, port: int, context: ssl.SSLContext | None = None) -> None:
        self.received = b""
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", port))
        self._connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
                if self._context is not None:
                    connection = self._context.wrap_socket(connection, server_side=True)
            except ssl.SSLError:
                continue
            except OSError:
                return
            self._connections.append(connection)
            self._threads.append(threading.Thread(target=self._read, args=(connection,), daemon=True))
            self._threads[-1].start()

    def _read(self, connection: socket.socket) -> None:
        try:
            while data := connection.recv(65_536):
                self.received += data
        except OSError:
            return

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
            finally:
                connection.close()
        for thread in self._threads:
            thread.join(PATIENCE_S)


def frames(data: bytes) -> list[bytes]:
    """The messages of a stream with octet counting."""
    found = []
    while data:
        length, _, rest = data.partition(b" ")
        found.append(rest[: int(length)])
        data = rest[int(length) :]
    return found


def test_a_receiver_that_goes_away_and_comes_back() -> None:
    port = free_port()
    one, receiver = sender(f"tcp://127.0.0.1:{port}"), Receiver(port)
    for number in range(3):
        assert "acknowledged" in one.send(revision(key=f"k-{number}"))
    wait_until(lambda: len(frames(receiver.received)) == 3, "three messages")
    receiver.close()
    with pytest.raises(Retry):  # at once, on the connection that was open: nothing counts as sent
        one.send(revision(key="k-3"))
    with pytest.raises(Retry, match="refused"):
        one.send(revision(key="k-3"))
    receiver = Receiver(port)
    one.send(revision(key="k-3"))
    wait_until(lambda: len(frames(receiver.received)) == 1, "the message again")
    assert b'key="k-3"' in frames(receiver.received)[0]
    one.close()
    receiver.close()


def test_a_receiver_that_does_not_want_our_certificate_took_nothing(tmp_path: Path) -> None:
    certificates, port = Certificates(tmp_path), free_port()
    wanting = certificates.context()
    wanting.verify_mode = ssl.CERT_REQUIRED
    certificates.authority.configure_trust(wanting)
    receiver = Receiver(port, wanting)
    with pytest.raises(Retry):
        sender(f"tls://localhost:{port}", ca_file=certificates.ca_file, timeout_s=2.0).send(revision())
    own = {"certificate_file": certificates.certificate_file, "key_file": certificates.key_file}
    one = sender(f"tls://localhost:{port}", ca_file=certificates.ca_file, **own)
    assert "TLS" in one.send(revision(key="k-1"))
    wait_until(lambda: len(frames(receiver.received)) == 1, "one message")
    one.close()
    receiver.close()


def test_a_receiver_that_reads_nothing_is_left_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        one = sender(f"tcp://127.0.0.1:{listener.getsockname()[1]}", timeout_s=0.5, format="text")
        with pytest.raises(Retry, match="no answer in time"):
            one.send(revision(says="x" * 20_000_000))


def test_udp_is_a_message_a_datagram() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(PATIENCE_S)
        one = sender(f"udp://127.0.0.1:{receiver.getsockname()[1]}", format="leef")
        assert "nobody says whether" in one.send(revision())
        assert receiver.recv(65_536).startswith(b"<132>1 ")
        with pytest.raises(Refused, match="65507"):
            one.send(revision(says="x" * 70_000))
        one.close()


def test_a_name_that_does_not_resolve() -> None:
    with pytest.raises(Retry, match=r"nowhere\.invalid"):
        sender("tcp://nowhere.invalid:514").send(revision())
