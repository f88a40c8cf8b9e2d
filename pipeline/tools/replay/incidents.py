"""Incidents of two sides: which are the same, changed, gained or lost, and why, in words a person can check."""

from collections.abc import Callable, Mapping
from typing import Any

import duckdb
import pyarrow as pa

from pipeline.contracts.uids import RAW_POSITION

POSITION = ", ".join(RAW_POSITION)
MAX_SHOWN = 50
SIDES = ("first", "second")
UID_SHOWN = 8

Event = dict[str, Any]
AlertLevelOf = Callable[[str, str, str], float | None]
"""Of a model, a site and a sensor; None where its manifest cannot be found."""


def members(event: Event) -> set[tuple[int, int, int]]:
    """Raw positions of the flows an incident's event names."""
    return {(int(position[0]), int(position[1]), int(position[2])) for position in event["unmapped"]["members"]}


def pair(
    db: duckdb.DuckDBPyConnection, first: Mapping[str, Event], second: Mapping[str, Event], level_of: AlertLevelOf
) -> dict[str, Any]:
    """Paired by uid, else by the flow they share; what is left over was gained or lost. Tables `a` and `b` hold flows.

    Keys: same, changed, gained, lost, and `listed`: the first of those that are not the same, with the reasons.
    """
    uid_of = [{position: uid for uid, event in side.items() for position in members(event)} for side in (first, second)]
    pairs: dict[str, str] = {uid: uid for uid in second if uid in first}
    for uid, event in second.items():
        shared = sorted({uid_of[0][position] for position in members(event) if position in uid_of[0]} - second.keys())
        if uid not in pairs and shared:
            pairs[uid] = shared[0]
    taken = set(pairs.values())
    changed = [
        (first[before], second[uid])
        for uid, before in sorted(pairs.items())
        if uid != before or _essence(first[before]) != _essence(second[uid])
    ]
    gained = [event for uid, event in sorted(second.items()) if uid not in pairs]
    lost = [event for uid, event in sorted(first.items()) if uid not in taken]
    apart = [("gained", None, event) for event in gained] + [("lost", event, None) for event in lost]
    listed = [*apart, *(("changed", before, after) for before, after in changed)][:MAX_SHOWN]
    return {
        "same": len(pairs) - len(changed),
        "changed": len(changed),
        "gained": len(gained),
        "lost": len(lost),
        "listed": [_described(db, what, before, after, uid_of, level_of) for what, before, after in listed],
    }


def _essence(event: Event) -> tuple[Any, ...]:
    """What of an incident a reader would call the same; how often it was emitted and by which model does not count."""
    about = event["unmapped"]
    return event["severity_id"], about["class"], about["first_ts_us"], about["last_ts_us"], sorted(members(event))


def _described(
    db: duckdb.DuckDBPyConnection,
    what: str,
    before: Event | None,
    after: Event | None,
    uid_of: list[dict[tuple[int, int, int], str]],
    level_of: AlertLevelOf,
) -> dict[str, Any]:
    """An incident that is not the same, what each side made of its flows, and why it differs."""
    event = after or before or {}
    site, sensor = event["unmapped"]["site"], event["unmapped"]["sensor"]
    positions = sorted((members(before) if before else set()) | (members(after) if after else set()))
    seen = _seen(db, positions)
    for facts in seen:
        facts["alert_level"] = level_of(facts.pop("model") or "", site, sensor)
    other = uid_of[0 if what == "gained" else 1]
    held_by = None if what == "changed" else min((other[at] for at in positions if at in other), default=None)
    document = {
        "what": what,
        "uid": event["finding_info"]["uid"],
        "sensor": f"{site}/{sensor}",
        "message": event["message"],
        "severity": [each.get("severity") if each else None for each in (before, after)],
        "first_ts_us": event["unmapped"]["first_ts_us"],
        "flows": len(positions),
        "held_by": held_by,
        **{name: [facts[name] for facts in seen] for name in seen[0]},
    }
    reasons = [*_changes(before, after), *_reasons(document)] if before and after else _reasons(document)
    return {**document, "reason": "; ".join(reasons)}


def _seen(db: duckdb.DuckDBPyConnection, positions: list[tuple[int, int, int]]) -> list[dict[str, Any]]:
    """What each side made of these flows."""
    names = ("held", "suspects", "mean_score", "highest_score", "lowest_p_value", "class", "model")
    db.register("held", pa.table(dict(zip(RAW_POSITION, map(list, zip(*positions, strict=True)), strict=True))))
    try:
        facts = []
        for side in ("a", "b"):
            # The class of most suspects, where there are any; a tie goes by the name.
            [row] = db.execute(
                f"""WITH own AS (SELECT * FROM held JOIN {side} USING ({POSITION}))
                    SELECT count(*), count(*) FILTER (suspect), avg(score), max(score), min(p_value),
                           (SELECT class FROM own GROUP BY class
                            ORDER BY count(*) FILTER (suspect) DESC, count(*) DESC, class LIMIT 1), max(model)
                    FROM own"""  # noqa: S608
            ).fetchall()
            facts.append(dict(zip(names, row, strict=True)))
        return facts
    finally:
        db.unregister("held")


def _changes(before: Event, after: Event) -> list[str]:
    """What of a changed incident a reader sees differ."""
    changes = []
    earlier, later = before["unmapped"], after["unmapped"]
    if before["severity_id"] != after["severity_id"]:
        changes.append(f"severity {before.get('severity')} → {after.get('severity')}")
    if earlier["class"] != later["class"]:
        changes.append(f"reported as {earlier['class']} → {later['class']}")
    counts = [before.get("count", 0), after.get("count", 0)]
    if counts[0] != counts[1] or members(before) != members(after):
        come, gone = len(members(after) - members(before)), len(members(before) - members(after))
        changes.append(f"{counts[0]} → {counts[1]} flows ({come} came, {gone} went)")
    for name, word in (("first_ts_us", "begins"), ("last_ts_us", "ends")):
        moved_s = (later[name] - earlier[name]) / 1e6
        if moved_s:
            changes.append(f"{word} {abs(moved_s):.4g} s {'later' if moved_s > 0 else 'earlier'}")
    return changes


def _reasons(document: dict[str, Any]) -> list[str]:
    """Why two models differ, from the scores they gave the same flows, the alert levels, and the classes."""
    flows, suspects, present = document["flows"], document["suspects"], document["held"]
    reasons = []
    if document["held_by"] is not None:
        side = "first" if document["what"] == "gained" else "second"
        reasons.append(f"flows of it are in incident {document['held_by'][:UID_SHOWN]} of the {side}")
    reasons.append(f"{suspects[0]} of its {flows} flows were suspects in the first, {suspects[1]} in the second")
    counted = zip(present, SIDES, strict=True)
    reasons += [f"{flows - count} of them are not in the {name}" for count, name in counted if count < flows]
    if all(present):
        levels = ["?" if level is None else f"{level:.3g}" for level in document["alert_level"]]
        p = [f"{value:.3g}" for value in document["lowest_p_value"]]
        reasons.append(f"lowest p-value {p[0]} (alert level {levels[0]}) → {p[1]} (alert level {levels[1]})")
        reasons.append(f"highest score {document['highest_score'][0]:.3f} → {document['highest_score'][1]:.3f}")
        if document["class"][0] != document["class"][1]:
            reasons.append(f"class {document['class'][0]} → {document['class'][1]}")
    absent = {"gained": 0, "lost": 1}.get(document["what"])
    if absent is not None and document["held_by"] is None and suspects[absent]:
        reasons.append(f"in the {SIDES[absent]} its suspects are too few, or too far apart, to open an incident")
    return reasons
