"""The page's store: a copy of the topics `alerts`, `feedback` and `baselines`, joined into incidents as it grows.

Where it stands in a topic is written in the transaction that writes what was read: after any end it resumes there, and
nothing comes twice. All of it can be made again from the topics.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from pipeline.contracts.incident_joining import is_alert
from pipeline.contracts.notices import Notice
from pipeline.contracts.verdicts import read_verdict
from pipeline.errors import BadData, Failed
from pipeline.tools.triage import incident_rows
from pipeline.tools.triage.database import Connection, Database
from pipeline.tools.triage.rows import storable
from pipeline.tools.triage.tables import SENSORS, copies_made, fact, prepare, set_fact

ALERTS, FEEDBACK, BASELINES = "alerts", "feedback", "baselines"
MAX_CHANGES = 10_000
"""Changes that a browser may catch up with after it was away; beyond that it reads the list again."""


@dataclass(frozen=True, slots=True)
class TopicMessage:
    """A message of one of the three topics, as read."""

    topic: str
    partition: int
    offset: int
    payload: bytes | None
    written_us: int


class Store:
    """What the page shows, and where in the topics it stands."""

    def __init__(self, database: Database, rebuild: bool = False) -> None:
        self.database = database
        prepare(database, rebuild)

    def rebuild(self) -> None:
        """Empty what was copied from topics: it is read again from their start."""
        prepare(self.database, rebuild=True)

    def copies_made(self) -> int:
        """How often what was copied from topics was emptied, by any server: positions are those of one copy."""
        with self.database.reading() as connection:
            return copies_made(connection)

    def positions(self, topic: str) -> dict[int, int]:
        """By partition, the offset to read next."""
        with self.database.reading() as connection:
            rows = connection.execute("SELECT number, next_offset FROM positions WHERE topic = ?", (topic,))
        return {int(number): int(offset) for number, offset in rows}

    def take(self, messages: Sequence[TopicMessage], copy: int | None = None) -> int:
        """Write what messages hold, and that they were read, in one transaction; the number that was malformed.

        Messages read before are left out, also by another server on the same database. Where another one has emptied
        the store since it was `copy`, Failed: written here, what lies before these messages would count as read.
        """
        with self.database.writing() as connection:
            if copy not in (None, copies_made(connection)):
                raise Failed("the page's store: got it emptied by another server, expected what was read before")
            new = _not_read(connection, messages)
            alerts, verdicts, notices, malformed = _parsed(new)
            changes = incident_rows.write(connection, alerts, verdicts)
            changes += _write_notices(connection, notices)
            _note_changes(connection, changes)
            _move_positions(connection, new)
        return malformed

    def take_alerts(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Write alerts of a file."""
        with self.database.writing() as connection:
            _note_changes(connection, incident_rows.write(connection, list(events), []))

    def take_verdict(self, record: Mapping[str, Any]) -> None:
        """Write a verdict at once; when it comes back from its topic, it is recognised."""
        with self.database.writing() as connection:
            _note_changes(connection, incident_rows.write(connection, [], [record]))


def _not_read(connection: Connection, messages: Sequence[TopicMessage]) -> list[TopicMessage]:
    rows = connection.execute("SELECT topic, number, next_offset FROM positions")
    at = {(topic, number): offset for topic, number, offset in rows}
    return [each for each in messages if each.offset >= at.get((each.topic, each.partition), 0)]


def _move_positions(connection: Connection, messages: Iterable[TopicMessage]) -> None:
    reached: dict[tuple[str, int], int] = {}
    for each in messages:
        key = each.topic, each.partition
        reached[key] = max(reached.get(key, 0), each.offset + 1)
    connection.execute_many(
        "INSERT INTO positions (topic, number, next_offset) VALUES (?, ?, ?) "
        "ON CONFLICT (topic, number) DO UPDATE SET next_offset = excluded.next_offset",
        [(*key, offset) for key, offset in reached.items()],
    )


def alert_of(payload: bytes) -> dict[str, Any] | None:
    """An alert of ours; None where somebody else wrote."""
    try:
        alert: dict[str, Any] = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return None
    return alert if is_alert(alert) else None


Parsed = tuple[list[Mapping[str, Any]], list[Mapping[str, Any]], list[tuple[Notice, TopicMessage]], int]


def _parsed(messages: Iterable[TopicMessage]) -> Parsed:
    """Alerts, verdicts and notices of messages, and how many are none of them."""
    alerts: list[Mapping[str, Any]] = []
    verdicts: list[Mapping[str, Any]] = []
    notices: list[tuple[Notice, TopicMessage]] = []
    malformed = 0
    for message in messages:
        if message.payload is None:
            continue
        try:
            if message.topic == ALERTS:
                alert = alert_of(message.payload)
                if alert is None:
                    raise BadData("no alert")
                alerts.append(alert)
            elif message.topic == FEEDBACK:
                verdicts.append(read_verdict(message.payload))
            else:
                notices.append((Notice.of(orjson.loads(message.payload)), message))
        except (BadData, orjson.JSONDecodeError):
            malformed += 1
    return alerts, verdicts, notices, malformed


def _write_notices(connection: Connection, notices: Sequence[tuple[Notice, TopicMessage]]) -> list[tuple[str, str]]:
    connection.execute_many(
        "INSERT INTO notices (name, site, sensor, number, at_us, partition_number, message_offset, written_us, "
        "notice) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET number = excluded.number, "
        "at_us = excluded.at_us, message_offset = excluded.message_offset, written_us = excluded.written_us, "
        "notice = excluded.notice",
        [
            (
                *map(storable, (notice.key, notice.site, notice.sensor)),
                *(notice.number, notice.at_us, message.partition, message.offset, message.written_us),
                orjson.dumps(notice.document()).decode(),
            )
            for notice, message in notices
        ],
    )
    return [(SENSORS, name) for name in dict.fromkeys(f"{notice.site}/{notice.sensor}" for notice, _ in notices)]


def _note_changes(connection: Connection, changes: Sequence[tuple[str, str]]) -> None:
    """Give each change a position; the oldest ones are deleted."""
    if not changes:
        return
    last = int(fact(connection, "last change") or 0)
    once = list(dict.fromkeys(changes))[-MAX_CHANGES:]
    connection.execute_many(
        "INSERT INTO changes (position, kind, name) VALUES (?, ?, ?)",
        [(last + 1 + at, kind, storable(name)) for at, (kind, name) in enumerate(once)],
    )
    last += len(once)
    set_fact(connection, "last change", str(last))
    connection.execute("DELETE FROM changes WHERE position <= ?", (last - MAX_CHANGES,))
