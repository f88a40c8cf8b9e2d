"""Syslog over UDP, TCP and TLS. The protocol has no answer: the best there is, is what the receiver's TCP confirms.

Over TCP and TLS a message counts as sent once the receiver's kernel has acknowledged every byte of it, and has not
closed the connection. What the receiver loses after that nobody learns: that is RFC 5425's promise, and no more.
"""

import fcntl
import select
import socket
import ssl
import struct
import termios
import time

from pipeline.tools.outputs.formats.syslog_message import frame, message
from pipeline.tools.outputs.revision import Revision
from pipeline.tools.outputs.sending import Refused, Retry
from pipeline.tools.outputs.tls import context, reason, remedy
from schemas.outputs import SyslogOutput, address_of

MAX_DATAGRAM = 65_507
# A receiver that does not want our certificate says so after TLS 1.3's handshake: the first message waits for that.
FIRST_ANSWER_S = 0.25
DRAIN_POLL_S = 0.002
KEEPALIVE_S = 30


class SyslogSender:
    """Sends to one syslog receiver; connects when there is something to send."""

    def __init__(self, output: SyslogOutput) -> None:
        self.output = output
        self._scheme, self._host, self._port = address_of(output.syslog)
        self._name = socket.gethostname()
        self._socket: socket.socket | None = None

    def send(self, revision: Revision) -> str:
        """Send a revision; what is answered is what the transport knows."""
        data = message(revision, self.output.format, self.output.facility, self._name)
        try:
            if self._scheme == "udp":
                return self._send_datagram(data)
            return self._send_stream(frame(data))
        except OSError as error:
            self.close()
            raise Retry(f"{self.output.syslog}: got {reason(error)}", remedy(error)) from None
        except Retry:
            self.close()
            raise

    def close(self) -> None:
        """End the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send_datagram(self, data: bytes) -> str:
        if len(data) > MAX_DATAGRAM:
            raise Refused(f"{len(data)} bytes, expected at most {MAX_DATAGRAM} over UDP", "use tcp:// or tls://")
        if self._socket is None:
            kind, number, *_, address = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_DGRAM)[0]
            self._socket = socket.socket(kind, number)
            self._socket.settimeout(self.output.timeout_s)
            self._socket.connect(address)
        self._socket.send(data)
        return f"sent {len(data)} bytes by UDP; nobody says whether they arrived"

    def _send_stream(self, data: bytes) -> str:
        is_first = self._socket is None
        connection = self._socket = self._socket or self._connected()
        if not is_first:
            self._require_open(connection, 0.0)
        connection.settimeout(self.output.timeout_s)
        connection.sendall(data)
        self._drain(connection)
        self._require_open(connection, FIRST_ANSWER_S if is_first and self._scheme == "tls" else 0.0)
        return (
            f"{len(data)} bytes acknowledged by the receiver's {'TLS' if self._scheme == 'tls' else 'TCP'} connection"
        )

    def _connected(self) -> socket.socket:
        made = socket.create_connection((self._host, self._port), self.output.timeout_s)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if hasattr(socket, "TCP_KEEPIDLE"):
                made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_S)
            if self._scheme == "tls":
                return context(self.output).wrap_socket(made, server_hostname=self._host)
        except BaseException:
            made.close()
            raise
        return made

    def _drain(self, connection: socket.socket) -> None:
        """Wait until the receiver's kernel has acknowledged every byte."""
        deadline = time.monotonic() + self.output.timeout_s
        while unacknowledged(connection):
            if time.monotonic() > deadline:
                raise TimeoutError
            time.sleep(DRAIN_POLL_S)

    def _require_open(self, connection: socket.socket, wait_s: float) -> None:
        """Retry where the receiver has closed: what it had not read then may be lost, and is sent again."""
        if not select.select([connection], [], [], wait_s)[0]:
            return
        connection.settimeout(0.0)
        try:
            # Syslog receivers send nothing; TLS has records of its own, which hold no data.
            if connection.recv(4_096) == b"":
                raise Retry(f"{self.output.syslog}: got a closed connection", "see the receiver's log for why")
        except (BlockingIOError, ssl.SSLWantReadError):
            return


def unacknowledged(connection: socket.socket) -> int:
    """Bytes of a TCP connection that its other end has not acknowledged (SIOCOUTQ)."""
    answer = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, struct.pack("i", 0))
    return int(struct.unpack("i", answer)[0])
