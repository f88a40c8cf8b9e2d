"""How a revision leaves: what a sender of any kind does, and when it is tried again.

Undelivered
├── Retry      the receiver may take it later: away, busy, or a setting that a person corrects
└── Refused    the receiver will never take this revision: it is parked, the next one follows
"""

from pathlib import Path
from typing import Protocol

from pipeline.runtime.terminal import printable
from pipeline.tools.outputs.revision import Revision

FIRST_DELAY_S, MAX_DELAY_S = 0.5, 60.0
# What a receiver asks for is respected up to an hour.
MAX_ASKED_S = 3_600.0
MAX_REASON = 300
MAX_SECRET_BYTES = 4_096


class Undelivered(Exception):
    """A revision that was not taken: what was got and the remedy, safe to show."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(printable(f"{reason}; {remedy}" if remedy else reason, MAX_REASON))


class Retry(Undelivered):
    """Not taken now; `after_s` is what the receiver asks to wait."""

    def __init__(self, reason: str, remedy: str = "", after_s: float = 0.0) -> None:
        super().__init__(reason, remedy)
        self.after_s = after_s


class Refused(Undelivered):
    """Never taken."""


class Sender(Protocol):
    """Sends to one receiver, one revision at a time, from one thread."""

    def send(self, revision: Revision) -> str:
        """Send it and return what the receiver answered, in words; raises Retry or Refused."""

    def close(self) -> None:
        """End the connection, where there is one."""


def delay_s(attempt: int, luck: float, asked_s: float = 0.0) -> float:
    """Seconds before a further attempt: doubled each time up to a minute, a half of it by luck.

    attempt : how many have failed, 1 or more
    luck : 0 to 1, so that many senders do not come back at once
    """
    longest = min(MAX_DELAY_S, FIRST_DELAY_S * float(2 ** min(attempt - 1, 16)))
    return max(longest * (0.5 + 0.5 * luck), min(asked_s, MAX_ASKED_S))


def secret(path: str) -> bytes:
    """A secret from its file, read anew each time, so that a changed one counts at once; Retry where it cannot be."""
    try:
        with Path(path).open("rb") as file:
            value = file.read(MAX_SECRET_BYTES + 1).strip()
    except OSError as error:
        raise Retry(f"{path}: got {error.strerror}", "create the file, or correct its rights") from None
    if not value or len(value) > MAX_SECRET_BYTES:
        raise Retry(f"{path}: got {len(value)} bytes, expected 1 to {MAX_SECRET_BYTES}", "write the secret into it")
    return value
