"""Verdicts as rows, and what they change: what the documents of their sites' incidents say of verdicts."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from pipeline.contracts.suppression import Suppressions
from pipeline.contracts.verdicts import Record, order, standing
from pipeline.tools.alerts.incidents import judged
from pipeline.tools.triage.database import Connection
from pipeline.tools.triage.rows import select_in, storable
from pipeline.tools.triage.scope_keys import span_us, verdict_keys


def write_verdicts(connection: Connection, verdicts: Sequence[Mapping[str, Any]]) -> list[Record]:
    """Write verdicts that are not there yet; those."""
    by_id = {str(each["id"]): dict(each) for each in verdicts}
    known = {row[0] for row in select_in(connection, "SELECT id FROM verdicts WHERE id IN ({})", by_id)}
    new = {name: each for name, each in by_id.items() if name not in known}
    connection.execute_many(
        "INSERT INTO verdicts (id, site, at_us, record) VALUES (?, ?, ?, ?)",
        [
            (name, storable(each["site"] or ""), each["at_us"], orjson.dumps(each).decode())
            for name, each in new.items()
        ],
    )
    connection.execute_many(
        "INSERT INTO verdict_uids (uid, id) VALUES (?, ?)",
        [(storable(uid), name) for name, each in new.items() for uid in each["uids"]],
    )
    return list(new.values())


def records_on(connection: Connection, uids: Iterable[str]) -> list[Record]:
    """Verdicts on these alerts and what undoes them, oldest first."""
    sql = "SELECT DISTINCT id, record FROM verdicts JOIN verdict_uids USING (id) WHERE uid IN ({})"
    records = {str(name): orjson.loads(record) for name, record in select_in(connection, sql, uids)}
    return sorted(records.values(), key=order)


def rules_of(connection: Connection, sites: Iterable[str]) -> Suppressions:
    """All that verdicts say of the incidents of sites."""
    rows = select_in(connection, "SELECT record FROM verdicts WHERE site IN ({})", sites)
    return Suppressions(standing(orjson.loads(row[0]) for row in rows))


def judge_anew(connection: Connection, verdicts: Sequence[Record]) -> list[str]:
    """Say anew what verdicts make of the incidents that new ones can change; the uids of those that changed."""
    uids = incidents_in_reach(connection, verdicts)
    rules = rules_of(connection, {storable(each["site"] or "") for each in verdicts})
    changed = []
    for uid, text in select_in(connection, "SELECT uid, document FROM documents WHERE uid IN ({})", sorted(uids)):
        now = judged(orjson.loads(text), rules)
        after = orjson.dumps(now).decode()
        if after != text:
            changed.append((int(now["settled"]), int(now["suppressed"] is not None), after, str(uid)))
    connection.execute_many(
        "UPDATE incidents SET settled = ?, suppressed = ? WHERE uid = ?", [(*each[:2], each[3]) for each in changed]
    )
    connection.execute_many("UPDATE documents SET document = ? WHERE uid = ?", [each[2:] for each in changed])
    return [each[3] for each in changed]


def incidents_in_reach(connection: Connection, verdicts: Sequence[Record]) -> set[str]:
    """The incidents of which verdicts, written or not, can change anything.

    That are those of the alerts that were judged, and those in the scope of these verdicts, of the ones that they take
    back, and of earlier ones on the same alerts, which they overrule or make hold again.
    """
    undone = sorted({each["undoes"] for each in verdicts if each["undoes"] is not None})
    rows = select_in(connection, "SELECT record FROM verdicts WHERE id IN ({})", undone)
    named = [*verdicts, *(orjson.loads(row[0]) for row in rows)]
    uids = sorted({storable(uid) for each in named for uid in each["uids"]})
    speaking = {each["id"]: each for each in (*named, *records_on(connection, uids)) if each["undoes"] is None}
    sites = {storable(each["site"] or "") for each in verdicts}
    of_alerts = "SELECT DISTINCT incidents.uid, site FROM alerts JOIN incidents ON incidents.uid = incident "
    own = select_in(connection, of_alerts + "WHERE alerts.uid IN ({})", uids)
    reached = {str(uid) for uid, site in own if site in sites}
    of_scope = "SELECT incident FROM scope_keys WHERE first_us >= ? AND first_us < ? AND value IN ({})"
    for each in speaking.values():
        reached |= {str(row[0]) for row in select_in(connection, of_scope, sorted(verdict_keys(each)), span_us(each))}
    return reached
