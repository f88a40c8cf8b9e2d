"""Packs: many closed files merged into one file; or, of rows that are purged, only where in `raw` they came from.

A pack changes where rows lie and nothing else: a manifest still lists every closed file, with its rows, range and
hash, and so does the proof. First the pack is written, then a manifest (a swap) says that it stands in; only long
after that are the files it replaces deleted. A reader has one manifest or the next, and in both every row once.
"""

import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.archive import checkpoint, paths
from pipeline.archive import manifest as chain
from pipeline.archive.closed_rows import ClosedRows
from pipeline.archive.manifest import ClosedFile, Manifest, Pack
from pipeline.archive.parquet import footer, writer_options
from pipeline.archive.partition import CLAIM_ATTEMPTS
from pipeline.archive.snapshot import PartitionSnapshot, read_on
from pipeline.archive.streams import TABLES
from pipeline.archive.upkeep.exporter_loss.records import COLUMNS
from pipeline.errors import Failed, RefusedState
from pipeline.runtime.storage.storage import Step, Storage, buffered, no_step

ROW_GROUP_ROWS = 65_536
MAX_MEMBERS = 4_096
UNFINISHED_S = 3600.0
"""A pack of this age that no manifest lists was left by an attempt that died."""
PACK_FILE = re.compile(rf"^[^/]+/(?:{paths.PACKED}|{paths.PURGED})/date=[^/]*/p(\d+)-[^/]*$")


Notify = Callable[[int, int], None]
"""Reports packs made, of how many."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The closed files that become one pack of a partition, in the order they have there."""

    partition: int
    table: str
    date: str
    entries: tuple[ClosedFile, ...]
    positions_only: bool

    @property
    def kind(self) -> str:
        """The folder such packs lie in."""
        return paths.PURGED if self.positions_only else paths.PACKED


def swap(
    archive: Storage, plan: Plan, snapshot: PartitionSnapshot, writer: str, step: Step = no_step
) -> tuple[Pack | None, PartitionSnapshot]:
    """Carry a plan out: the pack, None where somebody else has moved one of its files meanwhile; and the partition's
    newest snapshot, which the next plan is carried out on.

    1. Write the pack under its name. 2. Add the manifest that says so. RefusedState where a file is not what its
    manifest says: a pack would make it look whole.
    """
    snapshot = _whole(read_on(archive, snapshot))
    before = {entry.path: snapshot.locations[entry.path] for entry in plan.entries}
    same_file = len({where.file for where in before.values()}) == 1
    if any(where.purged for where in before.values()) or (same_file and not plan.positions_only):
        return None, snapshot
    pack = _write(archive, plan, snapshot, step)
    name = f"{writer} {secrets.token_hex(4)}"
    for _attempt in range(CLAIM_ATTEMPTS):
        snapshot = _whole(read_on(archive, snapshot))
        if not all(where.same_as(snapshot.locations[path]) for path, where in before.items()):
            return None, snapshot
        if chain.append(archive, _following(archive, snapshot, pack, name)) is not None:
            step("swap added")
            if not archive.has(pack.path):
                raise RefusedState(
                    f"archive {archive.uri}: {pack.path} was deleted before it was listed: this process stood still "
                    "for an hour; the files it replaces are there, `forebay archive verify` says which"
                )
            return pack, snapshot
    raise Failed(f"archive {archive.uri}, partition {plan.partition}: its writer was faster, {CLAIM_ATTEMPTS} times")


def swap_all(
    archive: Storage, plans: Sequence[Plan], snapshots: Iterable[PartitionSnapshot], writer: str, notify: Notify
) -> tuple[list[tuple[Plan, Pack]], list[PartitionSnapshot]]:
    """Carry plans out, one after another. Returns those that were, each with its pack, and the newest snapshots.

    Every pack is a manifest: where many have been made, checkpoints sum them up.
    """
    newest = {snapshot.partition: snapshot for snapshot in snapshots}
    made = []
    for number, plan in enumerate(plans):
        notify(number, len(plans))
        pack, newest[plan.partition] = swap(archive, plan, newest[plan.partition], writer)
        if pack is not None:
            made.append((plan, pack))
    for partition in sorted({plan.partition for plan, _ in made}):
        checkpoint.extend(archive, partition)
    return made, list(newest.values())


def _whole(snapshot: PartitionSnapshot) -> PartitionSnapshot:
    if snapshot.problem:
        raise RefusedState(snapshot.problem)
    return snapshot


def _following(archive: Storage, snapshot: PartitionSnapshot, pack: Pack, writer: str) -> Manifest:
    """The swap that follows the last manifest; it changes nothing that the partition's owner relies on."""
    last = snapshot.last
    newest = chain.read_one(archive, snapshot.partition, last.number) if last is not None else None
    if last is None or newest is None:
        raise Failed(f"archive {archive.uri}, partition {snapshot.partition}: its manifests are gone")
    return Manifest(
        partition=snapshot.partition,
        number=last.number + 1,
        previous=newest[1],
        writer=writer,
        progress=last.progress,
        open=last.open,
        packs=(pack,),
        format=chain.FORMAT_OF_SWAPS,
    )


def _write(archive: Storage, plan: Plan, snapshot: PartitionSnapshot, step: Step) -> Pack:
    members = tuple(entry.path for entry in plan.entries)
    name = paths.pack(plan.table, plan.kind, plan.date, plan.partition, secrets.token_hex(12))
    staging = f"_tmp/pack-{secrets.token_hex(8)}"
    span = min(entry.first for entry in plan.entries), max(entry.last for entry in plan.entries)
    _check_hashes(archive, plan, snapshot)
    try:
        with archive.staged(f"{staging}/0.parquet") as sink, buffered(sink) as file:
            _render(file, _tables(archive, plan, snapshot), footer(plan.partition, *span))
        sha256 = sink.digest.hexdigest()
        archive.place(f"{staging}/0.parquet", name, sha256, step)
        archive.sync([name])
    finally:
        archive.delete_folder(staging)
    return Pack(name, sha256, sink.size, plan.table, members, plan.positions_only)


def _check_hashes(archive: Storage, plan: Plan, snapshot: PartitionSnapshot) -> None:
    """RefusedState where a file that rows are taken from is not what its manifest says."""
    wanted: dict[str, str] = {}
    for entry in plan.entries:
        where = snapshot.locations[entry.path]
        wanted[where.file] = entry.sha256 if where.pack is None else where.pack.sha256
    for name, sha256 in wanted.items():
        try:
            right = archive.sha256(name) == sha256
        except FileNotFoundError:
            right = False
        if not right:
            raise RefusedState(
                f"archive {archive.uri}: {name} is not what its manifest says, and is put into no pack; restore it "
                "from a copy (`forebay archive verify` looks at all)"
            )


def _tables(archive: Storage, plan: Plan, snapshot: PartitionSnapshot) -> Iterator[pa.Table]:
    reader = ClosedRows(archive)
    for entry in plan.entries:
        table = reader.read(snapshot.locations[entry.path], COLUMNS if plan.positions_only else None)
        if len(table) != entry.rows:
            raise RefusedState(
                f"archive {archive.uri}: {entry.path}: {len(table)} rows, its manifest says {entry.rows}"
            )
        yield table


def _render(file: pa.NativeFile, tables: Iterator[pa.Table], foot: dict[str, str]) -> None:
    """Tables of one schema, one after another, in row groups of one size: the same tables give the same bytes."""
    writer: pq.ParquetWriter | None = None
    waiting: list[pa.Table] = []
    rows = 0
    for table in tables:
        writer = writer or pq.ParquetWriter(file, table.schema, **writer_options(table.schema))
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


def sweep(archive: Storage, partitions: Iterable[PartitionSnapshot], before_s: float, dry_run: bool) -> tuple[int, int]:
    """Delete what packs had replaced by `before_s` (seconds since the epoch), and what attempts that died have left.

    Returns how many files that were, and how many replaced ones stay, for those who still read them. Of a partition
    whose chain is broken, or of which a listed file is missing, nothing is deleted: it may be all there is.
    """
    snapshots = [read_on(archive, snapshot) for snapshot in partitions if not snapshot.problem]
    there = {name for table in TABLES for name in archive.names(table)}
    sound = [snapshot for snapshot in snapshots if not snapshot.problem and snapshot.current <= there]
    gone: list[str] = []
    stay = 0
    for snapshot in sound:
        replaced = _replaced(archive, snapshot, before_s)
        old = [name for name, since in replaced.items() if since and name in there]
        stay += sum(name in there for name in replaced) - len(old)
        gone += old
    known = {snapshot.partition: snapshot.known for snapshot in sound}
    for name in sorted(there):
        match = PACK_FILE.match(name)
        if match and int(match[1]) in known and name not in known[int(match[1])]:
            gone += [name] * _is_old(archive, name, before_s - UNFINISHED_S)
    if not dry_run:
        for name in gone:
            archive.delete(name)
        for folder in archive.folders("_tmp"):
            half = list(archive.names(f"_tmp/{folder}")) if folder.startswith("pack-") else []
            if half and all(_is_old(archive, name, before_s - UNFINISHED_S) for name in half):
                archive.delete_folder(f"_tmp/{folder}")
    return len(gone), stay


def _replaced(archive: Storage, snapshot: PartitionSnapshot, before_s: float) -> dict[str, bool]:
    """Files whose rows have moved, and whether the manifest that says so was written by `before_s`."""
    said: dict[str, str] = {}
    locations = {entry.path: entry.path for entry in snapshot.files}
    for manifest in snapshot.manifests:
        for pack in manifest.packs:
            for member in pack.members:
                said[locations[member]] = paths.manifest(snapshot.partition, manifest.number)
                locations[member] = pack.path
    old = {by: _is_old(archive, by, before_s) for by in set(said.values())}
    current = snapshot.current
    return {name: old[by] for name, by in said.items() if name not in current}


def _is_old(archive: Storage, name: str, before_s: float) -> bool:
    """Whether a file was written by then; False where it is already gone."""
    try:
        return archive.written_s(name) <= before_s
    except FileNotFoundError:
        return False


def group_by_schema(
    snapshot: PartitionSnapshot, entries: Iterable[ClosedFile], reader: ClosedRows, positions_only: bool
) -> list[tuple[str, str, list[ClosedFile]]]:
    """Closed files that can form a pack: table, date, and those of one schema, sensor after sensor.

    Within a pack a sensor's files follow in the order they closed, which is the order a replay reads them in.
    """
    groups: dict[tuple[str, str, bytes], list[ClosedFile]] = {}
    for entry in entries:
        schema = reader.schema(snapshot.locations[entry.path])
        if positions_only:
            schema = pa.schema([schema.field(name) for name in COLUMNS if name in schema.names])
        key = entry.table, paths.date_of(entry.path), schema.serialize().to_pybytes()
        groups.setdefault(key, []).append(entry)
    return [
        (table, date, sorted(some, key=lambda entry: (entry.site, entry.sensor)))
        for (table, date, _), some in sorted(groups.items())
    ]
