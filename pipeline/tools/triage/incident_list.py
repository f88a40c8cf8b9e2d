"""The list of incidents: which of them, in which order, and the one page of it that is asked for."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from pipeline.errors import Usage
from pipeline.tools.triage.database import Connection, Database, Value
from pipeline.tools.triage.rows import storable

MAX_LIMIT = 500
MAX_WORDS = 8
MAX_NAMED = 1_000
"""Devices that a word of a search may stand for."""
MAX_NUMBER = 2**63 - 1
SORTS = ("last_us", "first_us", "opened_us", "severity", "flows")
SEVERITIES = {"informational": 1, "low": 2, "medium": 3, "high": 4, "critical": 5}
YES_NO = {"yes": 1, "no": 0}


class NotThere(Usage):
    """What a request names is not there."""


@dataclass(frozen=True, slots=True)
class Filter:
    """What is asked for; None: whatever it is."""

    site: str | None = None
    sensor: str | None = None
    severity: str | None = None
    """Names with commas between them: high,critical."""
    state: str | None = None
    settled: str | None = None
    suppressed: str | None = None
    page: str | None = None
    technique: str | None = None
    asset: str | None = None
    q: str | None = None
    since_us: int | None = None
    until_us: int | None = None
    named: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)
    """By word of `q`, the devices whose names have it: site and address (`words_of`)."""


@dataclass(slots=True)
class _Where:
    """Conditions of a query, and their values."""

    conditions: list[str]
    values: list[Value]

    def add(self, condition: str, *values: Value) -> None:
        self.conditions.append(condition)
        self.values.extend(values)

    @property
    def sql(self) -> str:
        return f"WHERE {' AND '.join(self.conditions)}" if self.conditions else ""


def listed(database: Database, asked: Filter, sort: str, limit: int, after: str | None) -> dict[str, Any]:
    """One page of the list: its documents, how many there are in all, and where the next page starts.

    counts: of what the filter leaves without `page`, `settled` and `suppressed`: settled ones; of the others those that
    are suppressed; of the others those that page, and those for review. Usage where something asked for cannot be.
    """
    column, descending = _order(sort)
    base, paged = _conditions(asked), where_of(asked)
    if after is not None:
        sign = "<" if descending else ">"
        paged.add(f"(incidents.{column}, incidents.uid) {sign} (?, ?)", *_position(after))
    direction = "DESC" if descending else "ASC"
    with database.reading() as connection:
        groups = connection.execute(
            f"SELECT page, settled, suppressed, COUNT(*) FROM incidents {base.sql} "  # noqa: S608 - our own conditions
            "GROUP BY page, settled, suppressed",
            base.values,
        )
        rows = connection.execute(
            f"SELECT incidents.{column}, uid, document FROM (SELECT incidents.{column}, incidents.uid "  # noqa: S608
            f"FROM incidents {paged.sql} ORDER BY incidents.{column} {direction}, incidents.uid {direction} LIMIT ?) "
            f"AS incidents JOIN documents USING (uid) ORDER BY incidents.{column} {direction}, uid {direction}",
            [*paged.values, limit + 1],
        )
    shown = rows[:limit]
    return {
        "incidents": [orjson.loads(row[2]) for row in shown],
        "total": sum(int(number) for *flags, number in groups if _is_asked(asked, flags)),
        "next": _cursor(shown[-1]) if len(rows) > limit else None,
        "counts": _counts(groups),
    }


def where_of(asked: Filter) -> _Where:
    """The conditions of all that is asked for."""
    where = _conditions(asked)
    for name in ("page", "settled", "suppressed"):
        value = getattr(asked, name)
        if value is not None:
            where.add(f"incidents.{name} = ?", _one_of(name, value, YES_NO))
    return where


def _is_asked(asked: Filter, flags: list[int]) -> bool:
    wanted = (asked.page, asked.settled, asked.suppressed)
    return all(want is None or YES_NO[want] == flag for want, flag in zip(wanted, flags, strict=True))


def _counts(groups: list[tuple[Any, ...]]) -> dict[str, int]:
    counts = {"page": 0, "review": 0, "suppressed": 0, "settled": 0}
    for page, settled, suppressed, number in groups:
        name = "settled" if settled else "suppressed" if suppressed else "page" if page else "review"
        counts[name] += int(number)
    return counts


def _order(sort: str) -> tuple[str, bool]:
    """The column and whether the highest comes first."""
    column = sort.removeprefix("-")
    if column not in SORTS:
        raise Usage(
            f"sort: got {sort[:40]!r}, expected one of {', '.join(SORTS)}, with - before it for the highest first"
        )
    return column, sort.startswith("-")


def _one_of(name: str, value: str, known: dict[str, int]) -> int:
    if value not in known:
        raise Usage(f"{name}: got {value[:40]!r}, expected one of {', '.join(known)}")
    return known[value]


def _conditions(asked: Filter) -> _Where:
    where = _Where([], [])
    if asked.site is not None:
        where.add("incidents.site = ?", storable(asked.site))
    if asked.severity is not None:
        numbers = [_one_of("severity", each.strip().lower(), SEVERITIES) for each in asked.severity.split(",")[:8]]
        where.add(f"incidents.severity IN ({', '.join('?' * len(numbers))})", *numbers)
    if asked.state is not None:
        _one_of("state", asked.state, {"open": 0, "ended": 1})
        where.add("incidents.state = ?", asked.state)
    for kind in ("sensor", "technique", "asset"):
        value = getattr(asked, kind)
        if value is not None:
            facet = "SELECT incident FROM facets WHERE kind = ? AND value = ?"
            where.add(f"incidents.uid IN ({facet})", kind, storable(value))
    if asked.q is not None and asked.q.strip():
        for word in words_of(asked.q):
            _add_word(where, word, asked.named.get(word, ()))
    if asked.since_us is not None:
        where.add("incidents.last_us >= ?", asked.since_us)
    if asked.until_us is not None:
        where.add("incidents.first_us <= ?", asked.until_us)
    return where


def words_of(q: str) -> list[str]:
    """The words of a search: what an incident is found by has each of them."""
    return storable(q).casefold().split()[:MAX_WORDS]


def _add_word(where: _Where, word: str, named: Sequence[tuple[str, str]]) -> None:
    """A word in an incident's own text, or in the name of a device that is part of it."""
    literal = word.replace("!", "!!").replace("%", "!%").replace("_", "!_")
    either, values = ["incidents.words LIKE ? ESCAPE '!'"], list[Value]([f"%{literal}%"])
    by_site: dict[str, list[str]] = {}
    for site, address in named[:MAX_NAMED]:
        by_site.setdefault(storable(site), []).append(storable(address))
    for site, addresses in by_site.items():
        marks = ", ".join("?" * len(addresses))
        of_devices = f"SELECT incident FROM facets WHERE kind = 'asset' AND value IN ({marks})"  # noqa: S608
        either.append(f"(incidents.site = ? AND incidents.uid IN ({of_devices}))")
        values += [site, *addresses]
    where.add(f"({' OR '.join(either)})", *values)


def _cursor(row: tuple[Any, ...]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([row[0], row[1]])).decode().rstrip("=")


def _position(cursor: str) -> tuple[int, str]:
    """Where a page ended; Usage where it is no cursor of ours."""
    try:
        value, uid = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if type(value) is int and abs(value) <= MAX_NUMBER and isinstance(uid, str):
            return value, storable(uid)
    except (binascii.Error, ValueError, TypeError):
        value = None
    raise Usage(f"after: got {cursor[:40]!r}, expected `next` of an earlier answer; ask without it for the start")


def incident_named(connection: Connection, name: str) -> str:
    """The incident that a member's uid, or an unambiguous start of one, names; NotThere where none or several."""
    exact = connection.execute("SELECT incident FROM alerts WHERE uid = ?", (storable(name),))
    if exact:
        return str(exact[0][0])
    literal = storable(name).replace("!", "!!").replace("%", "!%").replace("_", "!_")
    rows = connection.execute(
        "SELECT DISTINCT incident FROM alerts WHERE uid LIKE ? ESCAPE '!' LIMIT 6", (f"{literal}%",)
    )
    if len(rows) != 1:
        several = f"more than one ({', '.join(str(row[0])[:12] for row in rows[:5])})" if rows else "none"
        raise NotThere(f"incident {name[:40]}: got {several}, expected one; the list has their names")
    return str(rows[0][0])
