"""Incidents as rows: of new alerts and verdicts, what they touch is joined anew and written."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from pipeline.contracts.incident_joining import JoinedIncident, joined, uid_of
from pipeline.tools.alerts.incidents import Document, document
from pipeline.tools.triage.database import Connection, Row
from pipeline.tools.triage.joining import keys_of, verdict_id

MAX_VALUES = 500
"""Values in one statement."""
MAX_ADDRESSES = 512
"""Addresses by which one incident is found."""
Change = tuple[str, str]


def storable(text: str) -> str:
    """Text as PostgreSQL takes it, which has no room for the character NUL."""
    return text.replace("\x00", "\\x00")


def select_in(connection: Connection, sql: str, values: Iterable[str]) -> list[Row]:
    """The rows of a statement with `IN ({})`, for any number of values."""
    listed, rows = list(values), []
    for start in range(0, len(listed), MAX_VALUES):
        part = listed[start : start + MAX_VALUES]
        rows += connection.execute(sql.format(", ".join("?" * len(part))), part)
    return rows


def pairs_in(connection: Connection, sql: str, values: Iterable[str]) -> dict[str, Any]:
    """The same as a dictionary, of a statement that asks for two columns."""
    return {str(key): value for key, value in select_in(connection, sql, values)}


def write(
    connection: Connection, alerts: Sequence[Mapping[str, Any]], verdicts: Sequence[Mapping[str, Any]]
) -> list[Change]:
    """Write alerts and verdicts, and the incidents that they change; what has changed, for those who watch."""
    touched = _write_alerts(connection, alerts)
    new = _write_verdicts(connection, verdicts)
    of_verdicts = select_in(
        connection, "SELECT incident FROM alerts WHERE uid IN ({})", (str(each["uid"]) for each in new)
    )
    incidents = _neighbourhood(connection, touched) | {str(row[0]) for row in of_verdicts}
    return [*_rejoin(connection, incidents), *(("verdict", verdict_id(each)) for each in new)]


def _write_alerts(connection: Connection, alerts: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Write alerts that are newer than what is there; those, each once."""
    newest: dict[str, Mapping[str, Any]] = {}
    for alert in alerts:
        uid = storable(uid_of(alert))
        if uid not in newest or newest[uid]["metadata"]["sequence"] < alert["metadata"]["sequence"]:
            newest[uid] = alert
    known = pairs_in(connection, "SELECT uid, revision FROM alerts WHERE uid IN ({})", newest)
    new = {uid: alert for uid, alert in newest.items() if alert["metadata"]["sequence"] > known.get(uid, 0)}
    connection.execute_many(
        "INSERT INTO alerts (uid, revision, incident, event) VALUES (?, ?, ?, ?) ON CONFLICT (uid) "
        "DO UPDATE SET revision = excluded.revision, event = excluded.event",
        [(uid, alert["metadata"]["sequence"], uid, orjson.dumps(alert).decode()) for uid, alert in new.items()],
    )
    connection.execute_many("DELETE FROM alert_keys WHERE uid = ?", [(uid,) for uid in new])
    connection.execute_many(
        "INSERT INTO alert_keys (value, uid) VALUES (?, ?)",
        [(key, uid) for uid, alert in new.items() for key in sorted(keys_of(alert))],
    )
    return list(new.values())


def _write_verdicts(connection: Connection, verdicts: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Write verdicts that are not there yet; those."""
    by_id = {verdict_id(each): each for each in verdicts}
    known = {row[0] for row in select_in(connection, "SELECT id FROM verdicts WHERE id IN ({})", by_id)}
    new = {name: each for name, each in by_id.items() if name not in known}
    connection.execute_many(
        "INSERT INTO verdicts (id, uid, site, at_us, record) VALUES (?, ?, ?, ?, ?)",
        [
            (name, storable(each["uid"]), storable(each["site"]), each["at_us"], orjson.dumps(each).decode())
            for name, each in new.items()
        ],
    )
    return list(new.values())


def _neighbourhood(connection: Connection, alerts: Sequence[Mapping[str, Any]]) -> set[str]:
    """The incidents that new alerts are part of, or may be joined with: those of a key of theirs.

    No other incident can change: every rule takes alerts of one key together, and what it joined before is an incident.
    """
    keys = {key for alert in alerts for key in keys_of(alert)}
    of_keys = "SELECT incident FROM alert_keys JOIN alerts USING (uid) WHERE value IN ({})"
    rows = select_in(connection, of_keys, sorted(keys))
    uids = [storable(uid_of(alert)) for alert in alerts]
    rows += select_in(connection, "SELECT incident FROM alerts WHERE uid IN ({})", uids)
    return {str(row[0]) for row in rows}


def _rejoin(connection: Connection, incidents: set[str]) -> list[Change]:
    """Join the alerts of these incidents anew, and write what has changed."""
    rows = select_in(connection, "SELECT uid, incident, event FROM alerts WHERE incident IN ({})", incidents)
    if not rows:
        return []
    verdicts = records_on(connection, [str(uid) for uid, *_ in rows])
    made = {storable(each.uid): each for each in joined(orjson.loads(event) for *_, event in rows)}
    documents = {uid: document(each, verdicts) for uid, each in made.items()}
    before = pairs_in(connection, "SELECT uid, document FROM documents WHERE uid IN ({})", incidents)
    texts = {uid: orjson.dumps(each).decode() for uid, each in documents.items()}
    gone = [uid for uid in before if uid not in made]
    changed = [uid for uid in made if before.get(uid) != texts[uid]]
    _remove(connection, [*gone, *changed])
    _insert(connection, [(uid, documents[uid], texts[uid], made[uid]) for uid in changed])
    was = {str(uid): str(incident) for uid, incident, _ in rows}
    now = {storable(member): uid for uid, each in made.items() for member in each.uids}
    connection.execute_many(
        "UPDATE alerts SET incident = ? WHERE uid = ?",
        [(incident, uid) for uid, incident in now.items() if was[uid] != incident],
    )
    return [("incident", uid) for uid in [*gone, *changed]]


def records_on(connection: Connection, uids: Sequence[str]) -> list[dict[str, Any]]:
    """Verdicts on these alerts, oldest first."""
    rows = select_in(connection, "SELECT record FROM verdicts WHERE uid IN ({})", uids)
    return sorted((orjson.loads(row[0]) for row in rows), key=lambda each: (each["at_us"], verdict_id(each)))


def _remove(connection: Connection, uids: Sequence[str]) -> None:
    for table, column in (("incidents", "uid"), ("documents", "uid"), ("words", "uid"), ("facets", "incident")):
        sql = f"DELETE FROM {table} WHERE {column} = ?"  # noqa: S608 - names of our own
        connection.execute_many(sql, [(uid,) for uid in uids])


Written = tuple[str, Document, str, JoinedIncident]
"""An incident to be written: its uid, its document, that as text, and what it was made of."""


def _insert(connection: Connection, incidents: Sequence[Written]) -> None:
    connection.execute_many(
        "INSERT INTO incidents (uid, site, state, page, settled, suppressed, severity, flows, opened_us, first_us, "
        "last_us) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                *(uid, storable(each["site"]), each["state"], int(each["page"]), int(each["verdict"] is not None)),
                *(int(each["suppressed"] is not None), each["severity_id"], each["flows"], each["opened_us"]),
                *(each["first_us"], each["last_us"]),
            )
            for uid, each, *_ in incidents
        ],
    )
    connection.execute_many(
        "INSERT INTO documents (uid, document) VALUES (?, ?)", [(uid, text) for uid, _, text, _ in incidents]
    )
    connection.execute_many(
        "INSERT INTO words (uid, words) VALUES (?, ?)", [(uid, _words(each, of)) for uid, each, _, of in incidents]
    )
    connection.execute_many(
        "INSERT INTO facets (kind, value, incident) VALUES (?, ?, ?)",
        [(kind, value, uid) for uid, each, _, of in incidents for kind, value in sorted(_facets(each, of))],
    )


def _addresses(of: JoinedIncident) -> list[str]:
    """The addresses that an incident is found by."""
    return [address for ends in of.ends for address in ends][:MAX_ADDRESSES]


def _facets(document: Document, of: JoinedIncident) -> set[tuple[str, str]]:
    """What an incident has several of, and is asked for by."""
    facets = {("asset", address) for address in _addresses(of)}
    facets |= {("technique", technique["uid"]) for technique in document["techniques"]}
    facets |= {("sensor", sensor) for sensor in document["sensors"]}
    return {(kind, storable(str(value))) for kind, value in facets | {("class", document["class"])}}


def _words(document: Document, of: JoinedIncident) -> str:
    """Text that a search looks in, without a difference between large letters and small ones."""
    parts = [*of.uids[:MAX_ADDRESSES], document["title"], document["says"], document["site"], *document["sensors"]]
    parts += [f"{technique['uid']} {technique['name']}" for technique in document["techniques"]]
    return storable("\n".join(map(str, [*parts, *_addresses(of)])).casefold())
