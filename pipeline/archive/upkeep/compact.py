"""Compaction: many small files become few large ones, while a writer may be at work."""

from collections.abc import Iterator
from typing import Any

from pipeline.archive import paths, snapshot
from pipeline.archive.closed_rows import ClosedRows
from pipeline.archive.manifest import ClosedFile
from pipeline.archive.snapshot import PartitionSnapshot
from pipeline.archive.streams import FLOWS
from pipeline.archive.upkeep.packs import MAX_MEMBERS, Notify, Plan, group_by_schema, swap_all, sweep
from pipeline.runtime.storage.location import StorageLike, open_storage

WRITER = "compact"


def compact(
    archive: StorageLike,
    target_bytes: int,
    before_s: float,
    newest: bool = False,
    dry_run: bool = False,
    notify: Notify = lambda _done, _all: None,
) -> dict[str, Any]:
    """Merge small closed files, up to `target_bytes` a pack; then delete what was replaced by `before_s`.

    before_s: seconds since the epoch; newest: also those of the newest day of event time, which still grows; dry_run:
    say only what would be done.
    Returns `packs` (made, or to be made), `files` (in them), `rows`, `bytes_before`, `bytes_after`, `deleted`,
    `stay` (replaced files that still lie there), `skipped` (what is wrong with partitions that were left alone).
    """
    storage = open_storage(archive)
    snapshots = snapshot.read(storage)
    plans = [plan for state in snapshots for plan in plans_of(state, ClosedRows(storage), target_bytes, newest)]
    sizes = {entry.path: entry.bytes for state in snapshots for entry in state.files}
    made, after = plans, None
    if not dry_run:
        carried, snapshots = swap_all(storage, plans, snapshots, WRITER, notify)
        made, after = [plan for plan, _ in carried], sum(pack.bytes for _, pack in carried)
    notify(len(plans), len(plans))
    deleted, stay = sweep(storage, snapshots, before_s, dry_run)
    return {
        "archive": storage.uri,
        "dry_run": dry_run,
        "packs": len(made),
        "files": sum(len(plan.entries) for plan in made),
        "rows": sum(entry.rows for plan in made for entry in plan.entries),
        "bytes_before": sum(sizes[entry.path] for plan in made for entry in plan.entries),
        "bytes_after": after,
        "skipped": [state.problem for state in snapshots if state.problem],
        "deleted": deleted,
        "stay": stay,
    }


def plans_of(state: PartitionSnapshot, reader: ClosedRows, target_bytes: int, newest: bool) -> Iterator[Plan]:
    """The packs to make of a partition: files of one table, day and schema, until a pack is full."""
    if state.problem:
        return
    grows = max((paths.date_of(entry.path) for entry in state.files if entry.table == FLOWS), default="")
    small = [
        entry
        for entry in state.readable
        if _size(state, entry) < target_bytes // 2 and (newest or paths.date_of(entry.path) != grows)
    ]
    for table, date, entries in group_by_schema(state, small, reader, positions_only=False):
        for some in _filled(state, entries, target_bytes):
            yield Plan(state.partition, table, date, tuple(some), positions_only=False)


def _size(state: PartitionSnapshot, entry: ClosedFile) -> int:
    """Bytes of the file a closed file's rows lie in."""
    pack = state.locations[entry.path].pack
    return entry.bytes if pack is None else pack.bytes


def _filled(state: PartitionSnapshot, entries: list[ClosedFile], target_bytes: int) -> Iterator[list[ClosedFile]]:
    """Runs of entries that fill a pack; only those that put at least two files into one."""
    run: list[ClosedFile] = []
    size = 0
    for entry in entries:
        run.append(entry)
        size += entry.bytes
        if size >= target_bytes or len(run) == MAX_MEMBERS:
            yield from _worthwhile(state, run)
            run, size = [], 0
    yield from _worthwhile(state, run)


def _worthwhile(state: PartitionSnapshot, run: list[ClosedFile]) -> Iterator[list[ClosedFile]]:
    if len({state.locations[entry.path].file for entry in run}) > 1:
        yield run
