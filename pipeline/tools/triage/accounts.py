"""Accounts of people who may use the page: names, roles, passwords as argon2id."""

import hashlib
import re
import threading
import time
from collections import OrderedDict
from functools import cache
from typing import NamedTuple

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error

from pipeline.errors import Usage
from pipeline.tools.triage.database import Database

VIEWER, ANALYST, ADMIN = "viewer", "analyst", "admin"
ROLES = (VIEWER, ANALYST, ADMIN)
"""Each may what those before it may: see; judge; read the audit log."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")
MIN_PASSWORD, MAX_PASSWORD = 12, 256
PATIENCE_S = 900.0
MAX_FAILURES = 5
"""Wrong passwords of one name from one address ..."""
MAX_FAILURES_OF_ADDRESS = 30
"""... and of one address in all, within PATIENCE_S."""
MAX_KEPT = 10_000
AT_ONCE = 2
"""Passwords that are checked at once: each takes 64 MiB and a tenth of a second of a core."""

_hasher = PasswordHasher()


class Account(NamedTuple):
    """Who it is, and what they may do."""

    name: str
    role: str


def may(role: str, needed: str) -> bool:
    """Whether a role may do what another one may."""
    return ROLES.index(role) >= ROLES.index(needed)


class Accounts:
    """The accounts in the store."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._turns = threading.BoundedSemaphore(AT_ONCE)

    def every(self) -> list[tuple[Account, int]]:
        """All accounts and when each was made, in microseconds, in order of their names."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT name, role, created_us FROM accounts ORDER BY name")
        return [(Account(name, role), int(created_us)) for name, role, created_us in rows]

    def add(self, name: str, role: str, password: str) -> None:
        """A new account; Usage where one of that name is there, or something cannot be."""
        if not NAME.fullmatch(name):
            raise Usage(f"name: got {name[:80]!r}, expected 1 to 64 letters, digits and . _ @ + -")
        if role not in ROLES:
            raise Usage(f"role: got {role[:40]!r}, expected one of {', '.join(ROLES)}")
        require_password(password)
        hashed = _hasher.hash(password)
        with self._database.writing() as connection:
            if connection.execute("SELECT 1 FROM accounts WHERE name = ?", (name,)):
                raise Usage(f"name: got {name}, which is there already, expected another")
            connection.execute(
                "INSERT INTO accounts (name, role, password, created_us) VALUES (?, ?, ?, ?)",
                (name, role, hashed, time.time_ns() // 1000),
            )

    def remove(self, name: str) -> None:
        """Take an account away and end its sessions; Usage where there is none."""
        with self._database.writing() as connection:
            _require(connection.execute("SELECT 1 FROM accounts WHERE name = ?", (name,)), name)
            connection.execute("DELETE FROM accounts WHERE name = ?", (name,))
            connection.execute("DELETE FROM sessions WHERE account = ?", (name,))

    def set_password(self, name: str, password: str) -> None:
        """Give an account another password and end its sessions; Usage where there is none."""
        require_password(password)
        hashed = _hasher.hash(password)
        with self._database.writing() as connection:
            _require(connection.execute("SELECT 1 FROM accounts WHERE name = ?", (name,)), name)
            connection.execute("UPDATE accounts SET password = ? WHERE name = ?", (hashed, name))
            connection.execute("DELETE FROM sessions WHERE account = ?", (name,))

    def checked(self, name: str, password: str) -> Account | None:
        """The account that has this name and password. It takes as long where there is none of that name."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT name, role, password FROM accounts WHERE name = ?", (name,))
        hashed = str(rows[0][2]) if rows else _nobody()
        with self._turns:
            try:
                _hasher.verify(hashed, password[:MAX_PASSWORD])
            except Argon2Error:
                return None
        return Account(rows[0][0], rows[0][1]) if rows else None


def require_password(password: str) -> None:
    """Usage unless it is long enough."""
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise Usage(f"password: got {len(password)} characters, expected {MIN_PASSWORD} to {MAX_PASSWORD}")


def _require(rows: list[tuple[object, ...]], name: str) -> None:
    if not rows:
        raise Usage(f"name: got {name[:80]!r}, expected an account; `forebay triage user list` lists them")


@cache
def _nobody() -> str:
    """A hash that takes as long to check as an account's."""
    return _hasher.hash("nobody")


class Failures:
    """Wrong passwords of late, by name and address. Bounded: what is oldest goes first."""

    def __init__(self) -> None:
        self._times: OrderedDict[tuple[str, str], list[float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait_s(self, name: str, address: str, now: float) -> float:
        """Seconds until this name may try again from this address; 0: now."""
        with self._lock:
            waits = [
                self._wait(("", address), MAX_FAILURES_OF_ADDRESS, now),
                self._wait((_key(name), address), MAX_FAILURES, now),
            ]
        return max(waits)

    def failed(self, name: str, address: str, now: float) -> None:
        """Count a wrong password."""
        with self._lock:
            for key in (("", address), (_key(name), address)):
                times = [at for at in self._times.pop(key, []) if now - at < PATIENCE_S]
                self._times[key] = [*times, now][-MAX_FAILURES_OF_ADDRESS:]
            while len(self._times) > MAX_KEPT:
                self._times.popitem(last=False)

    def succeeded(self, name: str, address: str) -> None:
        """Forget the wrong passwords of a name from an address."""
        with self._lock:
            self._times.pop((_key(name), address), None)

    def _wait(self, key: tuple[str, str], most: int, now: float) -> float:
        times = [at for at in self._times.get(key, []) if now - at < PATIENCE_S]
        return PATIENCE_S - (now - times[-most]) if len(times) >= most else 0.0


def _key(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
