"""Incidents as rows: of new alerts and verdicts, what they touch is joined anew and written."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from pipeline.tools.triage.database import Connection, Row
from pipeline.tools.triage.joining import Document, addresses_of, documents_of, verdict_id

NEAR_US = 3_600_000_000
"""Alerts further apart than that are never joined."""
MAX_VALUES = 500
"""Values in one statement."""
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
        uid = storable(alert["finding_info"]["uid"])
        if uid not in newest or newest[uid]["metadata"]["sequence"] < alert["metadata"]["sequence"]:
            newest[uid] = alert
    known = pairs_in(connection, "SELECT uid, revision FROM alerts WHERE uid IN ({})", newest)
    new = {uid: alert for uid, alert in newest.items() if alert["metadata"]["sequence"] > known.get(uid, 0)}
    connection.execute_many(
        "INSERT INTO alerts (uid, revision, incident, event) VALUES (?, ?, ?, ?) ON CONFLICT (uid) "
        "DO UPDATE SET revision = excluded.revision, event = excluded.event",
        [(uid, alert["metadata"]["sequence"], uid, orjson.dumps(alert).decode()) for uid, alert in new.items()],
    )
    connection.execute_many("DELETE FROM alert_addresses WHERE uid = ?", [(uid,) for uid in new])
    connection.execute_many(
        "INSERT INTO alert_addresses (site, address, last_us, first_us, uid) VALUES (?, ?, ?, ?, ?)",
        [
            (storable(about["site"]), address, about["last_ts_us"], about["first_ts_us"], uid)
            for uid, alert in new.items()
            for about in [alert["unmapped"]]
            for address in dict.fromkeys(map(storable, addresses_of(alert)))
        ],
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


def _neighbourhood(connection: Connection, alerts: Iterable[Mapping[str, Any]]) -> set[str]:
    """The incidents that new alerts are part of, or may be joined with: those of an address and time of theirs.

    No incident outside can change: alerts join in pairs, and each pair outside was there before.
    """
    found: set[str] = set()
    for alert in alerts:
        about = alert["unmapped"]
        rows = select_in(
            connection, "SELECT incident FROM alerts WHERE uid IN ({})", [storable(alert["finding_info"]["uid"])]
        )
        for address in addresses_of(alert):
            rows += connection.execute(
                "SELECT DISTINCT alerts.incident FROM alert_addresses JOIN alerts ON alerts.uid = alert_addresses.uid "
                "WHERE site = ? AND address = ? AND last_us >= ? AND first_us <= ?",
                (
                    *(storable(about["site"]), storable(address)),
                    *(about["first_ts_us"] - NEAR_US, about["last_ts_us"] + NEAR_US),
                ),
            )
        found.update(str(row[0]) for row in rows)
    return found


def _rejoin(connection: Connection, incidents: set[str]) -> list[Change]:
    """Join the alerts of these incidents anew, and write what has changed."""
    rows = select_in(connection, "SELECT uid, event FROM alerts WHERE incident IN ({})", incidents)
    if not rows:
        return []
    records = select_in(connection, "SELECT record FROM verdicts WHERE uid IN ({})", (str(uid) for uid, _ in rows))
    made = documents_of([orjson.loads(event) for _, event in rows], [orjson.loads(row[0]) for row in records])
    before = pairs_in(connection, "SELECT uid, document FROM documents WHERE uid IN ({})", incidents)
    after = {storable(document["uid"]): document for document in made}
    gone = [uid for uid in incidents if uid not in after and uid in before]
    texts = {uid: orjson.dumps(document).decode() for uid, document in after.items()}
    changed = [uid for uid in after if before.get(uid) != texts[uid]]
    _remove(connection, [*gone, *changed])
    _insert(connection, {uid: after[uid] for uid in changed}, texts)
    connection.execute_many(
        "UPDATE alerts SET incident = ? WHERE uid = ?",
        [(uid, storable(member["uid"])) for uid in changed for member in after[uid]["members"]],
    )
    return [("incident", uid) for uid in [*gone, *changed]]


def _remove(connection: Connection, uids: Sequence[str]) -> None:
    for table, column in (("incidents", "uid"), ("documents", "uid"), ("words", "uid"), ("facets", "incident")):
        sql = f"DELETE FROM {table} WHERE {column} = ?"  # noqa: S608 - names of our own
        connection.execute_many(sql, [(uid,) for uid in uids])


def _insert(connection: Connection, documents: Mapping[str, Document], texts: Mapping[str, str]) -> None:
    connection.execute_many(
        "INSERT INTO incidents (uid, site, state, page, settled, suppressed, severity, flows, opened_us, first_us, "
        "last_us) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                *(uid, storable(each["site"]), each["state"], int(each["page"]), int(each["verdict"] is not None)),
                *(int(each["suppressed"] is not None), each["severity_id"], each["flows"], each["opened_us"]),
                *(each["first_us"], each["last_us"]),
            )
            for uid, each in documents.items()
        ],
    )
    connection.execute_many(
        "INSERT INTO documents (uid, document) VALUES (?, ?)", [(uid, texts[uid]) for uid in documents]
    )
    connection.execute_many(
        "INSERT INTO words (uid, words) VALUES (?, ?)", [(uid, _words(each)) for uid, each in documents.items()]
    )
    connection.execute_many(
        "INSERT INTO facets (kind, value, incident) VALUES (?, ?, ?)",
        [(kind, value, uid) for uid, each in documents.items() for kind, value in _facets(each)],
    )


def _facets(document: Document) -> set[tuple[str, str]]:
    """What an incident has several of, and is asked for by."""
    named = [each[key] for each in document["assets"] for key in ("address", "name") if each.get(key)]
    facets = {("asset", value) for value in [*document["sources"], *document["targets"], *named]}
    facets |= {("technique", technique["uid"]) for technique in document["techniques"]}
    facets |= {("sensor", sensor) for sensor in document["sensors"]}
    return {(kind, storable(str(value))) for kind, value in facets | {("class", document["class"])}}


def _words(document: Document) -> str:
    """Text that a search looks in, without a difference between large letters and small ones."""
    parts = [document["uid"], document["title"], document["says"], document["site"], *document["sensors"]]
    parts += [f"{technique['uid']} {technique['name']}" for technique in document["techniques"]]
    parts += [value for kind, value in sorted(_facets(document)) if kind == "asset"]
    return storable("\n".join(map(str, parts)).casefold())
