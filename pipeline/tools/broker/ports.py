"""Ports on this machine."""

import random
import socket
from contextlib import suppress
from pathlib import Path

from pipeline.tools.broker.configuration import HOST

# Linux gives a client that connects a port of this range, and thereby takes it from a server that is away for a moment:
# from a broker that starts again, or gives it to the broker's own clients, which then hear themselves.
CLIENTS_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
LOWEST = 15_000
FEWEST, TRIES = 1_000, 100


def free_port(but: int = 0) -> int:
    """A port nobody listens on now, other than `but`; somebody may still be faster than we are.

    None that clients are given, where the system says which those are and leaves enough below them.
    """
    servers = _servers_range()
    for _ in range(TRIES if len(servers) >= FEWEST else 0):
        port = random.choice(servers)
        if port != but and is_free(port):
            return port
    while True:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            given: int = probe.getsockname()[1]
        if given != but:
            return given


def _servers_range() -> range:
    """Ports below those that clients are given; none where the system does not say."""
    with suppress(OSError, ValueError, IndexError):
        return range(LOWEST, int(CLIENTS_RANGE.read_text(encoding="ascii").split()[0]))
    return range(0)


def is_free(port: int) -> bool:
    """Whether nobody listens on the port."""
    with socket.socket() as probe:
        # As Java does: a port whose last connections linger in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
