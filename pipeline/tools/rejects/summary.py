"""Rejects counted by site, sensor and reason, with the last records: bounded, however many there are. Pure."""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

KEY = ["site", "sensor", "reason"]
# Names of sensors come with messages, so anybody may make them up: rejects of further ones are counted as one number.
MAX_GROUPS = 10_000
ORDER = ["ingest_ts_us", "raw_partition", "raw_offset", "raw_index"]


class Filter(NamedTuple):
    """Which rejects are asked for; None asks for all."""

    site: str | None = None
    sensor: str | None = None
    reason: str | None = None
    since_us: int | None = None
    """Least `ingest_ts_us`."""


def matching(rejects: pa.RecordBatch, wanted: Filter) -> pa.RecordBatch:
    """The rejects that are asked for, in the same order."""
    for name in KEY:
        value = getattr(wanted, name)
        if value is not None:
            rejects = rejects.filter(pc.equal(rejects[name], value))
    if wanted.since_us is not None:
        rejects = rejects.filter(pc.greater_equal(rejects["ingest_ts_us"], wanted.since_us))
    return rejects


@dataclass(slots=True)
class Group:
    """Rejects of one site, sensor and reason: how many, from when to when, and the latest one's detail."""

    site: str
    sensor: str
    reason: str
    count: int = 0
    first_us: int = 1 << 62
    last_us: int = 0
    detail: str = ""


@dataclass(slots=True)
class Summary:
    """What `add` was given: groups, and the last `limit` rejects."""

    limit: int
    rejects: int = 0
    others: int = 0
    """Rejects of groups beyond MAX_GROUPS."""
    _groups: dict[tuple[str, str, str], Group] = field(default_factory=dict)
    _last: list[tuple[tuple[int, ...], dict[str, Any]]] = field(default_factory=list)

    def add(self, rejects: pa.RecordBatch) -> None:
        """Count rejects, in any order of messages."""
        if not rejects.num_rows:
            return
        self.rejects += rejects.num_rows
        table = pa.Table.from_batches([rejects.select([*KEY, "ingest_ts_us", "detail"])])
        counted = table.group_by(KEY, use_threads=False).aggregate(
            [([], "count_all"), ("ingest_ts_us", "min"), ("ingest_ts_us", "max"), ("detail", "last")]
        )
        for row in counted.to_pylist():
            self._count(row)
        if self.limit:
            newest = pc.select_k_unstable(rejects, self.limit, sort_keys=[(name, "descending") for name in ORDER])
            self._last += [(tuple(row[name] for name in ORDER), row) for row in rejects.take(newest).to_pylist()]
            self._last = heapq.nlargest(self.limit, self._last, key=lambda pair: pair[0])

    def _count(self, row: Mapping[str, Any]) -> None:
        key = (row["site"], row["sensor"], row["reason"])
        group = self._groups.get(key)
        if group is None:
            if len(self._groups) >= MAX_GROUPS:
                self.others += row["count_all"]
                return
            group = self._groups[key] = Group(*key)
        group.count += row["count_all"]
        group.first_us = min(group.first_us, row["ingest_ts_us_min"])
        if row["ingest_ts_us_max"] >= group.last_us:
            group.last_us, group.detail = row["ingest_ts_us_max"], row["detail_last"]

    def groups(self) -> list[Group]:
        """The groups, most rejects first."""
        return sorted(self._groups.values(), key=lambda group: (-group.count, group.site, group.sensor, group.reason))

    def last(self) -> list[dict[str, Any]]:
        """The last rejects, oldest first."""
        return [row for _, row in reversed(self._last)]
