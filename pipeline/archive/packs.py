"""Closed files put together in one, a pack; or, of what is given up, nothing but where in `raw` it came from.

A pack changes where rows lie and nothing else: a manifest still lists every closed file, with its rows, range and
hash, and so does the proof. First the pack is written, then a manifest (a swap) says that it stands in; only long
after that are the files it replaces deleted. A reader has one manifest or the next, and in both every row once.
"""

import hashlib
import mmap
import re
import secrets
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.archive import manifest as chain
from pipeline.archive import paths
from pipeline.archive.closed_rows import ClosedRows
from pipeline.archive.manifest import ClosedFile, Manifest, Pack
from pipeline.archive.numbered import COLUMNS
from pipeline.archive.parquet_file import footer, written_as
from pipeline.archive.partition import CLAIM_ATTEMPTS
from pipeline.archive.snapshot import PartitionSnapshot, read_partition
from pipeline.archive.storage import Step, Storage, no_step
from pipeline.archive.streams import TABLES
from pipeline.errors import Failed

ROW_GROUP_ROWS = 65_536
UNFINISHED_S = 3600.0
"""A pack that no manifest lists, so old, is what an attempt has left that died."""
PACK_FILE = re.compile(rf"^[^/]+/({paths.PACKED}|{paths.GIVEN_UP})/")


@dataclass(frozen=True, slots=True)
class Plan:
    """What goes together into one pack of a partition, in the order in which it will lie there."""

    partition: int
    table: str
    date: str
    entries: tuple[ClosedFile, ...]
    positions_only: bool

    @property
    def kind(self) -> str:
        """The folder such packs lie in."""
        return paths.GIVEN_UP if self.positions_only else paths.PACKED


def swap(archive: Storage, plan: Plan, writer: str, step: Step = no_step) -> Pack | None:
    """Carry a plan out; None where somebody else has moved one of its files meanwhile.

    1. Write the pack under its name. 2. Add the manifest that says so.
    """
    found = read_partition(archive, plan.partition)
    if any(found.places[entry.path].given_up for entry in plan.entries):
        return None
    before = {entry.path: found.places[entry.path] for entry in plan.entries}
    if {where.file for where in before.values()} == {_name(plan)}:
        return None
    pack = _write(archive, plan, ClosedRows(archive), found, step)
    name = f"{writer} {secrets.token_hex(4)}"
    for _attempt in range(CLAIM_ATTEMPTS):
        found = read_partition(archive, plan.partition)
        if any(found.places[path] != where for path, where in before.items()):
            return None
        following = _following(archive, found, pack, name)
        if chain.append(archive, following) is not None:
            step("swap added")
            return pack
    raise Failed(f"archive {archive.uri}, partition {plan.partition}: its writer was faster, {CLAIM_ATTEMPTS} times")


def _following(archive: Storage, found: PartitionSnapshot, pack: Pack, writer: str) -> Manifest:
    """The swap that comes after the last manifest, and changes nothing that its owner goes by."""
    last = found.last
    read = chain.read_one(archive, found.partition, last.number) if last is not None else None
    if last is None or read is None:
        raise Failed(f"archive {archive.uri}, partition {found.partition}: its manifests are gone")
    return Manifest(
        partition=found.partition,
        number=last.number + 1,
        previous=read[1],
        writer=writer,
        progress=last.progress,
        open=last.open,
        packs=(pack,),
        format=chain.FORMAT_OF_SWAPS,
    )


def _name(plan: Plan) -> str:
    return paths.pack(plan.table, plan.kind, plan.date, plan.partition, (entry.path for entry in plan.entries))


def _write(archive: Storage, plan: Plan, reader: ClosedRows, found: PartitionSnapshot, step: Step) -> Pack:
    members, name = tuple(entry.path for entry in plan.entries), _name(plan)
    columns = COLUMNS if plan.positions_only else None
    span = min(entry.first for entry in plan.entries), max(entry.last for entry in plan.entries)
    with tempfile.TemporaryFile() as file:
        tables = (reader.read(found.places[entry.path], columns) for entry in plan.entries)
        _render(file, tables, footer(plan.partition, *span))
        file.flush()
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        sha256 = hashlib.sha256(data).hexdigest()
        archive.place(name, data, sha256, f"_tmp/pack-{secrets.token_hex(8)}/0.parquet", step)
    archive.settle([name])
    return Pack(name, sha256, len(data), plan.table, members, plan.positions_only)


def _render(file: IO[bytes], tables: Iterator[pa.Table], foot: dict[str, str]) -> None:
    """Tables of one schema, one after another, in row groups of one size: the same tables give the same bytes."""
    writer: pq.ParquetWriter | None = None
    waiting: list[pa.Table] = []
    rows = 0
    for table in tables:
        writer = writer or pq.ParquetWriter(file, table.schema, **written_as(table.schema))
        waiting.append(table)
        rows += len(table)
        while rows >= ROW_GROUP_ROWS:
            whole = pa.concat_tables(waiting)
            writer.write_table(whole.slice(0, ROW_GROUP_ROWS).combine_chunks(), ROW_GROUP_ROWS)
            waiting, rows = [whole.slice(ROW_GROUP_ROWS)], rows - ROW_GROUP_ROWS
    if writer is not None:
        if rows:
            writer.write_table(pa.concat_tables(waiting).combine_chunks(), ROW_GROUP_ROWS)
        writer.add_key_value_metadata(foot)
        writer.close()


def sweep(archive: Storage, snapshots: Sequence[PartitionSnapshot], before_s: float, dry_run: bool) -> tuple[int, int]:
    """Delete what packs had replaced by `before_s` (seconds since the epoch), and packs never listed.

    Gives back how many files that were, and how many replaced ones still stay for those who read them.
    """
    replaced_by: dict[str, bool] = {}
    known: set[str] = set()
    for found in snapshots:
        current = {where.file for where in found.places.values()}
        replaced: dict[str, str] = {}
        places = {entry.path: entry.path for entry in found.files}
        known |= set(places)
        for one in found.manifests:
            for pack in one.packs:
                known.add(pack.path)
                for member in pack.members:
                    replaced[places[member]] = paths.manifest(found.partition, one.number)
                    places[member] = pack.path
        old: dict[str, bool] = {}
        for file, by in replaced.items():
            if by not in old:
                old[by] = archive.written_s(by) <= before_s
            if file not in current:
                replaced_by[file] = old[by]
    there = {name for table in TABLES for name in archive.names(table)}
    gone = [name for name, old_enough in replaced_by.items() if old_enough and name in there]
    stay = sum(name in there for name in replaced_by) - len(gone)
    gone += [
        name
        for name in sorted(there - known)
        if PACK_FILE.match(name) and archive.written_s(name) <= before_s - UNFINISHED_S
    ]
    if not dry_run:
        for name in gone:
            archive.delete(name)
    return len(gone), stay


def alike(
    found: PartitionSnapshot, entries: Iterable[ClosedFile], reader: ClosedRows, positions_only: bool
) -> list[tuple[str, str, list[ClosedFile]]]:
    """Closed files that can go together: table, date, and those of one schema, sensor after sensor.

    Within a pack a sensor's files follow in the order they closed, which is the order a replay reads them in.
    """
    groups: dict[tuple[str, str, bytes], list[ClosedFile]] = {}
    for entry in entries:
        schema = reader.schema(found.places[entry.path])
        if positions_only:
            schema = pa.schema([schema.field(name) for name in COLUMNS if name in schema.names])
        key = entry.table, paths.date_of(entry.path), schema.serialize().to_pybytes()
        groups.setdefault(key, []).append(entry)
    return [
        (table, date, sorted(some, key=lambda entry: (entry.site, entry.sensor)))
        for (table, date, _), some in sorted(groups.items())
    ]
