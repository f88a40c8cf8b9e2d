"""The inventory of an archive, closed files and open rows, read as `forebay archive query` reads them (ADR 30)."""

from collections.abc import Callable
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from pipeline.archive.streams import FLOWS, LATE
from pipeline.archive.upkeep.query import ATTEMPTS, connect, read_contents
from pipeline.errors import Failed
from pipeline.runtime.storage.storage import StorageLike
from pipeline.settings import Settings
from pipeline.tools.assets.inventory import Inventory
from pipeline.tools.assets.sightings import COLUMNS
from schemas.fields import arrow_schema

BATCH_ROWS = 131_072
"""Rows at once: beyond that the tables they fold into cost no less a row."""

Notify = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Reading:
    """An inventory, and what it was read from; open_rows: None where they were not asked for."""

    inventory: Inventory
    rows: int
    closed_files: int
    open_rows: int | None
    not_read: list[str]


def read_inventory(archive: StorageLike, settings: Settings | None, site: str | None, notify: Notify) -> Reading:
    """The inventory of all flows, late ones too, of one site or of all; with `settings`, of open rows as well."""
    for attempt in range(ATTEMPTS):
        try:
            return _read(archive, settings, site, notify)
        except duckdb.Error as error:
            # A file that compaction has replaced is deleted after a while: there is a newer listing.
            if attempt == ATTEMPTS - 1:
                raise Failed(f"asset: {str(error).strip()}; `forebay archive verify` says what is wrong") from error
    raise AssertionError("unreachable")


def _read(archive: StorageLike, settings: Settings | None, site: str | None, notify: Notify) -> Reading:
    contents = read_contents(archive, settings)
    inventory, schema = Inventory(), columns_schema()
    names = ", ".join(COLUMNS)
    rows = 0
    with connect(archive, contents) as connection:
        of_site = "WHERE site = $site" if site is not None else ""
        parts = [f"SELECT {names} FROM {table} {of_site}" for table in (FLOWS, LATE)]  # noqa: S608
        given = {"site": site} if site is not None else {}
        total = contents.closed_rows + (contents.open.rows if contents.open is not None else 0)
        reader: pa.RecordBatchReader = connection.sql(" UNION ALL ".join(parts), params=given).to_arrow_reader(
            BATCH_ROWS
        )
        for batch in reader:
            columns = [column.cast(field.type) for column, field in zip(batch.columns, schema, strict=True)]
            inventory.add(pa.RecordBatch.from_arrays(columns, schema=schema))
            rows += len(batch)
            notify(rows, total)
    opened = contents.open
    return Reading(
        inventory,
        rows,
        contents.closed_files,
        opened.rows if opened is not None else None,
        opened.not_read if opened is not None else [],
    )


def columns_schema() -> pa.Schema:
    """The columns that are read, as schema `flow` has them."""
    flow = arrow_schema("flow")
    # What a file of an earlier version lacks is null.
    return pa.schema([flow.field(name).with_nullable(True) for name in COLUMNS])
