"""What analysts said of incidents, as labels of a comparison: of the flows that were judged, and of the incidents.

Of two verdicts on an incident the later one counts, as in retraining. A true positive confirms it; a false positive
or benign one says that it should not have been raised; a test, duplicate or maintenance says neither, and takes back
what was said, as undoing does.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from pipeline.contracts.uids import RawPosition, raw_position_of
from pipeline.contracts.verdicts import LABELLING, TRUE_POSITIVE, Record, read_verdict, standing
from pipeline.errors import BadData
from pipeline.settings import Settings
from pipeline.tools.alerts.verdicts import messages

TOPIC = "topic"
MAX_PROBLEMS = 20
MEMBERS = pa.schema(
    [
        *((name, pa.string()) for name in ("uid", "site", "sensor")),
        ("raw_partition", pa.int32()),
        ("raw_offset", pa.int64()),
        ("raw_index", pa.int32()),
        ("attack", pa.bool_()),
    ]
)


@dataclass(frozen=True, slots=True)
class Judged:
    """An incident somebody has judged; `members` are those of its flows that the verdict names."""

    uid: str
    confirmed: bool
    verdict: str
    by: str
    at_us: int
    note: str
    site: str | None
    sensor: str | None
    members: frozenset[RawPosition]


@dataclass(frozen=True, slots=True)
class Verdicts:
    """All that was read.

    Attributes
    ----------
    sources : `topic`, or the files' names
    judged : by uid; only what confirms or denies
    read : verdicts read
    overruled : those that a later one on the same alert contradicts
    withdrawn : alerts whose last verdict says neither, or was undone
    problems : where and why something was no verdict, or named flows that cannot be
    """

    sources: tuple[str, ...]
    judged: dict[str, Judged]
    read: int
    overruled: int
    withdrawn: int
    problems: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "sources": list(self.sources),
            "read": self.read,
            "overruled": self.overruled,
            "withdrawn": self.withdrawn,
            "unusable": len(self.problems),
            "problems": list(self.problems[:MAX_PROBLEMS]),
        }

    def members(self) -> pa.Table:
        """A row per flow that a verdict speaks of, of those that name a site and sensor; schema MEMBERS."""
        rows = [
            (incident.uid, incident.site, incident.sensor, *position, incident.confirmed)
            for incident in self.judged.values()
            if incident.site is not None and incident.sensor is not None
            for position in sorted(incident.members)
        ]
        columns = zip(*rows, strict=True) if rows else [()] * len(MEMBERS)
        return pa.table([pa.array(c, f.type) for c, f in zip(columns, MEMBERS, strict=True)], schema=MEMBERS)


def read(settings: Settings, sources: Sequence[str]) -> Verdicts:
    """Read verdicts from the topic (`topic`) and JSON-lines files; what is none is reported and left out.

    Of two verdicts on an alert the one given later counts, wherever it was read. BadData where a file cannot be read.
    """
    records: list[Record] = []
    where: dict[str, str] = {}
    problems: list[str] = []
    for source in sources:
        for at, payload in _lines(settings, source):
            try:
                records.append(read_verdict(payload))
            except BadData as error:
                problems.append(f"{at}: {error}; left out")
                continue
            where[records[-1]["id"]] = at
    stands = standing(records)
    judged, withdrawn = {}, set(stands.newest)
    for uid, verdict in sorted(stands.newest.items()):
        for alert in verdict["alerts"] if verdict["verdict_id"] in LABELLING else ():
            if alert["uid"] == uid:
                judged[uid] = _judged(verdict, alert, where[verdict["id"]], problems)
                withdrawn.discard(uid)
    given = [each for each in stands.given.values() if each["id"] not in stands.undone]
    overruled = sum(
        any(stands.newest[uid]["verdict_id"] != each["verdict_id"] for uid in each["uids"]) for each in given
    )
    return Verdicts(tuple(sources), judged, len(records), overruled, len(withdrawn), tuple(problems))


def _lines(settings: Settings, source: str) -> Iterator[tuple[str, bytes]]:
    if source == TOPIC:
        yield from messages(settings)
        return
    try:
        with Path(source).open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield f"{source}:{number}", line
    except OSError as error:
        raise BadData(f"--verdicts {source}: {error}; expected `topic`, or a file of a verdict a line") from error


def _judged(verdict: Record, alert: dict[str, Any], where: str, problems: list[str]) -> Judged:
    positions = [raw_position_of(member) for member in alert["members"]]
    if None in positions:
        problems.append(f"{where}: members: got one that is no raw position; its flows get no label")
    return Judged(
        alert["uid"],
        verdict["verdict_id"] == TRUE_POSITIVE,
        verdict["verdict"],
        verdict["by"],
        verdict["at_us"],
        verdict["note"],
        verdict["site"],
        alert["sensor"],
        frozenset() if None in positions else frozenset(position for position in positions if position is not None),
    )


def on_incidents(
    db: duckdb.DuckDBPyConnection, verdicts: Verdicts, sides: Sequence[dict[str, set[RawPosition]]]
) -> list[dict[str, Any]]:
    """Each judged incident of this history, and under which uid each side raised it, None where it did not.

    Sides are the members of their incidents by uid; tables `a`, `b` and `judged` hold the flows. An incident is found
    by its uid, else by a flow that both hold. One of which nothing lies in the history is left out.
    """
    here = {
        uid
        for table in ("a", "b")
        for (uid,) in db.execute(
            f"""SELECT DISTINCT uid FROM judged
                JOIN {table} USING (site, sensor, raw_partition, raw_offset, raw_index)"""  # noqa: S608
        ).fetchall()
    }
    holders = [{position: uid for uid, held_positions in side.items() for position in held_positions} for side in sides]
    reported = []
    for uid, incident in verdicts.judged.items():
        raised = [
            uid if uid in side else min((holder[at] for at in incident.members if at in holder), default=None)
            for side, holder in zip(sides, holders, strict=True)
        ]
        if uid in here or any(raised):
            about = {
                "uid": uid,
                "confirmed": incident.confirmed,
                "verdict": incident.verdict,
                "by": incident.by,
                "note": incident.note,
            }
            reported.append({**about, "raised": raised})
    return reported


def figures(judged: Sequence[dict[str, Any]], side: int) -> dict[str, Any]:
    """What one side made of the judged incidents; precision and recall are of incidents, among the judged ones."""
    confirmed = [incident["raised"][side] is not None for incident in judged if incident["confirmed"]]
    false = [incident["raised"][side] is not None for incident in judged if not incident["confirmed"]]
    raised_confirmed, raised = sum(confirmed), sum(false)
    return {
        "confirmed": len(confirmed),
        "confirmed_found": raised_confirmed,
        "false": len(false),
        "false_raised": raised,
        "precision": raised_confirmed / (raised_confirmed + raised) if raised_confirmed + raised else None,
        "recall": raised_confirmed / len(confirmed) if confirmed else None,
    }
