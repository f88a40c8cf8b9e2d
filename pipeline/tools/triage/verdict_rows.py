"""Verdicts as rows, and what they change: what the documents of their sites' incidents say of verdicts."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from pipeline.contracts.suppression import Suppressions
from pipeline.contracts.verdicts import Record, order, standing
from pipeline.tools.alerts.incidents import judged
from pipeline.tools.triage.database import Connection
from pipeline.tools.triage.rows import select_in, storable

FIRST_US = -(2**62)


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
    """Say anew what verdicts make of the incidents that new ones can change; the uids of those that changed.

    That are those of the site from the first one's time on, and those on which a verdict is.
    """
    sites: dict[str, int] = {}
    for each in verdicts:
        site = storable(each["site"] or "")
        reaches_us = each["from_us"] if each["from_us"] is not None else FIRST_US
        sites[site] = min(sites.get(site, reaches_us), reaches_us)
    changed = []
    rules = rules_of(connection, sites)
    for site, from_us in sites.items():
        sql = "SELECT uid, document FROM documents JOIN incidents USING (uid) WHERE site = ? AND first_us >= ?"
        for uid, text in connection.execute(sql, (site, from_us)):
            now = judged(orjson.loads(text), rules)
            after = orjson.dumps(now).decode()
            if after != text:
                changed.append((int(now["settled"]), int(now["suppressed"] is not None), after, str(uid)))
    connection.execute_many(
        "UPDATE incidents SET settled = ?, suppressed = ? WHERE uid = ?", [(*each[:2], each[3]) for each in changed]
    )
    connection.execute_many("UPDATE documents SET document = ? WHERE uid = ?", [each[2:] for each in changed])
    return [each[3] for each in changed]
