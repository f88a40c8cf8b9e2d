"""The inventory of an archive, closed files and open rows, read as `forebay archive query` reads them (ADR 30)."""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import orjson
import pyarrow as pa

from pipeline.archive.streams import FLOWS, LATE
from pipeline.archive.upkeep.query import ATTEMPTS, Contents, connect, read_contents
from pipeline.errors import Failed
from pipeline.runtime.files import write_atomic
from pipeline.runtime.storage.location import StorageLike, open_storage
from pipeline.settings import Settings
from pipeline.tools.assets.inventory import Inventory
from pipeline.tools.assets.inventory_file import ClosedInventory, decode, encode
from pipeline.tools.assets.sightings import COLUMNS
from schemas.fields import arrow_schema

BATCH_ROWS = 131_072
"""Rows at once: beyond that the tables they fold into cost no less a row."""

ENDING, MAX_SNAPSHOTS = ".inventory", 16
"""Of archives and sites whose inventories are retained; one takes some 20 MB at most."""

Notify = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Reading:
    """An inventory, and what it was read from; open_rows: None where they were not asked for."""

    inventory: Inventory
    rows: int
    closed_files: int
    open_rows: int | None
    not_read: list[str]


def read_inventory(
    archive: StorageLike, settings: Settings | None, site: str | None, notify: Notify, snapshots: Path | None = None
) -> Reading:
    """The inventory of all flows, late ones too, of one site or of all; with `settings`, of open rows as well.

    snapshots: a folder where the inventory of the closed files is retained: of an archive that was read before, only
    the files that were closed since are read. What cannot be read or written there is made anew, and says nothing.
    """
    for attempt in range(ATTEMPTS):
        try:
            return _read(archive, settings, site, notify, snapshots)
        except duckdb.Error as error:
            # A file that compaction has replaced is deleted after a while: there is a newer listing.
            if attempt == ATTEMPTS - 1:
                raise Failed(f"asset: {str(error).strip()}; `forebay archive verify` says what is wrong") from error
    raise AssertionError("unreachable")


def retained_inventory(archive: StorageLike, site: str | None, snapshots: Path) -> Inventory | None:
    """The inventory of an archive's closed files as it was last read, of the same site or of all; None where none is.

    Nothing of the archive is read: it may have gone on since.
    """
    try:
        snapshot = decode(_snapshot_file(snapshots, archive, site).read_bytes())
    except OSError:
        return None
    return snapshot.inventory if snapshot is not None else None


def _read(
    archive: StorageLike, settings: Settings | None, site: str | None, notify: Notify, snapshots: Path | None
) -> Reading:
    contents = read_contents(archive, settings)
    opened = contents.open
    total = contents.closed_rows + (opened.rows if opened is not None else 0)
    file = _snapshot_file(snapshots, archive, site) if snapshots is not None else None
    known = _known(file, contents)
    closed = _closed(archive, contents, known, site, lambda rows: notify(rows, total))
    if file is not None and (known is None or closed.hashes != known.hashes):
        _write(file, closed)
    inventory, rows = closed.inventory, closed.rows
    if opened is not None:
        only_open = replace(contents, files={table: {} for table in contents.files})
        rows += _fold_in(inventory, archive, only_open, site, lambda more: notify(closed.rows + more, total))
    return Reading(
        inventory,
        rows,
        contents.closed_files,
        opened.rows if opened is not None else None,
        opened.not_read if opened is not None else [],
    )


def _known(file: Path | None, contents: Contents) -> ClosedInventory | None:
    """What was retained of the same archive, if all of it is still there, and none of it in a file with what is new."""
    try:
        known = decode(file.read_bytes()) if file is not None else None
    except OSError:
        return None
    if known is None or not known.hashes <= _hashes(contents):
        return None
    mixed = (known.hashes & members.keys() not in (set(), members.keys()) for members in _members(contents))
    return None if any(mixed) else known


def _closed(
    archive: StorageLike,
    contents: Contents,
    known: ClosedInventory | None,
    site: str | None,
    notify: Callable[[int], None],
) -> ClosedInventory:
    """The inventory of the closed files: what is known of it, and the rest read."""
    before = known if known is not None else ClosedInventory(frozenset(), 0, Inventory())
    unread: dict[str, dict[str, str]] = {table: {} for table in contents.files}
    for table in (FLOWS, LATE):
        for name, feature_hash in contents.files[table].items():
            if not before.hashes & contents.members[name].keys():
                unread[table][name] = feature_hash
    rows = _fold_in(
        before.inventory,
        archive,
        replace(contents, files=unread, open=None),
        site,
        lambda more: notify(before.rows + more),
    )
    return ClosedInventory(_hashes(contents), before.rows + rows, before.inventory)


def _members(contents: Contents) -> list[dict[str, int]]:
    return [contents.members[name] for table in (FLOWS, LATE) for name in contents.files[table]]


def _hashes(contents: Contents) -> frozenset[str]:
    return frozenset(digest for members in _members(contents) for digest in members)


def _fold_in(
    inventory: Inventory, archive: StorageLike, contents: Contents, site: str | None, notify: Callable[[int], None]
) -> int:
    """Take the flows of some contents in; how many rows there were."""
    if not (contents.files[FLOWS] or contents.files[LATE] or (contents.open is not None and contents.open.rows)):
        return 0
    schema, rows = columns_schema(), 0
    names = ", ".join(COLUMNS)
    of_site, given = ("WHERE site = $site", {"site": site}) if site is not None else ("", {})
    parts = [f"SELECT {names} FROM {table} {of_site}" for table in (FLOWS, LATE)]  # noqa: S608
    with connect(archive, contents) as connection:
        reader: pa.RecordBatchReader = connection.sql(" UNION ALL ".join(parts), params=given).to_arrow_reader(
            BATCH_ROWS
        )
        for batch in reader:
            columns = [column.cast(field.type) for column, field in zip(batch.columns, schema, strict=True)]
            inventory.add(pa.RecordBatch.from_arrays(columns, schema=schema))
            rows += len(batch)
            notify(rows)
    return rows


def _snapshot_file(folder: Path, archive: StorageLike, site: str | None) -> Path:
    uri = open_storage(archive).uri
    # A folder has one name, from wherever it is named.
    where = uri if "://" in uri else str(Path(uri).resolve())
    return folder / f"{hashlib.sha256(orjson.dumps([where, site])).hexdigest()[:32]}{ENDING}"


def _write(file: Path, closed: ClosedInventory) -> None:
    """Write an inventory, and retain of all the newest ones."""
    with suppress(OSError):
        write_atomic(file, encode(closed), durable=False)
        retained = sorted(file.parent.glob(f"*{ENDING}"), key=lambda each: each.stat().st_mtime, reverse=True)
        for old in retained[MAX_SNAPSHOTS:]:
            old.unlink(missing_ok=True)


def columns_schema() -> pa.Schema:
    """The columns that are read, as schema `flow` has them."""
    flow = arrow_schema("flow")
    # What a file of an earlier version lacks is null.
    return pa.schema([flow.field(name).with_nullable(True) for name in COLUMNS])
