"""The audit log: who did what, from where, and what came of it."""

import time
from typing import Any

from pipeline.tools.triage.database import Database
from pipeline.tools.triage.rows import storable

MAX_ROWS = 1_000_000
MAX_TEXT = 500


class Audit:
    """Actions, in the store; the oldest beyond a million are deleted."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def note(self, who: str, origin: str, action: str, about: str = "", result: str = "done") -> None:
        """Write an action down. origin: the address it came from; about: what it was done to."""
        with self._database.writing() as connection:
            number = int(connection.execute("SELECT COALESCE(MAX(number), 0) FROM audit")[0][0]) + 1
            texts = [storable(text)[:MAX_TEXT] for text in (who, origin, action, about, result)]
            connection.execute(
                "INSERT INTO audit (number, at_us, who, origin, action, about, result) VALUES (?, ?, ?, ?, ?, ?, ?)",
                [number, time.time_ns() // 1000, *texts],
            )
            connection.execute("DELETE FROM audit WHERE number <= ?", (number - MAX_ROWS,))

    def newest(self, limit: int) -> list[dict[str, Any]]:
        """The newest actions first."""
        names = ("number", "at_us", "who", "origin", "action", "about", "result")
        answered = ("number", "at_us", "user", "origin", "action", "subject", "result")
        with self._database.reading() as connection:
            rows = connection.execute(
                f"SELECT {', '.join(names)} FROM audit ORDER BY number DESC LIMIT ?",  # noqa: S608 - our own names
                (limit,),
            )
        return [dict(zip(answered, row, strict=True)) for row in rows]
