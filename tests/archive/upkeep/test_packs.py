"""Compaction and retention: the same archive afterwards, whoever writes, reads, or dies in between."""

import time
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.archive import checkpoint, manifest, snapshot
from pipeline.archive.closed_rows import ClosedRows, FollowedRows
from pipeline.archive.partition import PartitionArchive
from pipeline.archive.streams import TABLES, Limits
from pipeline.archive.upkeep import packs
from pipeline.archive.upkeep.compact import compact
from pipeline.archive.upkeep.compact import plans_of as plans_to_compact
from pipeline.archive.upkeep.diff import compare
from pipeline.archive.upkeep.query import run as query
from pipeline.archive.upkeep.retain import retain
from pipeline.archive.upkeep.verify import verify
from pipeline.errors import RefusedState
from pipeline.runtime.storage.location import open_storage
from pipeline.runtime.storage.storage import Storage
from tests.archive.plant import HOUR_US, MEMORY, Record, Wire, feed, positions, random_log, wire

SENSORS = (("plant", "left"), ("plant", "right"), ("other", "left"))
LIMITS = Limits(rows=8)
DAY_US = 24 * HOUR_US


def later(record: Record, days: int) -> int | None:
    return None if record.end_ts_us is None else record.end_ts_us + days * DAY_US


LOG = [
    replace(
        message, records=tuple(replace(record, end_ts_us=later(record, number // 20)) for record in message.records)
    )
    for number, message in enumerate(random_log(Random(5), 60, SENSORS))
]
TOPICS = wire(LOG, range(0, 60, 4))
BIG = 2**30
LAST_DAY = "2100-01-01"
AT_ONCE = 2.0**40
"""Replaced files are deleted at once: whenever that was, it is before this."""


class Died(Exception):
    """Stands in for SIGKILL."""


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder in memory, for a thousand small files."""
    with TemporaryDirectory(dir=MEMORY) as folder:
        yield Path(folder)


@cache
def _written() -> dict[str, bytes]:
    with TemporaryDirectory(dir=MEMORY) as folder:
        feed(PartitionArchive(folder, 0, LIMITS, "w"), TOPICS, Random(1))
        storage = open_storage(folder)
        return {name: storage.read(name) for name in storage.names("")}


def archive(folder: Path) -> Path:
    for name, data in _written().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def compacted(folder: Path, **options: Any) -> dict[str, Any]:
    return compact(folder, BIG, AT_ONCE, newest=True, **options)


def rows(folder: Path) -> dict[str, pa.Table]:
    """Every closed file's rows, read where they lie."""
    [state] = snapshot.read(folder)
    reader = ClosedRows(folder)
    return {entry.path: reader.read(state.locations[entry.path]) for entry in state.files}


def physical(folder: Path) -> set[str]:
    return {name for table in TABLES for name in open_storage(folder).names(table)}


@pytest.mark.slow
def test_compaction_changes_where_rows_lie_and_nothing_else(tmp_path: Path) -> None:
    folder = archive(tmp_path / "a")
    calm = archive(tmp_path / "calm")
    before = rows(folder)
    document = compacted(folder)
    assert document["files"] == len(before)
    assert document["packs"] < len(before) / 3
    assert all("/packed/" in name for name in physical(folder))
    assert {path: table for path, table in rows(folder).items()} == before
    proof = verify(folder, None)
    assert (proof["problems"], proof["strays"], proof["replaced"]) == ([], [], [])
    difference = compare(calm, folder)
    assert difference["ok"], difference
    assert sum(row["accepted"] + row["late"] + row["rejected"] for row in proof["sensors"]) == len(positions(LOG))


def test_a_second_compaction_has_nothing_to_do(tmp_path: Path) -> None:
    folder = archive(tmp_path)
    compacted(folder)
    before = physical(folder)
    assert compacted(folder)["packs"] == 0
    assert physical(folder) == before


@pytest.mark.slow
def test_the_same_files_make_the_same_bytes(tmp_path: Path) -> None:
    made = []
    for name in ("a", "b"):
        folder = archive(tmp_path / name)
        compacted(folder)
        [state] = snapshot.read(folder)
        made.append([(pack.members, pack.sha256) for added in state.manifests for pack in added.packs])
    assert made[0]
    assert made[0] == made[1]


def test_a_dry_run_does_nothing(tmp_path: Path) -> None:
    folder = archive(tmp_path)
    names = set(open_storage(folder).names(""))
    document = compacted(folder, dry_run=True)
    assert document["packs"] > 0
    purged = retain(folder, LAST_DAY, TABLES, AT_ONCE, dry_run=True)
    assert purged["rows"] == sum(len(table) for table in rows(folder).values())
    assert set(open_storage(folder).names("")) == names


def test_the_newest_day_is_left_alone(tmp_path: Path) -> None:
    folder = archive(tmp_path)
    days = {entry.path.split("date=")[1][:10] for entry in snapshot.read(folder)[0].files if entry.table == "flows"}
    compact(folder, BIG, AT_ONCE)
    packed = {name.split("date=")[1][:10] for name in physical(folder) if "/packed/" in name}
    assert max(days) not in packed


def test_replaced_files_stay_for_their_readers(tmp_path: Path) -> None:
    folder = archive(tmp_path)
    before = physical(folder)
    compact(folder, BIG, time.time() - 3600.0, newest=True)
    assert before < physical(folder)
    proof = verify(folder, None)
    assert proof["ok"]
    assert set(proof["replaced"]) == before
    assert compacted(folder)["deleted"] == len(before)
    assert not before & physical(folder)


@pytest.mark.slow
@pytest.mark.parametrize("when", ["file written", "file placed", "swap added"])
def test_a_compaction_that_dies_leaves_the_archive_whole(tmp_path: Path, when: str) -> None:
    folder = archive(tmp_path)
    before = rows(folder)
    storage = open_storage(folder)
    [state] = snapshot.read(folder)

    def step(name: str) -> None:
        if name == when:
            raise Died

    plan = next(plans_to_compact(state, ClosedRows(folder), BIG, newest=True))
    with pytest.raises(Died):
        packs.swap(storage, plan, state, "dies", step)
    assert verify(folder, None)["problems"] == []
    assert rows(folder) == before
    compacted(folder)
    assert rows(folder) == before
    assert verify(folder, None)["problems"] == []


@pytest.mark.slow
def test_a_writer_continues_through_a_compaction(tmp_path: Path) -> None:
    """A swap between two commits of the owner is read, and the owner continues; its files of that time stay its own."""
    calm = archive(tmp_path / "calm")
    folder = tmp_path / "archive"
    turns = [0]

    def step(name: str) -> None:
        if name in ("file placed", "segment written", "manifest added"):
            turns[0] += 1
            if turns[0] % 5 == 0:
                compacted(folder)

    feed(PartitionArchive(folder, 0, LIMITS, "w", step), TOPICS, Random(3))
    assert turns[0] > 20
    assert any(added.packs for added in snapshot.read(folder)[0].manifests)
    assert verify(folder, None)["problems"] == []
    assert compare(calm, folder)["ok"]
    compacted(folder)
    assert compare(calm, folder)["ok"]


def test_a_swap_does_not_hide_a_new_owner(tmp_path: Path) -> None:
    zombie = PartitionArchive(tmp_path, 0, LIMITS, "zombie")
    feed(zombie, Wire(TOPICS.archive[:6], TOPICS.rejects), Random(1))
    compacted(tmp_path)
    replacement = PartitionArchive(tmp_path, 0, LIMITS, "w")
    compacted(tmp_path)
    with pytest.raises(RefusedState, match="another writer"):
        feed(zombie, TOPICS, Random(2))
    feed(replacement, TOPICS, Random(3))
    assert verify(tmp_path, None)["problems"] == []


@pytest.mark.slow
def test_two_compactions_at_once(tmp_path: Path) -> None:
    """The second one finds the files moved and leaves them."""
    folder = archive(tmp_path)
    before = rows(folder)
    [state] = snapshot.read(folder)
    plans = list(plans_to_compact(state, ClosedRows(folder), BIG, newest=True))
    first = [packs.swap(open_storage(folder), plan, state, "first")[0] for plan in plans]
    second = [packs.swap(open_storage(folder), plan, state, "second")[0] for plan in plans]
    assert all(first)
    assert not any(second)
    assert rows(folder) == before


def test_manifests_are_read_once_however_many_packs_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = archive(tmp_path)
    read: list[int] = []

    links = checkpoint.links

    def counted(storage: Storage, partition: int) -> Iterator[manifest.Link]:
        read.append(partition)
        return links(storage, partition)

    monkeypatch.setattr(checkpoint, "links", counted)
    assert compacted(folder)["packs"] > 2
    assert read == [0]


@pytest.mark.slow
def test_what_was_purged_is_still_accounted_for(tmp_path: Path) -> None:
    folder = archive(tmp_path)
    compacted(folder)
    days = sorted({entry.path.split("date=")[1][:10] for entry in snapshot.read(folder)[0].files})
    cut = days[len(days) // 2]
    before = query(folder, "SELECT count(*) FROM flows", 1)["rows"][0][0]
    document = retain(folder, cut, TABLES, AT_ONCE)
    assert document["rows"] > 0
    assert {row["date"] for row in document["days"]} <= {*days, "mixed"}
    proof = verify(folder, None)
    assert (proof["problems"], proof["strays"]) == ([], [])
    assert sum(row["accepted"] + row["late"] + row["rejected"] for row in proof["sensors"]) == len(positions(LOG))
    assert sum(row["given_up"] for row in proof["sensors"]) >= document["rows"]
    gone = sum(row["rows"] for row in document["days"] if row["table"] == "flows")
    assert query(folder, "SELECT count(*) FROM flows", 1)["rows"] == [[before - gone]]
    retained = [entry.path for entry in snapshot.read(folder)[0].readable]
    assert all(path.split("date=")[1][:10] >= cut for path in retained)
    assert retain(folder, cut, TABLES, AT_ONCE)["rows"] == 0
    feed(PartitionArchive(folder, 0, LIMITS, "w"), TOPICS, Random(4))
    assert verify(folder, None)["problems"] == []


def test_one_table_can_be_purged_alone(tmp_path: Path) -> None:
    folder = archive(tmp_path)
    assert {row["table"] for row in retain(folder, LAST_DAY, ("rejects",), AT_ONCE)["days"]} == {"rejects"}
    assert query(folder, "SELECT count(*) FROM rejects", 1)["rows"] == [[0]]
    assert query(folder, "SELECT count(*) > 0 FROM flows", 1)["rows"] == [[True]]
    assert verify(folder, None)["ok"]


def test_a_changed_pack_is_found(tmp_path: Path) -> None:
    folder = archive(tmp_path)
    compacted(folder)
    path = folder / sorted(physical(folder))[0]
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    problems = verify(folder, None)["problems"]
    assert any("SHA-256" in problem and "packed" in problem for problem in problems)
    path.unlink()
    assert any("cannot be read" in problem for problem in verify(folder, None)["problems"])


@pytest.mark.slow
def test_a_pack_of_files_that_are_none_is_refused(tmp_path: Path) -> None:
    folder = archive(tmp_path)
    compacted(folder)
    last = snapshot.read(folder)[0].manifests[-1]
    pack = last.packs[0]
    read = manifest.read_one(open_storage(folder), 0, last.number)
    assert read is not None
    forged = manifest.Manifest(
        0,
        last.number + 1,
        read[1],
        "x",
        last.progress,
        packs=(manifest.Pack("flows/packed/x.parquet", "0" * 64, 1, "flows", (*pack.members, "flows/no.parquet")),),
        format=2,
    )
    assert manifest.append(open_storage(folder), forged)
    assert any("no manifest lists" in problem for problem in verify(folder, None)["problems"])


@pytest.mark.slow
def test_a_broken_chain_costs_no_pack(tmp_path: Path) -> None:
    """Files that a reader can't see for the moment are not deleted: once the chain is restored, all are there."""
    folder = archive(tmp_path)
    compacted(folder)
    before = physical(folder)
    damaged = folder / "_manifests/p0/0000000002.json"
    good = damaged.read_bytes()
    damaged.write_bytes(good[:-20])
    document = compacted(folder)
    assert document["deleted"] == 0
    assert document["skipped"]
    assert retain(folder, LAST_DAY, TABLES, AT_ONCE)["skipped"]
    damaged.write_bytes(good)
    assert physical(folder) == before
    assert verify(folder, None)["ok"]


def test_a_missing_pack_costs_no_original(tmp_path: Path) -> None:
    folder = archive(tmp_path)
    compact(folder, BIG, 0.0, newest=True)
    pack = next(name for name in physical(folder) if "/packed/" in name)
    (folder / pack).unlink()
    before = physical(folder)
    assert packs.sweep(open_storage(folder), snapshot.read(folder), AT_ONCE, dry_run=False) == (0, 0)
    assert physical(folder) == before


def test_a_changed_file_is_put_into_no_pack(tmp_path: Path) -> None:
    folder = archive(tmp_path)
    name = next(snapshot.read(folder)[0].files).path
    # A file that can be read, with the same positions: only its hash differs.
    pq.write_table(pq.read_table(folder / name), folder / name)
    with pytest.raises(RefusedState, match="put into no pack"):
        compacted(folder)
    assert not verify(folder, None)["ok"]


def test_what_a_dead_attempt_left_is_deleted_after_an_hour(tmp_path: Path) -> None:
    folder = archive(tmp_path)
    [state] = snapshot.read(folder)
    plan = next(plans_to_compact(state, ClosedRows(folder), BIG, newest=True))

    def step(name: str) -> None:
        raise Died

    with pytest.raises(Died):
        packs.swap(open_storage(folder), plan, state, "dies", step)
    assert not list(open_storage(folder).names("_tmp"))
    stray = folder / "flows/packed/date=2023-03-10/p0-abc.parquet"
    stray.parent.mkdir(parents=True, exist_ok=True)
    stray.write_bytes(b"PAR1")
    half = folder / "_tmp/pack-1/0.parquet"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"PAR1")
    packs.sweep(open_storage(folder), snapshot.read(folder), time.time(), dry_run=False)
    assert stray.exists() and half.exists()
    packs.sweep(open_storage(folder), snapshot.read(folder), time.time() + 2 * packs.UNFINISHED_S, dry_run=False)
    assert not stray.exists() and not half.exists()


def test_a_swap_that_changes_more_is_refused(tmp_path: Path) -> None:
    folder = archive(tmp_path)
    writer = PartitionArchive(folder, 0, LIMITS, "w")
    last = snapshot.read(folder)[0].manifests[-1]
    read = manifest.read_one(open_storage(folder), 0, last.number)
    assert read is not None
    forged = replace(
        last,
        number=last.number + 1,
        previous=read[1],
        progress=replace(last.progress, records=1),
        packs=(manifest.Pack("flows/packed/x.parquet", "0" * 64, 1, "flows", ()),),
        format=2,
    )
    assert manifest.append(open_storage(folder), forged)
    with pytest.raises(RefusedState, match="changes more"):
        writer._check_owner()
    assert any("changes more" in problem for problem in verify(folder, None)["problems"])


@pytest.mark.slow
def test_readers_follow_rows_that_move_while_they_read(tmp_path: Path) -> None:
    folder = archive(tmp_path)
    before = rows(folder)
    [state] = snapshot.read(folder)
    followed = FollowedRows(folder, state)
    compacted(folder)
    assert {path: followed.read(path) for path in before} == before
    retain(folder, LAST_DAY, TABLES, AT_ONCE)
    again = FollowedRows(folder, snapshot.read(folder)[0])
    assert all(again.read(path) is None for path in before)
