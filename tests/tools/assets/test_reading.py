"""The inventory of an archive is that of its rows: closed files, late rows, one site or all."""

from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.archive.pairing import read_scored
from pipeline.archive.partition import PartitionArchive
from pipeline.archive.streams import Limits
from pipeline.archive.upkeep.compact import compact
from pipeline.archive.upkeep.query import read_contents
from pipeline.archive.upkeep.retain import retain
from pipeline.errors import Failed
from pipeline.settings import load_settings
from pipeline.tools.assets import inventory_file
from pipeline.tools.assets import reading as module
from pipeline.tools.assets.inventory import Bounds, Inventory, inventory_of
from pipeline.tools.assets.inventory_file import ClosedInventory, decode, encode
from pipeline.tools.assets.reading import Reading, read_inventory
from pipeline.tools.assets.sightings import KINDS, SENSORS
from tests.archive.plant import Wire, feed, random_log, wire
from tests.contracts.facts import at

SITES = (("plant", "left"), ("it's", "right"))


@pytest.fixture(scope="module")
def topics() -> Wire:
    return wire(random_log(Random(4), 60, SITES), range(0, 60, 5))


@pytest.fixture(scope="module")
def archive(topics: Wire, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive")
    feed(PartitionArchive(folder, 0, Limits(9), "w"), topics, Random(1))
    return folder


def same(left: Inventory, right: Inventory) -> bool:
    return all(left.table(kind).equals(right.table(kind)) for kind in KINDS)


def test_an_archive_is_the_rows_that_were_archived(archive: Path, topics: Wire) -> None:
    calls: list[tuple[int, int]] = []
    reading = read_inventory(archive, None, None, lambda done, total: calls.append((done, total)))
    rows = [read_scored(value, at("archive", 0, 0)).rows for value in topics.archive]
    assert same(reading.inventory, inventory_of(rows))
    assert reading.rows == sum(map(len, rows)) == calls[-1][0] and calls[-1][1] >= reading.rows
    assert reading.open_rows is None and reading.closed_files > 1 and reading.not_read == []


def test_rows_that_are_still_open_are_there_too(tmp_path: Path) -> None:
    topics = wire(random_log(Random(4), 40, SITES, marks=False), range(0, 40, 5))
    feed(PartitionArchive(tmp_path, 0, Limits(9), "w"), topics, Random(1))
    # Kafka is away: closed files, and the segments that the manifest lists.
    reading = read_inventory(tmp_path, load_settings(bootstrap="127.0.0.1:9"), None, lambda _done, _total: None)
    rows = [read_scored(value, at("archive", 0, 0)).rows for value in topics.archive]
    assert reading.open_rows and same(reading.inventory, inventory_of(rows))
    assert len(reading.not_read) == 1 and "rows that came after the archive's last commit" in reading.not_read[0]


def test_one_site_is_that_sites_rows(archive: Path) -> None:
    reading = read_inventory(archive, None, "it's", lambda _done, _total: None)
    assert {row["site"] for row in reading.inventory.table(SENSORS).to_pylist()} == {"it's"}
    assert not read_inventory(archive, None, "' OR 1=1 --", lambda _done, _total: None).rows


def test_an_empty_archive_is_an_empty_inventory(tmp_path: Path) -> None:
    reading = read_inventory(tmp_path, None, None, lambda _done, _total: None)
    assert same(reading.inventory, Inventory()) and reading.rows == 0


def test_a_file_that_cannot_be_read_names_the_remedy(archive: Path, topics: Wire, tmp_path: Path) -> None:
    feed(PartitionArchive(tmp_path, 0, Limits(9), "w"), topics, Random(1))
    next(tmp_path.glob("flows/**/*.parquet")).write_bytes(b"no parquet file at all")
    with pytest.raises(Failed, match="`forebay archive verify` says what is wrong"):
        read_inventory(tmp_path, None, None, lambda _done, _total: None)


class Kept:
    """Reads an archive with a folder of snapshots, and counts the rows that it read for that."""

    def __init__(self, archive: Path, folder: Path, site: str | None = None) -> None:
        self._archive, self._folder, self._site = archive, folder, site

    def __call__(self) -> tuple[Reading, int]:
        known: list[int] = []
        plain = read_inventory(self._archive, None, self._site, lambda _done, _total: None)
        reading = read_inventory(self._archive, None, self._site, lambda done, _total: known.append(done), self._folder)
        assert same(reading.inventory, plain.inventory) and reading.inventory.no_room == plain.inventory.no_room
        assert (reading.rows, reading.closed_files) == (plain.rows, plain.closed_files)
        return reading, len(known)


def grown(folder: Path, partition: int) -> None:
    topics = wire(random_log(Random(partition), 14, SITES), range(0, 14, 5), partition=partition)
    feed(PartitionArchive(folder, partition, Limits(9), "w"), topics, Random(1))


def test_what_was_read_before_is_not_read_again(tmp_path: Path) -> None:
    archive, kept = tmp_path / "archive", Kept(tmp_path / "archive", tmp_path / "kept")
    grown(archive, 0)
    first, batches = kept()
    assert first.rows and batches
    assert kept()[1] == 0, "nothing is new"
    grown(archive, 1)
    more, batches = kept()
    assert more.rows > first.rows and batches
    assert read_inventory(archive, None, None, _never, tmp_path / "kept").rows == more.rows
    assert Kept(archive, tmp_path / "kept", "it's")()[0].rows < more.rows


def _never(_done: int, _total: int) -> None:
    raise AssertionError("a row was read")


def test_compaction_and_retention_change_nothing_that_is_not_so(tmp_path: Path) -> None:
    archive, kept = tmp_path / "archive", Kept(tmp_path / "archive", tmp_path / "kept")
    grown(archive, 0)
    before, _ = kept()
    assert compact(archive, 2**30, 2.0**40, newest=True)["packs"]
    assert kept()[1] == 0, "the rows are the same, in other files"
    grown(archive, 0)  # goes on where it was: nothing
    grown(archive, 1)
    assert compact(archive, 2**30, 2.0**40, newest=True)["packs"]
    kept()
    purged = retain(archive, "2200-01-01", ("flows",), 2.0**40)
    assert purged["rows"] and kept()[0].rows < before.rows


def test_files_that_are_packed_with_new_ones_are_read_again(tmp_path: Path) -> None:
    archive, kept = tmp_path / "archive", Kept(tmp_path / "archive", tmp_path / "kept")
    grown(archive, 0)
    hashes = sorted(module._hashes(read_contents(archive)))
    some = ClosedInventory(frozenset(hashes[: len(hashes) // 2]), 5, Inventory())
    compact(archive, 2**30, 2.0**40, newest=True)
    (tmp_path / "kept").mkdir()
    module._snapshot_file(tmp_path / "kept", archive, None).write_bytes(encode(some))
    assert kept()[1] > 0


@pytest.mark.parametrize("damage", [b"", b"ARROW1", b"\x00" * 4_000])
def test_a_damaged_snapshot_is_made_anew(tmp_path: Path, damage: bytes) -> None:
    archive, kept = tmp_path / "archive", Kept(tmp_path / "archive", tmp_path / "kept")
    grown(archive, 0)
    kept()
    [file] = (tmp_path / "kept").iterdir()
    file.write_bytes(damage)
    assert kept()[1] > 0 and kept()[1] == 0


def test_a_snapshot_of_other_code_is_of_no_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive, kept = tmp_path / "archive", Kept(tmp_path / "archive", tmp_path / "kept")
    grown(archive, 0)
    kept()
    monkeypatch.setattr(inventory_file, "_version", lambda: "another")
    assert kept()[1] > 0


def test_a_folder_that_cannot_be_written_says_nothing(tmp_path: Path) -> None:
    grown(tmp_path / "archive", 0)
    (tmp_path / "kept").write_text("a file")
    assert Kept(tmp_path / "archive", tmp_path / "kept")()[1] > 0


def test_only_the_newest_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SNAPSHOTS", 2)
    grown(tmp_path / "archive", 0)
    for site in ("plant", "it's", None):
        read_inventory(tmp_path / "archive", None, site, lambda _done, _total: None, tmp_path / "kept")
    assert len(list((tmp_path / "kept").iterdir())) == 2


def test_what_found_no_room_is_kept(topics: Wire) -> None:
    rows = [read_scored(value, at("archive", 0, 0)).rows for value in topics.archive]
    full = inventory_of(rows, Bounds(addresses=3, edges=2))
    again = decode(bytes(encode(ClosedInventory(frozenset({"a"}), 7, full))))
    assert again is not None and again.inventory.no_room == full.no_room != {} and same(again.inventory, full)
    assert (again.hashes, again.rows) == (frozenset({"a"}), 7)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_snapshot_or_nothing(data: bytes) -> None:
    assert decode(data) is None
