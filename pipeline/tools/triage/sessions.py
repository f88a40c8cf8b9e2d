"""Who asks: a signed-in account by its cookie, or the one local user where there are no accounts."""

import getpass
import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from pipeline.tools.triage.accounts import ANALYST, Account
from pipeline.tools.triage.database import Database

IDLE_US = 2 * 3_600_000_000
ABSOLUTE_US = 12 * 3_600_000_000
"""A session ends after so long without a request, and so long after it began: a shift and its handover."""
NOTED_EVERY_US = 60_000_000
MAX_SESSIONS = 10_000


def now_us() -> int:
    """The wall clock."""
    return time.time_ns() // 1000


@dataclass(frozen=True, slots=True)
class Session:
    """Who asks, and the token that their page sends with every change."""

    account: Account
    csrf: str
    token: str = ""
    """Its cookie; empty for the local user, who has none."""


class LocalUser:
    """The one user of a page on loopback without accounts, named as the operating system does."""

    needs_login = False

    def __init__(self) -> None:
        try:
            self.name = getpass.getuser()[:64]
        except (OSError, KeyError):
            self.name = "local"
        self._session = Session(Account(self.name, ANALYST), secrets.token_urlsafe(32))

    def of(self, _token: str | None, is_use: bool = True) -> Session | None:
        """The local user, whoever asks."""
        return self._session


class Sessions:
    """Sessions of accounts, in the store: a restart of the server ends none."""

    needs_login = True

    def __init__(self, database: Database, clock_us: Callable[[], int] = now_us) -> None:
        self._database, self._clock_us = database, clock_us

    def start(self, account: Account, is_local: bool = True) -> Session:
        """A new session; `is_local` where the account is one of the store's, which may take it away."""
        session = Session(account, secrets.token_urlsafe(32), secrets.token_urlsafe(32))
        now = self._clock_us()
        with self._database.writing() as connection:
            connection.execute(
                "DELETE FROM sessions WHERE used_us < ? OR created_us < ?", (now - IDLE_US, now - ABSOLUTE_US)
            )
            connection.execute(
                "DELETE FROM sessions WHERE token IN (SELECT token FROM sessions ORDER BY used_us DESC "
                "LIMIT 1000 OFFSET ?)",
                (MAX_SESSIONS,),
            )
            connection.execute(
                "INSERT INTO sessions (token, name, role, csrf, account, created_us, used_us) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    *(_hash(session.token), account.name, account.role, session.csrf),
                    *(account.name if is_local else None, now, now),
                ),
            )
        return session

    def of(self, token: str | None, is_use: bool = True) -> Session | None:
        """The session of a cookie; None where there is none, or it is over. `is_use`: it counts as used."""
        if not token:
            return None
        now = self._clock_us()
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT sessions.name, COALESCE(accounts.role, sessions.role), csrf, sessions.created_us, used_us "
                "FROM sessions LEFT JOIN accounts ON accounts.name = sessions.account "
                "WHERE token = ? AND (sessions.account IS NULL OR accounts.name IS NOT NULL)",
                (_hash(token),),
            )
        if not rows:
            return None
        name, role, csrf, created_us, used_us = rows[0]
        if now - used_us > IDLE_US or now - created_us > ABSOLUTE_US:
            return None
        if is_use and now - used_us > NOTED_EVERY_US:
            with self._database.writing() as connection:
                connection.execute("UPDATE sessions SET used_us = ? WHERE token = ?", (now, _hash(token)))
        return Session(Account(name, role), csrf, token)

    def end(self, session: Session) -> None:
        """End a session."""
        with self._database.writing() as connection:
            connection.execute("DELETE FROM sessions WHERE token = ?", (_hash(session.token),))


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
