"""The Iceberg copy of an archive, value for value, while the archive grows, is compacted and is purged; its errors."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog import Catalog

from pipeline.archive import snapshot
from pipeline.archive.iceberg import rows, tables
from pipeline.archive.iceberg.copy import copy
from pipeline.archive.iceberg.expire import expire
from pipeline.archive.iceberg.proof import prove
from pipeline.archive.iceberg.warehouse import opened, single_committer
from pipeline.archive.partition import PartitionArchive
from pipeline.archive.streams import TABLES
from pipeline.archive.upkeep.compact import compact
from pipeline.archive.upkeep.retain import retain
from pipeline.errors import Failed, Misconfigured, RefusedState, Usage
from tests.archive.iceberg.iceberg_tables import LIMITS, archive, check, contents, copied, expected, topics, warehouse
from tests.archive.plant import MEMORY, Wire, feed, scored_batch
from tests.runtime.storage import bucket as buckets

endpoint = buckets.endpoint
pytestmark = pytest.mark.slow

BIG, AT_ONCE, LAST_DAY = 2**30, 2.0**40, "2100-01-01"


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    with TemporaryDirectory(dir=MEMORY) as folder:
        yield Path(folder)


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with warehouse(tmp_path / "warehouse") as opened_catalog:
        yield opened_catalog


def data_files(catalog: Catalog, table: str = "flows") -> set[str]:
    return {task.file.file_path for task in catalog.load_table(f"forebay.{table}").scan().plan_files()}


@pytest.mark.parametrize("seed", [1, 2])
def test_every_row_is_there_once_value_for_value(tmp_path: Path, catalog: Catalog, seed: int) -> None:
    source = archive(tmp_path / "archive", seed)
    done = copy(source, catalog)
    wanted = expected(source)
    assert any(row["record_id"] >= 2**63 for row in wanted["flows"])
    assert {table: counts["rows"] for table, counts in done.items()} == {
        table: len(some) for table, some in wanted.items()
    }
    check(source, catalog)
    assert all(counts["commits"] == 0 for counts in copy(source, catalog).values()), "a second run finds nothing to do"
    files = [entry for state in snapshot.read(source) for entry in state.files if entry.table == "flows"]
    assert len(data_files(catalog)) == len(files), "one data file for each closed file"


def test_an_archive_that_grows(tmp_path: Path, catalog: Catalog) -> None:
    sent, source = topics(3), tmp_path / "archive"
    commits = 0
    for stop in range(2, len(sent.archive) + 1, 2):
        feed(PartitionArchive(source, 0, LIMITS, "w"), Wire(sent.archive[:stop], sent.rejects), Random(stop))
        commits += copy(source, catalog)["flows"]["commits"]
        check(source, catalog)
    assert commits > 1


def test_compaction_changes_nothing(tmp_path: Path, catalog: Catalog) -> None:
    sent, source = topics(3), tmp_path / "archive"
    feed(PartitionArchive(source, 0, LIMITS, "w"), Wire(sent.archive[:4], sent.rejects), Random(1))
    copy(source, catalog)
    before = contents(catalog)
    assert compact(source, BIG, AT_ONCE, newest=True)["packs"]
    assert all(counts["commits"] == 0 for counts in copy(source, catalog).values())
    assert contents(catalog) == before
    feed(PartitionArchive(source, 0, LIMITS, "w"), sent, Random(2))
    compact(source, BIG, AT_ONCE, newest=True)
    copy(source, catalog)
    check(source, catalog)


def test_files_that_are_moved_or_purged_while_they_are_copied(tmp_path: Path, catalog: Catalog) -> None:
    source = archive(tmp_path / "archive")
    turns = iter(
        (lambda: compact(source, BIG, AT_ONCE, newest=True), lambda: retain(source, LAST_DAY, TABLES, AT_ONCE))
    )

    def step(name: str) -> None:
        if name == "data file written" and (turn := next(turns, None)):
            turn()

    copy(source, catalog, step=step)
    assert prove(source, catalog)["problems"] == []
    copy(source, catalog)
    check(source, catalog)
    assert not any(contents(catalog).values())


def test_rows_that_were_purged_are_deleted(tmp_path: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.archive.iceberg.copy.NAMES_AT_ONCE", 3)
    source = archive(tmp_path / "archive")
    copy(source, catalog)
    before = {table: data_files(catalog, table) for table in TABLES}
    purged = retain(source, LAST_DAY, ("late", "flows"), AT_ONCE)
    assert purged["files"] > 6
    assert prove(source, catalog)["problems"] == [], "the table may be behind"
    done = copy(source, catalog)
    assert done["flows"]["given_up"] + done["late"]["given_up"] == purged["files"]
    check(source, catalog)
    assert contents(catalog)["flows"] == [] and contents(catalog)["rejects"] != []
    assert data_files(catalog) == set(), "whole files went, none was written anew"
    assert all(Path(name.removeprefix("file://")).exists() for name in before["flows"])
    expired = expire(catalog, AT_ONCE)
    assert expired["flows"]["deleted"] > len(before["flows"])
    assert not any(Path(name.removeprefix("file://")).exists() for name in before["flows"] | before["late"])
    assert all(Path(name.removeprefix("file://")).exists() for name in before["rejects"])
    check(source, catalog)
    assert expire(catalog, AT_ONCE)["flows"]["snapshots"] == 0
    assert all(counts["commits"] == 0 for counts in copy(source, catalog).values())


def test_part_of_a_table_is_purged_without_rewriting_the_rest(tmp_path: Path, catalog: Catalog) -> None:
    source = archive(tmp_path / "archive")
    copy(source, catalog)
    before = data_files(catalog)
    gone = sorted(before)[: len(before) // 2]
    table = catalog.load_table("forebay.flows")
    names = {tables.bound(table, task.file, "archive_file") for task in table.scan().plan_files()}
    assert len(names) == len(before) and all(bound and bound[0] == bound[1] for bound in names)
    named = [task for task in table.scan().plan_files() if task.file.file_path in gone]
    for task in named:
        bound = tables.bound(table, task.file, "archive_file")
        assert bound is not None
        table.delete(f"archive_file = '{bound[0]}'")
    assert data_files(catalog) == before - set(gone)


def test_duckdb_reads_the_files_the_metadata_lists(tmp_path: Path, catalog: Catalog) -> None:
    source = archive(tmp_path / "archive")
    copy(source, catalog)
    scan = catalog.load_table("forebay.flows").scan()
    wanted = [(str(row["record_id"]), row["raw_offset"], row["ts"]) for row in expected(source)["flows"]]
    sql = "SELECT record_id::VARCHAR, raw_offset, ts FROM {} ORDER BY raw_offset, raw_index"
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        names = [task.file.file_path.removeprefix("file://") for task in scan.plan_files()]
        assert connection.execute(sql.format("read_parquet($1)"), [names]).fetchall() == wanted
        scan.to_duckdb("flows", connection=connection)
        assert connection.execute(sql.format("flows")).fetchall() == wanted


def test_readers_prune_by_day_and_by_time(tmp_path: Path, catalog: Catalog) -> None:
    source = archive(tmp_path / "archive")
    copy(source, catalog)
    table = catalog.load_table("forebay.flows")
    days = {row["archive_date"] for row in expected(source)["flows"]}
    assert sum(len(list(table.scan(f"archive_date = '{day}'").plan_files())) for day in days) == len(
        data_files(catalog)
    )
    some = expected(source)["flows"][0]
    few = list(table.scan(f"ts = '{some['ts'].isoformat()}'").plan_files())
    assert 0 < len(few) < len(data_files(catalog))
    assert len(list(table.scan(f"archive_file = '{some['archive_file']}'").plan_files())) == 1


def test_another_chain_is_refused(tmp_path: Path, catalog: Catalog) -> None:
    copy(archive(tmp_path / "archive"), catalog)
    other = tmp_path / "other"
    feed(PartitionArchive(other, 0, LIMITS, "w"), topics(5), Random(1))
    with pytest.raises(RefusedState, match=r"with SHA-256 [0-9a-f]{64}, .* has SHA-256 [0-9a-f]{64}"):
        copy(other, catalog)
    with pytest.raises(RefusedState, match="it is another archive, or was changed"):
        prove(other, catalog)
    shorter = tmp_path / "shorter"
    feed(PartitionArchive(shorter, 0, LIMITS, "w"), Wire(topics(5).archive[:1], []), Random(1))
    with pytest.raises(RefusedState, match="no such manifest"):
        copy(shorter, catalog)
    moved = tmp_path / "moved"
    PartitionArchive(moved, 1, LIMITS, "w")
    with pytest.raises(RefusedState, match="has none of it"):
        copy(moved, catalog)
    check(tmp_path / "archive", catalog)


def test_a_broken_chain_is_refused(tmp_path: Path, catalog: Catalog) -> None:
    source = archive(tmp_path / "archive")
    manifest = source / "_manifests/p0/0000000001.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"rows": ', b'"rows":  '))
    with pytest.raises(RefusedState, match="a manifest was changed"):
        copy(source, catalog)
    with pytest.raises(Usage, match="no such folder"):
        copy(tmp_path / "nowhere", catalog)


def test_a_file_that_is_not_what_its_manifest_states_is_refused(tmp_path: Path, catalog: Catalog) -> None:
    source = archive(tmp_path / "archive")
    entry = max((closed for state in snapshot.read(source) for closed in state.files), key=lambda closed: closed.rows)
    table = pq.read_table(source / entry.path)
    pq.write_table(table.slice(1), source / entry.path)
    with pytest.raises(RefusedState, match=f"holds {entry.rows - 1} rows, its manifest states {entry.rows}"):
        copy(source, catalog)
    with pytest.raises(RefusedState, match="expected YYYY-MM-DD"):
        rows.day(replace(entry, path="flows/date=soon/x.parquet"))


def test_a_table_that_was_set_back_is_refused(tmp_path: Path, catalog: Catalog) -> None:
    sent, source = topics(3), tmp_path / "archive"
    feed(PartitionArchive(source, 0, LIMITS, "w"), Wire(sent.archive[:4], sent.rejects), Random(1))
    copy(source, catalog)
    table = catalog.load_table("forebay.flows")
    first = table.metadata.current_snapshot_id
    assert first is not None
    feed(PartitionArchive(source, 0, LIMITS, "w"), sent, Random(1))
    copy(source, catalog)
    table.refresh().manage_snapshots().rollback_to_snapshot(first).commit()
    with pytest.raises(RefusedState, match="set back to an older snapshot"):
        copy(source, catalog)


def test_the_proof_finds_what_is_wrong(tmp_path: Path, catalog: Catalog) -> None:
    source = archive(tmp_path / "archive")
    copy(source, catalog)
    table = catalog.load_table("forebay.flows")
    some = table.scan().to_arrow()
    table.append(some.slice(0, 1))
    table.append(
        some.slice(1, 1).set_column(
            some.schema.get_field_index("archive_file"),
            some.schema.field("archive_file"),
            pa.array(["flows/x"], some.schema.field("archive_file").type),
        )
    )
    late = catalog.load_table("forebay.late")
    lost = expected(source)["late"][0]["archive_file"]
    late.delete(f"archive_file = '{lost}'")
    proof = prove(source, catalog)
    assert not proof["ok"]
    assert sum("is there twice" in problem for problem in proof["problems"]) == 2
    assert any(problem.startswith("flows/x: the table has 1 rows of it, no manifest") for problem in proof["problems"])
    assert any("its manifest states" in problem and problem.startswith("flows/site") for problem in proof["problems"])
    assert any(problem.startswith(f"{lost}: the table has no rows of it") for problem in proof["problems"])


def test_columns_of_a_newer_version_are_added(tmp_path: Path, catalog: Catalog) -> None:
    source = archive(tmp_path / "archive")
    table = tables.find_or_make(catalog, "flows")
    with table.update_schema() as changing:
        changing.delete_column("score")
    copy(source, catalog)
    check(source, catalog)


def test_a_number_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    entry = next(next(iter(snapshot.read(archive(tmp_path)))).files)
    batch = scored_batch(
        [{"raw_partition": 0, "raw_offset": 1, "raw_index": 0, "end_ts_us": 1, "record_id": 2**64 - 1}]
    )
    index = batch.schema.get_field_index("fwd_bytes")
    for value in (2**63 - 1, 2**63):
        table = pa.Table.from_batches(
            [batch.set_column(index, batch.schema.field(index), pa.array([value], pa.uint64()))]
        )
        if value < 2**63:
            row = rows.convert(table, entry).to_pylist()[0]
            assert (int(row["record_id"]), row["fwd_bytes"]) == (2**64 - 1, value)
        else:
            with pytest.raises(RefusedState, match="column fwd_bytes"):
                rows.convert(table, entry)


def test_the_holder_of_the_lock_is_named(tmp_path: Path) -> None:
    holder = f"process {os.getpid()} on .* commits to it"
    with single_committer(str(tmp_path)), pytest.raises(Failed, match=holder), single_committer(str(tmp_path)):
        raise AssertionError
    with single_committer(f"file://{tmp_path}"):
        assert True


@pytest.mark.parametrize(
    ("uri", "options", "message"),
    [
        ("gs://bucket/x", {}, "got scheme 'gs'"),
        ("s3://bucket/x", {}, "a bucket holds no catalog"),
        ("s3://bucket/x?regoin=x", {"type": "rest"}, "option 'regoin'"),
        ("s3:///x", {"type": "rest"}, "no bucket"),
        ("what?", {}, "a folder whose name has none of"),
        ("warehouse", {"type": "nonsense"}, "not a valid CatalogType"),
    ],
)
def test_an_invalid_warehouse_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str, options: dict[str, str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Misconfigured, match=message), opened(uri, options):
        raise AssertionError


def test_a_catalog_that_does_not_answer_is_reported(tmp_path: Path) -> None:
    (tmp_path / "catalog.db").write_bytes(b"not a database" * 100)
    with pytest.raises(Failed, match="file is not a database"), opened(str(tmp_path), {}):
        raise AssertionError


def test_a_warehouse_in_a_bucket(tmp_path: Path, endpoint: str) -> None:
    source = archive(tmp_path / "archive")
    name = buckets.new_bucket(endpoint).split("/")[2]
    options = {"uri": f"sqlite:///{tmp_path}/catalog.db"}
    with opened(f"s3://{name}/tables?endpoint={endpoint}&region=us-east-1", options) as catalog:
        copy(source, catalog)
        check(source, catalog)
        assert all(path.startswith(f"s3://{name}/tables/") for path in data_files(catalog))
        retain(source, LAST_DAY, ("flows",), AT_ONCE)
        copy(source, catalog)
        check(source, catalog)
        assert expire(catalog, AT_ONCE)["flows"]["deleted"]


def test_an_archive_in_a_bucket(tmp_path: Path, endpoint: str, catalog: Catalog) -> None:
    source = buckets.new_bucket(endpoint)
    feed(PartitionArchive(source, 0, LIMITS, "w"), Wire(topics(3).archive[:3], topics(3).rejects), Random(1))
    copy(source, catalog)
    check(source, catalog)


def test_files_are_durable_before_the_catalog_knows_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: set[str] = set()
    real = os.fsync

    def sync(handle: int) -> None:
        synced.add(str(Path(f"/proc/self/fd/{handle}").readlink()))
        real(handle)

    monkeypatch.setattr(os, "fsync", sync)
    copied(archive(tmp_path / "archive"), tmp_path / "warehouse")
    written = {
        str(path) for path in (tmp_path / "warehouse").rglob("*") if path.suffix in {".parquet", ".avro", ".json"}
    }
    assert written and written <= synced
