"""One incident in full: its alerts, verdicts, what happened when, and incidents like it."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from pipeline.contracts.incident_joining import joined
from pipeline.tools.alerts.incidents import Document
from pipeline.tools.triage.database import Connection, Database
from pipeline.tools.triage.incident_list import incident_named
from pipeline.tools.triage.rows import pairs_in
from pipeline.tools.triage.verdict_rows import records_on

MAX_SIMILAR = 5
MAX_ALERTS = 200
"""Of a campaign of more alerts the first ones are answered."""


def incident_in_full(database: Database, name: str) -> dict[str, Any]:
    """The answer on one incident; NotThere where no incident, or several, have that name."""
    with database.reading() as connection:
        uid = incident_named(connection, name)
        document: Document = orjson.loads(
            connection.execute("SELECT document FROM documents WHERE uid = ?", (uid,))[0][0]
        )
        rows = connection.execute("SELECT uid, event FROM alerts WHERE incident = ?", (uid,))
        events = [orjson.loads(event) for _, event in rows]
        alerts = list(joined(events)[0].alerts)
        verdicts = records_on(connection, [str(row[0]) for row in rows])
        similar = _similar(connection, uid, document)
    return {
        "incident": document,
        "alerts": alerts[:MAX_ALERTS],
        "verdicts": verdicts,
        "similar": similar,
        "timeline": timeline(document, alerts[:MAX_ALERTS], verdicts),
    }


def _similar(connection: Connection, uid: str, document: Document) -> list[Document]:
    """Earlier incidents of the site that share most of addresses, techniques and class with it, newest first among
    equals.
    """
    rows = connection.execute(
        "SELECT incidents.uid FROM facets AS ours JOIN facets AS theirs "
        "ON theirs.kind = ours.kind AND theirs.value = ours.value JOIN incidents ON incidents.uid = theirs.incident "
        "WHERE ours.incident = ? AND ours.kind <> 'sensor' AND incidents.uid <> ? AND incidents.site = ? "
        "AND incidents.first_us <= ? GROUP BY incidents.uid, incidents.last_us "
        "ORDER BY COUNT(*) DESC, incidents.last_us DESC, incidents.uid LIMIT ?",
        (uid, uid, document["site"], document["first_us"], MAX_SIMILAR),
    )
    order = [str(row[0]) for row in rows]
    documents = pairs_in(connection, "SELECT uid, document FROM documents WHERE uid IN ({})", order)
    return [orjson.loads(documents[each]) for each in order]


def timeline(
    document: Document, alerts: Sequence[Mapping[str, Any]], verdicts: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """What happened when, in order of time: flows, alerts, verdicts."""
    events: list[dict[str, Any]] = [{"at_us": document["first_us"], "what": "first flow"}]
    for alert in alerts:
        about = alert["unmapped"]
        events.append({"at_us": about["opened_ts_us"], "what": f"alert opened at sensor {about['sensor']}"})
    events.append({"at_us": document["last_us"], "what": "last flow"})
    if document["state"] == "ended":
        events.append({"at_us": document["last_us"], "what": "ended"})
    events += [{"at_us": verdict["at_us"], "what": _judged(verdict), "by": verdict["by"]} for verdict in verdicts]
    return sorted(events, key=lambda event: int(event["at_us"]))


def _judged(verdict: Mapping[str, Any]) -> str:
    return f"judged {verdict['verdict']}" if verdict["undoes"] is None else "a verdict taken back"
