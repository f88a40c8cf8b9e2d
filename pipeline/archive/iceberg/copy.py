"""Copy into the tables what the archive's manifests list and the tables lack, every row once.

A commit is one Iceberg transaction: data files, deletes, and the table's new position. So whatever dies in between,
and whoever else commits, a table holds the rows up to the position it states: the next run continues from there.
"""

import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial, reduce
from itertools import count

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException, CommitStateUnknownException
from pyiceberg.expressions import BooleanExpression, In, Or
from pyiceberg.io.pyarrow import pyarrow_to_schema, write_file
from pyiceberg.manifest import DataFile
from pyiceberg.partitioning import PartitionFieldValue, PartitionKey
from pyiceberg.table import Table, WriteTask

from pipeline.archive.closed_rows import FollowedRows
from pipeline.archive.iceberg import position, rows, tables
from pipeline.archive.iceberg.position import Ahead, Links, Position
from pipeline.archive.manifest import ClosedFile
from pipeline.archive.streams import TABLES
from pipeline.errors import Failed, RefusedState
from pipeline.runtime.storage.location import StorageLike, open_storage
from pipeline.runtime.storage.storage import Step, Storage, no_step

MAX_ROWS, MAX_FILES, MAX_PURGED = 2_097_152, 256, 4_096
"""A commit holds at most so much, and a closed file or pack more; rows are in memory for one closed file at a time."""
NAMES_AT_ONCE = 200
"""pyiceberg compares a file's bounds with a list of at most so many values; beyond, it would read and rewrite files."""
ATTEMPTS = 100

Notify = Callable[[int, int], None]
"""Closed files copied, of how many."""
Stopped = Callable[[], bool]
"""Asked after every closed file; True: commit what there is, and leave the rest."""


@dataclass
class Done:
    """What was done to a table."""

    files: int = 0
    rows: int = 0
    given_up: int = 0  # closed files that were purged: their rows are deleted, as far as the table had them
    commits: int = 0


@dataclass
class _Group:
    """The contents of the next commit."""

    positions: dict[int, Position]
    data: list[DataFile] = field(default_factory=list)
    rows: int = 0
    purged: list[str] = field(default_factory=list)

    @property
    def full(self) -> bool:
        return self.rows >= MAX_ROWS or len(self.data) >= MAX_FILES or len(self.purged) >= MAX_PURGED


def copy(
    archive: StorageLike,
    catalog: Catalog,
    notify: Notify = lambda _done, _all: None,
    stopped: Stopped = lambda: False,
    step: Step = no_step,
) -> dict[str, dict[str, int]]:
    """Bring all tables up to where the archive is now; per table: files, rows, given_up, commits.

    RefusedState where a table was copied from another chain. Steps: `data file written`, `commit staged`, `committed`.
    """
    storage = open_storage(archive)
    done = {name: Done() for name in TABLES}
    for _attempt in range(ATTEMPTS):
        try:
            by_name = {name: tables.find_or_make(catalog, name) for name in TABLES}
            # The archive is read after the tables: then it is at least as far as they are.
            chains = position.read(storage)
            copies = [_Copy(storage, table, name, chains, done[name], step) for name, table in by_name.items()]
            whole, seen = sum(each.files_ahead for each in copies), count(1)
            for each in copies:
                each.run(partial(_notify, notify, seen, whole), stopped)
        except (CommitFailedException, CommitStateUnknownException):
            # Somebody else has committed, or it is not known whether we have: the table states its position.
            continue
        return {name: vars(result) for name, result in done.items()}
    raise Failed(f"catalog {catalog.name}: another committer was faster, {ATTEMPTS} times; stop the others")


def _notify(notify: Notify, seen: Iterator[int], whole: int) -> None:
    notify(next(seen), whole)


class _Copy:
    """One table, brought up to the archive's manifests."""

    def __init__(
        self, archive: Storage, table: Table, name: str, chains: Mapping[int, Links], done: Done, step: Step
    ) -> None:
        self._archive, self._table, self._name, self._chains = archive, table, name, chains
        self._done, self._step = done, step
        self._rows: dict[int, FollowedRows] = {}
        self._at = position.decode(table.properties, name)
        for partition in self._at.keys() | chains.keys():
            if partition not in chains:
                raise RefusedState(
                    f"table {name} was copied from partition {partition}, archive {archive.uri} has none of it; it is "
                    "another archive: drop the table and copy anew"
                )
            chains[partition].check(self._at.get(partition), name, archive.uri)

    @property
    def files_ahead(self) -> int:
        """Closed files that are not yet copied into the table."""
        return sum(item.entry is not None for _partition, item in self._ahead())

    def _ahead(self) -> Iterator[tuple[int, Ahead]]:
        for partition, links in self._chains.items():
            for item in links.ahead(self._at.get(partition), self._name):
                yield partition, item

    def run(self, notify: Callable[[], None], stopped: Stopped) -> None:
        """Copy what is ahead, one commit after another."""
        group = _Group(dict(self._at))
        for partition, item in self._ahead():
            if stopped():
                break
            if item.entry is not None:
                self._add(group, partition, item.entry)
                notify()
            group.purged += item.purged
            group.positions[partition] = item.position
            if group.full:
                self._commit(group)
                group = _Group(group.positions)
        # A position alone is not committed: it would not be tied to a snapshot that nobody else has replaced.
        if group.data or group.purged:
            self._commit(group)

    def _add(self, group: _Group, partition: int, entry: ClosedFile) -> None:
        """Write a closed file's rows as a data file; nothing, where they have been purged."""
        read = self._read(partition, entry)
        if read is None:
            return
        if len(read) != entry.rows or not entry.rows:
            raise RefusedState(
                f"{self._archive.uri}: {entry.path} holds {len(read)} rows, its manifest states {entry.rows}; `forebay "
                "archive verify` says what is wrong"
            )
        converted = rows.convert(read, entry)
        tables.has_columns(self._table, converted.schema)
        schema, spec = self._table.schema(), self._table.spec()
        task = WriteTask(
            uuid.uuid4(),
            0,
            pyarrow_to_schema(converted.schema, name_mapping=schema.name_mapping),
            converted.to_batches(),
            partition_key=PartitionKey([PartitionFieldValue(spec.fields[0], rows.day(entry))], spec, schema),
        )
        group.data += write_file(self._table.io, self._table.metadata, iter([task]))
        group.rows += len(read)
        self._step("data file written")

    def _read(self, partition: int, entry: ClosedFile) -> pa.Table | None:
        """A closed file's rows, wherever they lie; they may have been moved or purged since the chain was read."""
        if partition not in self._rows:
            self._rows[partition] = FollowedRows(self._archive, self._chains[partition].snapshot)
        return self._rows[partition].read(entry.path)

    def _commit(self, group: _Group) -> None:
        """Commit rows, deletes and position in one transaction, which fails where somebody else has committed."""
        tables.keep_properties(self._table)
        number = tables.commits(self._table.properties) + 1
        summary = {tables.COMMITS: str(number)}
        before = self._table.metadata.current_snapshot_id
        changing = self._table.transaction()
        if group.purged and before is not None:
            with warnings.catch_warnings():
                # Files that were purged before they were copied are not there.
                warnings.filterwarnings("ignore", "Delete operation did not match any records", UserWarning)
                changing.delete(reduce(Or, _named(group.purged)), snapshot_properties=summary)
        if group.data:
            with changing.update_snapshot(snapshot_properties=summary).merge_append() as adding:
                for file in group.data:
                    adding.append_data_file(file)
        if changing.table_metadata.current_snapshot_id == before:
            return
        changing.set_properties({tables.COMMITS: str(number), **position.encode(group.positions)})
        self._step("commit staged")
        # Where this fails the data files stay: the commit may have succeeded and only the answer been lost.
        changing.commit_transaction()
        self._step("committed")
        self._done.files += len(group.data)
        self._done.rows += group.rows
        self._done.given_up += len(group.purged)
        self._done.commits += 1


def _named(files: list[str]) -> Iterator[BooleanExpression]:
    for first in range(0, len(files), NAMES_AT_ONCE):
        some = files[first : first + NAMES_AT_ONCE]
        yield In(rows.ARCHIVE_FILE, some)  # type: ignore[call-arg, arg-type] # as pyiceberg documents it
