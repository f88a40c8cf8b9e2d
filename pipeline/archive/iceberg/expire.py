"""Expire old snapshots of the tables, and delete files that nothing lists any more: purged rows are gone only then."""

from contextlib import suppress

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from pipeline.archive.iceberg import tables
from pipeline.archive.streams import TABLES


def expire(catalog: Catalog, before_s: float) -> dict[str, dict[str, int]]:
    """Expire snapshots older than `before_s` (seconds since the epoch); branches, tags and the newest stay.

    pyiceberg takes them out of the metadata alone. Per table: snapshots, deleted (files).
    """
    by_name = {name: tables.find(catalog, name) for name in TABLES}
    return {name: _expire(table, before_s) for name, table in by_name.items() if table is not None}


def _expire(table: Table, before_s: float) -> dict[str, int]:
    retained = {reference.snapshot_id for reference in table.refs().values()}
    before_ms = before_s * 1000
    old = [
        snapshot
        for snapshot in table.snapshots()
        if snapshot.timestamp_ms < before_ms and snapshot.snapshot_id not in retained
    ]
    if not old:
        return {"snapshots": 0, "deleted": 0}
    before = _listed(table, old)
    try:
        table.maintenance.expire_snapshots().by_ids([snapshot.snapshot_id for snapshot in old]).commit()
    except CommitFailedException:
        return {"snapshots": 0, "deleted": 0}  # another process has committed: next time
    # What others have committed meanwhile lists nothing but new files and what the newest snapshot had.
    table.refresh()
    gone = before - _listed(table, table.snapshots())
    for path in gone:
        with suppress(FileNotFoundError):
            table.io.delete(path)
    return {"snapshots": len(old), "deleted": len(gone)}


def _listed(table: Table, snapshots: list[Snapshot]) -> set[str]:
    """Every file that snapshots list: manifest lists, manifests, data files."""
    manifests = {file.manifest_path: file for snapshot in snapshots for file in snapshot.manifests(table.io)}
    return (
        {snapshot.manifest_list for snapshot in snapshots}
        | set(manifests)
        | {
            entry.data_file.file_path
            for manifest in manifests.values()
            for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True)
        }
    )
