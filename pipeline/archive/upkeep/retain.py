"""Retention: rows of days that are over are purged; only where their records came from stays.

What is left of a day is some bytes a record: raw position, timestamp and format of the raw message, the exporter's
address and sequence number. Enough that `archive verify` still accounts for every one.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from typing import Any

from pipeline.archive import paths, snapshot
from pipeline.archive.closed_rows import ClosedRows
from pipeline.archive.manifest import ClosedFile
from pipeline.archive.snapshot import PartitionSnapshot
from pipeline.archive.upkeep.packs import MAX_MEMBERS, Notify, Plan, group_by_schema, swap_all, sweep
from pipeline.runtime.storage.location import StorageLike, open_storage

WRITER = "retain"
ATTEMPTS = 3
"""Files that a compaction moved meanwhile are planned again."""


def retain(
    archive: StorageLike,
    before: str,
    tables: Collection[str],
    before_s: float,
    dry_run: bool = False,
    notify: Notify = lambda _done, _all: None,
) -> dict[str, Any]:
    """Purge the rows of all days of event time before `before` (YYYY-MM-DD, UTC); rejects by when they were sent.

    Returns `days` (table, date, files, rows, bytes), `rows`, `files`, `bytes`: purged, or, with dry_run, that would
    be; `deleted`: files that are gone for good: those replaced by `before_s`, seconds since the epoch; `stay`: those
    that still lie there; `skipped`: what was not purged, and why.
    """
    storage = open_storage(archive)
    done: list[Plan] = []
    for _attempt in range(ATTEMPTS):
        snapshots, reader = snapshot.read(storage), ClosedRows(storage)
        plans = [plan for state in snapshots for plan in plans_of(state, reader, before, tables)]
        if dry_run:
            done += plans
            break
        carried, snapshots = swap_all(storage, plans, snapshots, WRITER, notify)
        done += [plan for plan, _ in carried]
        if not plans:
            break
    skipped = [state.problem for state in snapshots if state.problem]
    skipped += [f"partition {plan.partition}: {plan.table} of {plan.date} were moved all the time" for plan in plans]
    deleted, stay = sweep(storage, snapshots, before_s, dry_run)
    days: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for plan in done:
        for entry in plan.entries:
            for column, amount in enumerate((1, entry.rows, entry.bytes)):
                days[plan.table, plan.date][column] += amount
    names = ("files", "rows", "bytes")
    return {
        "archive": storage.uri,
        "before": before,
        "dry_run": dry_run,
        "days": [
            {"table": table, "date": date, **dict(zip(names, amounts, strict=True))}
            for (table, date), amounts in sorted(days.items())
        ],
        **{name: sum(amounts[column] for amounts in days.values()) for column, name in enumerate(names)},
        "skipped": [] if dry_run else skipped,
        "deleted": deleted,
        "stay": stay,
    }


def plans_of(state: PartitionSnapshot, reader: ClosedRows, before: str, tables: Collection[str]) -> Iterator[Plan]:
    """The packs to make of a partition's files whose days are over."""
    if state.problem:
        return
    over = [entry for entry in state.readable if entry.table in tables and last_day(entry) < before]
    for table, date, entries in group_by_schema(state, over, reader, positions_only=True):
        for first in range(0, len(entries), MAX_MEMBERS):
            some = tuple(entries[first : first + MAX_MEMBERS])
            yield Plan(state.partition, table, date, some, positions_only=True)


def last_day(entry: ClosedFile) -> str:
    """The last day a closed file has rows of, YYYY-MM-DD."""
    date = paths.date_of(entry.path)
    if date != paths.MIXED:
        return date
    return datetime.fromtimestamp(max(entry.to_ts_us, 0) / 1e6, UTC).strftime("%Y-%m-%d")
