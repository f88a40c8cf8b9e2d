"""What changes in the store, as it changes: read once for all who watch, and sent to each from where they are."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

import orjson
from starlette.concurrency import run_in_threadpool

from pipeline.tools.triage.database import Connection, Database, Unavailable
from pipeline.tools.triage.rows import pairs_in
from pipeline.tools.triage.tables import INCIDENT, SENSORS, VERDICT, fact

POLL_S = 0.3
MAX_AT_ONCE = 200
MAX_WATCHERS = 200
RELOAD = "reload"
"""Beside the kinds of changes: the list is to be read again."""


class Change(NamedTuple):
    """A change: its position in the store, what it is, and what it is now."""

    position: int
    kind: str
    data: dict[str, Any]


def last_position(database: Database) -> int:
    """The position of the last change."""
    with database.reading() as connection:
        return int(fact(connection, "last change") or 0)


def changes_after(database: Database, position: int) -> list[Change]:
    """The next changes, at most 200; RELOAD alone where those right after `position` were deleted or never were.

    Of an incident that changed twice, both are as it is now.
    """
    with database.reading() as connection:
        last = int(fact(connection, "last change") or 0)
        rows = connection.execute(
            "SELECT position, kind, name FROM changes WHERE position > ? ORDER BY position LIMIT ?",
            (position, MAX_AT_ONCE),
        )
        if position > last or (position < last and (not rows or rows[0][0] != position + 1)):
            return [Change(last, RELOAD, {})]
        return _with_data(connection, rows)


def _with_data(connection: Connection, rows: Sequence[tuple[Any, ...]]) -> list[Change]:
    names: dict[str, list[str]] = {INCIDENT: [], VERDICT: [], SENSORS: []}
    for _, kind, name in rows:
        names[kind].append(name)
    incidents = pairs_in(
        connection, "SELECT uid, document FROM documents WHERE uid IN ({})", dict.fromkeys(names[INCIDENT])
    )
    verdicts = pairs_in(connection, "SELECT id, record FROM verdicts WHERE id IN ({})", dict.fromkeys(names[VERDICT]))
    made = []
    for position, kind, name in rows:
        if kind == INCIDENT:
            document = incidents.get(name)
            data = {"uid": name, "document": orjson.loads(document) if document is not None else None}
        elif kind == VERDICT:
            data = {"id": name, "verdict": orjson.loads(verdicts[name]) if name in verdicts else None}
        else:
            data = {"sensor": name}
        made.append(Change(int(position), kind, data))
    return made


class Live:
    """Wakes those who watch when the store changes. One query every 0.3 s, and none while nobody watches."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._changed = asyncio.Condition()
        self._last = -1
        self._watchers = 0
        self._task: asyncio.Task[None] | None = None
        self.closing = False

    @property
    def is_full(self) -> bool:
        """Whether as many watch as may."""
        return self._watchers >= MAX_WATCHERS

    async def changes(self, after: int | None) -> AsyncIterator[list[Change]]:
        """Changes after a position, or from now on; an empty list every few seconds in which nothing changes."""
        self._watchers += 1
        if self._task is None:
            self._task = asyncio.create_task(self._poll())
        try:
            position = after if after is not None else await run_in_threadpool(last_position, self._database)
            while not self.closing:
                try:
                    came = await run_in_threadpool(changes_after, self._database, position)
                except Unavailable:
                    came = []
                if came:
                    position = came[-1].position
                yield came
                if not came:
                    await self._wait(position)
        finally:
            self._watchers -= 1

    async def _wait(self, position: int) -> None:
        async with self._changed:
            try:
                async with asyncio.timeout(5.0):
                    await self._changed.wait_for(lambda: self.closing or self._last != position)
            except TimeoutError:
                return

    async def _poll(self) -> None:
        while self._watchers and not self.closing:
            try:
                self._last = await run_in_threadpool(last_position, self._database)
            except Unavailable:
                self._last = -1
            async with self._changed:
                self._changed.notify_all()
            await asyncio.sleep(POLL_S)
        self._task = None

    async def close(self) -> None:
        """End what is sent to those who watch."""
        self.closing = True
        async with self._changed:
            self._changed.notify_all()
