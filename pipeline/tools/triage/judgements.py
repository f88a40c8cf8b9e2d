"""Verdicts that people give on the page: what one would do is said before, and it is sent as the CLI sends it."""

import threading
import time
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import orjson
from fastapi import Depends, Request
from fastapi import Path as InPath
from pydantic import BaseModel, ConfigDict, Field

from pipeline.contracts.incident_joining import JoinedIncident, joined
from pipeline.contracts.verdicts import Record, shown
from pipeline.tools.alerts import verdicts as making
from pipeline.tools.alerts.baseline_requests import asked_of_baselines, overruled_by
from pipeline.tools.alerts.incidents import INCIDENT, Document
from pipeline.tools.alerts.verdict_effects import effect, listed_verdicts
from pipeline.tools.sensors import commands
from pipeline.tools.triage.accounts import ANALYST, VIEWER
from pipeline.tools.triage.asking import changing, having, origin_of, page_of
from pipeline.tools.triage.database import Connection
from pipeline.tools.triage.incident_list import NotThere, incident_named
from pipeline.tools.triage.page import Page
from pipeline.tools.triage.rows import select_in, storable
from pipeline.tools.triage.sessions import Session
from pipeline.tools.triage.verdict_rows import incidents_in_reach

Asked = Annotated[Page, Depends(page_of)]
Analyst = Annotated[Session, Depends(changing(ANALYST))]
Uid = Annotated[str, InPath(min_length=4, max_length=64, pattern=r"^[0-9A-Za-z-]+$")]
MAX_SECONDS = 2**40
_one_at_a_time = threading.Lock()
"""Of verdicts that are given: two at once on one incident are one after the other, the later sees the earlier."""


class Judgement(BaseModel):
    """A verdict as it is asked for; scope: what it suppresses beside the incident, expires_s: for how long."""

    model_config = ConfigDict(extra="forbid")

    verdict: str = Field(max_length=40)
    scope: dict[str, Any] | None = None
    expires_s: int | None = Field(default=None, ge=1, le=MAX_SECONDS)
    note: str = Field(default="", max_length=making.MAX_NOTE)


class Undoing(BaseModel):
    """Why a verdict is taken back."""

    model_config = ConfigDict(extra="forbid")

    note: str = Field(default="", max_length=making.MAX_NOTE)


def preview(page: Asked, asker: Annotated[Session, Depends(changing(VIEWER))], uid: Uid, asked: Judgement) -> Any:
    """What a verdict would do: a sentence, and how many incidents it would suppress."""
    with page.store.database.reading() as connection:
        incident, document = _incident(connection, uid)
        record = _record(incident, document, asked, asker)
        records, of = _records(connection, incident.site), _incidents_of(connection, incident.site)
        does = effect(record, _documents_in_reach(connection, record), records, of)
    return {"says": does["says"], "matches": len(does["matches"]), "released": len(does["released"])}


def give(page: Asked, request: Request, asker: Analyst, uid: Uid, asked: Judgement) -> Any:
    """Give a verdict on an incident."""
    with _one_at_a_time:
        with page.store.database.reading() as connection:
            incident, document = _incident(connection, uid)
            records = _records(connection, incident.site)
        record = _record(incident, document, asked, asker)
        says = _carried_out(page, record, records, incident)
    page.audit.note(asker.account.name, origin_of(request), f"verdict {asked.verdict}", incident.uid, record["id"])
    return {"verdict": shown(record), "says": says}


def undo(page: Asked, request: Request, asker: Analyst, name: Uid, asked: Undoing) -> Any:
    """Take a verdict back."""
    with _one_at_a_time:
        with page.store.database.reading() as connection:
            rows = connection.execute("SELECT site FROM verdicts WHERE id = ?", (name,))
            if not rows:
                raise NotThere(f"verdict {name}: got none, expected the id of one; the incident's page lists them")
            records = _records(connection, str(rows[0][0]))
        _, record = making.undo_of(records, name, asker.account.name, _now_us(), asked.note)
        says = _carried_out(page, record, records, None)
    page.audit.note(asker.account.name, origin_of(request), "undo verdict", name, record["id"])
    return {"verdict": record, "says": says}


def listed(
    page: Asked, _asker: Annotated[Session, Depends(having(VIEWER))], active: Literal["yes", "no"] | None = None
) -> Any:
    """All verdicts, or those that hold now, newest first."""
    with page.store.database.reading() as connection:
        records = [orjson.loads(row[0]) for row in connection.execute("SELECT record FROM verdicts")]
        suppressed = connection.execute(
            "SELECT document FROM documents JOIN incidents USING (uid) WHERE suppressed = 1"
        )
    answer = listed_verdicts(records, [orjson.loads(row[0]) for row in suppressed], _now_us())
    if active is not None:
        answer["verdicts"] = [each for each in answer["verdicts"] if (each["state"] == "active") == (active == "yes")]
    return answer


def _now_us() -> int:
    return time.time_ns() // 1000


def _incident(connection: Connection, name: str) -> tuple[JoinedIncident, Document]:
    """An incident, by any of its alerts' uids, and its document."""
    uid = incident_named(connection, name)
    rows = connection.execute("SELECT event FROM alerts WHERE incident = ?", (uid,))
    document: Document = orjson.loads(connection.execute("SELECT document FROM documents WHERE uid = ?", (uid,))[0][0])
    return joined(orjson.loads(row[0]) for row in rows)[0], document


def _documents_in_reach(connection: Connection, record: Record) -> list[Document]:
    """The incidents of which a verdict can change anything, the one that went on last first."""
    uids = sorted(incidents_in_reach(connection, [record]))
    rows = select_in(connection, "SELECT document FROM documents WHERE uid IN ({})", uids)
    return sorted((orjson.loads(row[0]) for row in rows), key=lambda each: (-each["last_us"], each["uid"]))


def _incidents_of(connection: Connection, site: str) -> int:
    sql = "SELECT COUNT(*) FROM incidents WHERE site = ? AND kind = ?"
    return int(connection.execute(sql, (storable(site), INCIDENT))[0][0])


def _records(connection: Connection, site: str) -> list[Record]:
    rows = connection.execute("SELECT record FROM verdicts WHERE site = ?", (storable(site),))
    return [orjson.loads(row[0]) for row in rows]


def _record(incident: JoinedIncident, document: Document, asked: Judgement, asker: Session) -> Record:
    return making.verdict_of(
        document,
        incident.alerts,
        asked.verdict,
        asker.account.name,
        _now_us(),
        asked.note,
        asked.scope,
        asked.expires_s,
    )


def _carried_out(page: Page, record: Record, records: Sequence[Record], incident: JoinedIncident | None) -> list[str]:
    """Send a verdict, ask its sensors' baselines for what it asks of them, and keep it; what was said of that.

    Without Kafka, on alerts of files, it is kept here alone.
    """
    says: list[str] = []
    if page.settings is not None:
        asked, says = asked_of_baselines(page.settings, record, overruled_by(record, records), incident)
        making.send(page.settings, record)
        for history, command in asked:
            commands.send(page.settings, history, command)
    page.store.take_verdict(record)
    return says
