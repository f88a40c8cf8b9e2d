"""Incidents as rows: of new alerts and verdicts, what they touch is joined anew and written."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from pipeline.contracts.incident_joining import JoinedIncident, joined, uid_of
from pipeline.tools.alerts.incidents import Document, document
from pipeline.tools.triage.database import Connection
from pipeline.tools.triage.joining import keys_of
from pipeline.tools.triage.rows import pairs_in, select_in, storable
from pipeline.tools.triage.scope_keys import scope_keys
from pipeline.tools.triage.tables import INCIDENT, VERDICT
from pipeline.tools.triage.verdict_rows import judge_anew, rules_of, write_verdicts

MAX_ADDRESSES = 512
"""Addresses by which one incident is found."""
Change = tuple[str, str]


def write(
    connection: Connection, alerts: Sequence[Mapping[str, Any]], verdicts: Sequence[Mapping[str, Any]]
) -> list[Change]:
    """Write alerts and verdicts, and the incidents that they change; what has changed, for those who watch."""
    touched = _write_alerts(connection, alerts)
    new = write_verdicts(connection, verdicts)
    changed = _rejoin(connection, _neighbourhood(connection, touched))
    changed += [(INCIDENT, uid) for uid in judge_anew(connection, new)]
    return [*dict.fromkeys(changed), *((VERDICT, each["id"]) for each in new)]


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
    made = {storable(each.uid): each for each in joined(orjson.loads(event) for *_, event in rows)}
    rules = rules_of(connection, {storable(each.site) for each in made.values()})
    documents = {uid: document(each, rules) for uid, each in made.items()}
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
    return [(INCIDENT, uid) for uid in [*gone, *changed]]


def _remove(connection: Connection, uids: Sequence[str]) -> None:
    of_tables = (("incidents", "uid"), ("documents", "uid"), ("facets", "incident"), ("scope_keys", "incident"))
    for table, column in of_tables:
        sql = f"DELETE FROM {table} WHERE {column} = ?"  # noqa: S608 - names of our own
        connection.execute_many(sql, [(uid,) for uid in uids])


Written = tuple[str, Document, str, JoinedIncident]
"""An incident to be written: its uid, its document, that as text, and what it was made of."""


def _insert(connection: Connection, incidents: Sequence[Written]) -> None:
    connection.execute_many(
        "INSERT INTO incidents (uid, site, state, page, settled, suppressed, severity, flows, opened_us, first_us, "
        "last_us, kind, words) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                *(uid, storable(each["site"]), each["state"], int(each["page"]), int(each["settled"])),
                *(int(each["suppressed"] is not None), each["severity_id"], each["flows"], each["opened_us"]),
                *(each["first_us"], each["last_us"], each["kind"], _words(each, of)),
            )
            for uid, each, _, of in incidents
        ],
    )
    connection.execute_many(
        "INSERT INTO documents (uid, document) VALUES (?, ?)", [(uid, text) for uid, _, text, _ in incidents]
    )
    connection.execute_many(
        "INSERT INTO facets (kind, value, incident) VALUES (?, ?, ?)",
        [(kind, value, uid) for uid, each, _, of in incidents for kind, value in sorted(_facets(each, of))],
    )
    connection.execute_many(
        "INSERT INTO scope_keys (value, first_us, incident) VALUES (?, ?, ?)",
        [(key, each["first_us"], uid) for uid, each, *_ in incidents for key in sorted(scope_keys(each))],
    )


def _addresses(of: JoinedIncident) -> list[str]:
    """The addresses that an incident is found by."""
    return [address for ends in of.ends for address in ends][:MAX_ADDRESSES]


def _facets(document: Document, of: JoinedIncident) -> set[tuple[str, str]]:
    """What an incident has several of, and is asked for by."""
    facets = {("asset", address) for address in _addresses(of)}
    facets |= {("technique", technique["uid"]) for technique in document["techniques"]}
    facets |= {("model", str(alert["unmapped"].get("model", ""))) for alert in of.alerts} - {("model", "")}
    facets |= {("sensor", sensor) for sensor in document["sensors"]}
    return {(kind, storable(str(value))) for kind, value in facets | {("class", document["class"])}}


def _words(document: Document, of: JoinedIncident) -> str:
    """Text that a search looks in, without a difference between large letters and small ones."""
    parts = [*of.uids[:MAX_ADDRESSES], document["title"], document["says"], document["site"], *document["sensors"]]
    parts += [f"{technique['uid']} {technique['name']}" for technique in document["techniques"]]
    return storable("\n".join(map(str, [*parts, *_addresses(of)])).casefold())
