"""The inventory of an archive is that of its rows: closed files, late rows, one site or all."""

from pathlib import Path
from random import Random

import pytest

from pipeline.archive.pairing import read_scored
from pipeline.archive.partition import PartitionArchive
from pipeline.archive.streams import Limits
from pipeline.errors import Failed
from pipeline.settings import load_settings
from pipeline.tools.assets.inventory import Inventory, inventory_of
from pipeline.tools.assets.reading import read_inventory
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
