"""The tables `forebay.flows`, `forebay.late`, `forebay.rejects`: made, opened, and checked."""

from collections.abc import Mapping
from contextlib import suppress

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.conversions import from_bytes
from pyiceberg.exceptions import NoSuchTableError, TableAlreadyExistsError
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from pyiceberg.table.snapshots import ancestors_of
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import PrimitiveType

from pipeline.archive.iceberg import rows
from pipeline.errors import RefusedState

NAMESPACE = "forebay"
COMMITS = "forebay.commits"
"""Counts our commits: in the table's properties and, the same number, in the snapshot made with it."""

PROPERTIES = {
    # On a conflict pyiceberg would add the same data files again, on top of what another committer has just added.
    # Whoever loses has to read the table's position again.
    "commit.retry.num-retries": "0",
    # A file's name is its rows' only key: cut off, file names would not be distinct, and deletes would rewrite files.
    "write.metadata.metrics.column.archive_file": "full",
}
AT_FIRST = {
    "write.metadata.metrics.column.features.element": "none",
    # Else every commit would leave a manifest for ever, and each reader open them all.
    "commit.manifest-merge.enabled": "true",
    "write.metadata.delete-after-commit.enabled": "true",
    "write.parquet.compression-codec": "zstd",
    "write.parquet.compression-level": "3",
}


def find(catalog: Catalog, name: str) -> Table | None:
    """A table, checked; None where there is none yet."""
    try:
        table = catalog.load_table((NAMESPACE, name))
    except NoSuchTableError:
        return None
    _check_spec(table, name)
    _check_not_rolled_back(table, name)
    return table


def find_or_make(catalog: Catalog, name: str) -> Table:
    """A table that is ready to be added to."""
    table = find(catalog, name)
    if table is None:
        catalog.create_namespace_if_not_exists(NAMESPACE)
        # In one commit, so that no table is ever without its partitions.
        with suppress(TableAlreadyExistsError):
            making = catalog.create_table_transaction(
                (NAMESPACE, name), rows.table_schema(name), properties={**PROPERTIES, **AT_FIRST}
            )
            with making, making.update_spec() as spec:
                spec.add_field(rows.ARCHIVE_DATE, IdentityTransform(), rows.ARCHIVE_DATE)
        table = catalog.load_table((NAMESPACE, name))
    keep_properties(table)
    return table


def keep_properties(table: Table) -> None:
    """Set what every commit relies on, where somebody has changed it."""
    differing = {key: value for key, value in PROPERTIES.items() if table.properties.get(key) != value}
    if differing:
        with table.transaction() as changing:
            changing.set_properties(differing)


def has_columns(table: Table, schema: pa.Schema) -> None:
    """Give a table the columns of a newer version's rows."""
    if not set(schema.names) <= set(table.schema().column_names):
        with table.update_schema() as changing:
            changing.union_by_name(schema)


def commits(properties: Mapping[str, str]) -> int:
    """How many commits of ours a table has seen."""
    return int(properties.get(COMMITS, "0"))


def _check_spec(table: Table, name: str) -> None:
    fields = [(table.schema().find_column_name(field.source_id), str(field.transform)) for field in table.spec().fields]
    if fields != [(rows.ARCHIVE_DATE, "identity")]:
        raise RefusedState(
            f"table {NAMESPACE}.{name}: got partitions by {fields}, expected {rows.ARCHIVE_DATE}; it was not made by "
            "`forebay archive iceberg`, or was changed: drop it and copy anew"
        )


def _check_not_rolled_back(table: Table, name: str) -> None:
    """RefusedState where the table was set back to an older snapshot: its properties were not.

    Snapshots that others made (their compaction, say) are skipped; where ours have expired nothing can be said.
    """
    stated, snapshot = commits(table.properties), table.current_snapshot()
    committed = None
    for ancestor in ancestors_of(snapshot, table.metadata):
        if ancestor.summary is not None and ancestor.summary.get(COMMITS) is not None:
            committed = int(str(ancestor.summary[COMMITS]))
            break
    if (stated and snapshot is None) or (committed is not None and committed != stated):
        raise RefusedState(
            f"table {NAMESPACE}.{name}: its rows are those of commit {committed or 0}, its properties those of "
            f"{stated}: it was set back to an older snapshot; set it to the newest, or drop it and copy anew"
        )


def bound(table: Table, file: DataFile, column: str) -> tuple[object, object] | None:
    """Least and greatest value of a column in a data file, None where the catalog does not know."""
    field = table.schema().find_field(column)
    low, high = (bounds.get(field.field_id) for bounds in (file.lower_bounds or {}, file.upper_bounds or {}))
    if low is None or high is None or not isinstance(field.field_type, PrimitiveType):
        return None
    return from_bytes(field.field_type, low), from_bytes(field.field_type, high)
