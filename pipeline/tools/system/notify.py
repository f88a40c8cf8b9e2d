"""What systemd is told: sd_notify(3), a datagram to the socket it names; nothing where it names none."""

import os
import socket
from contextlib import suppress

from pipeline.settings import notify_socket


def send(*lines: str) -> None:
    """Send the lines, such as READY=1; a systemd that does not listen is no error of ours."""
    address = notify_socket()
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagram:
        datagram.sendto("\n".join((*lines, f"MAINPID={os.getpid()}")).encode(), address)
