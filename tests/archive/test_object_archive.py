"""The whole archive in a bucket: crashes, two writers, compaction, retention, queries, tampering."""

from pathlib import Path
from random import Random

import pytest

from pipeline.archive import snapshot
from pipeline.archive.partition import PartitionArchive
from pipeline.archive.streams import TABLES, Limits
from pipeline.archive.upkeep.compact import compact
from pipeline.archive.upkeep.diff import compare
from pipeline.archive.upkeep.query import run as query
from pipeline.archive.upkeep.retain import retain
from pipeline.archive.upkeep.verify import account, verify
from pipeline.errors import RefusedState, Usage
from pipeline.runtime.storage.location import open_storage
from tests.archive.plant import Wire, feed, positions, random_log, wire
from tests.runtime.storage.bucket import bucket, endpoint, new_bucket

__all__ = ["bucket", "endpoint"]
pytestmark = pytest.mark.slow

SENSORS = (("plant", "left"), ("plant", "right"))
LIMITS = Limits(rows=12)
LOG = random_log(Random(8), 40, SENSORS)
TOPICS = wire(LOG, range(0, 40, 4))
POINTS = ("claimed", "segment written", "file written", "file placed", "manifest added", "segments deleted")
AT_ONCE = 2.0**40


class Died(Exception):
    """Stands in for SIGKILL."""


def owner(uri: str | Path) -> PartitionArchive:
    return PartitionArchive(uri, 0, LIMITS, "w")


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("calm")
    feed(owner(folder), TOPICS, Random(1))
    return folder


# In a folder every run tests every point (test_determinism.py); in a bucket only the deciding one.
@pytest.mark.parametrize(
    "point", [pytest.param(each, marks=[] if each == "manifest added" else [pytest.mark.nightly]) for each in POINTS]
)
def test_a_crash_at_every_step_leaves_the_same_archive(endpoint: str, calm: Path, point: str) -> None:
    uri = new_bucket(endpoint)
    for count in (1, 2, 4):
        left = [count]

        def step(name: str, left: list[int] = left) -> None:
            left[0] -= name == point
            if left[0] == 0 and name == point:
                raise Died

        try:
            feed(PartitionArchive(uri, 0, LIMITS, "w", step), TOPICS, Random(count))
        except Died:
            continue
    feed(owner(uri), TOPICS, Random(9))
    proof = verify(uri, None)
    assert (proof["problems"], proof["strays"]) == ([], [])
    difference = compare(calm, uri)
    assert difference["ok"], difference
    assert sum(row["accepted"] + row["late"] + row["rejected"] for row in account(uri)) == len(positions(LOG))


def test_of_two_writers_the_first_is_refused(bucket: str, calm: Path) -> None:
    zombie = owner(bucket)
    feed(zombie, Wire(TOPICS.archive[:4], TOPICS.rejects), Random(1))
    replacement = owner(bucket)
    with pytest.raises(RefusedState, match="another writer"):
        feed(zombie, TOPICS, Random(2))
    feed(replacement, TOPICS, Random(3))
    assert verify(bucket, None)["problems"] == []
    assert compare(calm, bucket)["ok"]


def test_compaction_retention_and_queries(bucket: str, calm: Path) -> None:
    feed(owner(bucket), TOPICS, Random(1))
    made = compact(bucket, 2**30, AT_ONCE, newest=True)
    assert made["packs"] > 0
    assert made["deleted"] == made["files"]
    assert verify(bucket, None)["problems"] == []
    assert compare(calm, bucket)["ok"]
    sql = "SELECT sensor, count(*), sum(raw_offset) FROM flows GROUP BY ALL ORDER BY 1"
    ours, theirs = query(bucket, sql, 10), query(calm, sql, 10)
    assert ours["rows"] == theirs["rows"] and ours["closed_files"] < theirs["closed_files"]
    with pytest.raises(Usage, match="Permission Error"):
        query(bucket, "SELECT * FROM read_text('/etc/hostname')", 10)
    with pytest.raises(Usage, match="Permission Error"):
        query(bucket, "FROM read_parquet('" + open_storage(bucket).url("_open/x") + "')", 10)
    purged = retain(bucket, "2100-01-01", TABLES, AT_ONCE)
    assert purged["rows"] == sum(entry.rows for entry in snapshot.read(bucket)[0].files)
    assert query(bucket, "SELECT count(*) FROM flows", 1)["rows"] == [[0]]
    assert verify(bucket, None)["problems"] == []
    assert {name.split("/")[1] for table in TABLES for name in open_storage(bucket).names(table)} == {"given-up"}


def test_a_changed_object_is_found(bucket: str) -> None:
    feed(owner(bucket), TOPICS, Random(1))
    storage = open_storage(bucket)
    name = next(snapshot.read(bucket)[0].files).path
    whole = storage.read(name)
    storage.delete(name)
    assert any(name in problem for problem in verify(bucket, None)["problems"])
    storage.create(name, whole[:50] + bytes([whole[50] ^ 1]) + whole[51:])
    assert any("SHA-256" in problem for problem in verify(bucket, None)["problems"])
    storage.delete("_manifests/p0/0000000001.json")
    assert any("a manifest was lost" in problem for problem in verify(bucket, None)["problems"])
