"""`forebay archive query` and the other commands, on a small archive."""

from pathlib import Path
from random import Random

import orjson
import pytest
from typer.testing import CliRunner

from pipeline.archive import snapshot
from pipeline.archive.pairing import read_scored
from pipeline.archive.partition import PartitionArchive
from pipeline.archive.streams import Limits
from pipeline.archive.upkeep.open_rows import OpenTables, add_segments
from pipeline.archive.upkeep.query import run
from pipeline.archive.upkeep.verify import account
from pipeline.errors import RefusedState, Usage
from pipeline.runtime.storage.location import open_storage
from pipeline.runtime.wire import batches
from pipeline.tools.cli.archive import app
from tests.archive.plant import Wire, feed, random_log, wire
from tests.contracts.facts import at

SENSORS = (("plant", "left"), ("it's", "right"))


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive") / "it's here"
    log = random_log(Random(4), 80, SENSORS)
    feed(PartitionArchive(folder, 0, Limits(9), "w"), wire(log, range(0, 80, 5)), Random(1))
    return folder


@pytest.mark.slow
def test_counts_agree_with_the_accounting(archive: Path) -> None:
    for table, name in (("flows", "accepted"), ("late", "late"), ("rejects", "rejected")):
        result = run(archive, f"SELECT site, sensor, count(*) FROM {table} GROUP BY ALL ORDER BY ALL", 100)  # noqa: S608
        counted = sorted([row["site"], row["sensor"], row[name]] for row in account(archive) if row[name])
        assert result["rows"] == counted


def test_features_are_lists_and_limits_hold(archive: Path) -> None:
    result = run(archive, "SELECT features, score FROM flows ORDER BY raw_offset, raw_index", 3)
    assert result["truncated"]
    assert [len(row[0]) for row in result["rows"]] == [3, 3, 3]
    assert result["types"][0] == "FLOAT[]"


@pytest.mark.slow
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM glob('/etc/*')",
        "COPY (SELECT 1) TO 'x.csv'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "ATTACH 'x.db'",
        "SET threads = 4",
        "PRAGMA database_list",
        "CREATE TABLE t (a INT)",
        "DROP VIEW flows",
        "SELECT 1; SELECT 2",
        "",
        "SELECT * FROM read_parquet('https://example.org/x.parquet')",
        "SELEC 1",
        "SELECT nothing FROM flows",
    ],
)
def test_only_the_archive_can_be_read(archive: Path, sql: str) -> None:
    before = sorted(archive.rglob("*"))
    with pytest.raises(Usage, match="flows, late, rejects"):
        run(archive, sql, 10)
    assert sorted(archive.rglob("*")) == before


def test_an_empty_archive_has_empty_views(tmp_path: Path) -> None:
    assert run(tmp_path, "SELECT count(*) FROM flows, late, rejects", 1)["rows"] == [[0]]


def stating(payload: bytes, schema_name: str, **changed: object) -> bytes:
    """A message with other facts."""
    rows, facts = batches.decode(payload, schema_name)
    assert facts.keys() >= changed.keys()
    return batches.encode(rows, {**facts, **changed})


def test_several_feature_sets_in_one_view(tmp_path: Path) -> None:
    log = random_log(Random(4), 20, SENSORS)
    topics = wire(log, [])
    feed(PartitionArchive(tmp_path, 0, Limits(9), "w"), topics, Random(1))
    topics.archive = [stating(value, "scored", feature_hash="xyz", raw_partition=1) for value in topics.archive]
    topics.rejects = [stating(value, "reject", raw_partition=1) for value in topics.rejects]
    feed(PartitionArchive(tmp_path, 1, Limits(9), "w"), topics, Random(1))
    result = run(tmp_path, "SELECT count(DISTINCT features) > 1, any_value(typeof(features)) FROM flows", 1)
    assert result["rows"] == [[True, "FLOAT[]"]]


def test_deleted_files_are_left_out(tmp_path: Path) -> None:
    feed(PartitionArchive(tmp_path, 0, Limits(9), "w"), wire(random_log(Random(4), 40, SENSORS), []), Random(1))
    before = run(tmp_path, "SELECT count(*) FROM flows", 1)["rows"][0][0]
    next(tmp_path.glob("flows/**/*.parquet")).unlink()
    assert 0 < run(tmp_path, "SELECT count(*) FROM flows", 1)["rows"][0][0] < before


def test_open_rows_come_from_the_manifest_that_the_closed_files_come_from(tmp_path: Path) -> None:
    """A commit between the two readings deletes segments: then the newer manifest counts, for both."""
    log = random_log(Random(4), 40, SENSORS, marks=False)
    whole = wire(log, range(0, 40, 2))
    writer = PartitionArchive(tmp_path, 0, Limits(9), "w")
    feed(writer, Wire(whole.archive[:8], whole.rejects), Random(1))
    storage, [before] = open_storage(tmp_path), snapshot.read(tmp_path)
    feed(writer, whole, Random(2), 1.0)
    opened = OpenTables()
    after = add_segments(storage, before, opened)
    assert len(after.manifests) > len(before.manifests) and after.last is not None
    assert opened.not_read == [] and opened.rows > 0
    rows = opened.rows + sum(entry.rows for entry in after.files)
    assert rows == sum(len(read_scored(value, at("archive", 0, 0)).rows) for value in whole.archive) + (
        after.last.progress.rejected
    )


def test_open_rows_that_are_gone_for_good_are_said(tmp_path: Path) -> None:
    log = random_log(Random(4), 40, SENSORS, marks=False)
    feed(PartitionArchive(tmp_path, 0, Limits(9), "w"), wire(log, range(0, 40, 5)), Random(1))
    [state], opened = snapshot.read(tmp_path), OpenTables()
    (tmp_path / state.open[0].path).unlink()
    assert add_segments(open_storage(tmp_path), state, opened) is state
    assert opened.rows == 0 and "open rows are missing" in opened.not_read[0]


def test_an_open_segment_that_was_changed_is_refused(tmp_path: Path) -> None:
    log = random_log(Random(4), 40, SENSORS, marks=False)
    feed(PartitionArchive(tmp_path, 0, Limits(9), "w"), wire(log, range(0, 40, 5)), Random(1))
    [state] = snapshot.read(tmp_path)
    path = tmp_path / state.open[0].path
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(RefusedState, match="SHA-256"):
        add_segments(open_storage(tmp_path), state, OpenTables())


@pytest.mark.slow
def test_commands(archive: Path) -> None:
    cli = CliRunner()
    verified = cli.invoke(app, ["verify", "--archive", str(archive), "--no-kafka"])
    assert verified.exit_code == 0, verified.output
    document = orjson.loads(verified.stdout.splitlines()[-1])
    assert document["ok"]
    assert "accepted + rejected + late + in flight = sent" in verified.stderr
    listed = cli.invoke(app, ["files", "--archive", str(archive), "--json"])
    assert orjson.loads(listed.stdout)["rows"] == document["rows"]
    assert listed.stderr == ""
    asked = cli.invoke(
        app, ["query", "--closed", "--archive", str(archive), "SELECT reason, record FROM rejects LIMIT 2"]
    )
    assert "not_json" in asked.stderr
    assert orjson.loads(asked.stdout)["columns"] == ["reason", "record"]
    same = cli.invoke(app, ["verify", "--archive", str(archive), "--against", str(archive)])
    assert same.exit_code == 0
    damaged = next(archive.glob("flows/**/*.parquet"))
    data = damaged.read_bytes()
    damaged.write_bytes(b"x" + data[1:])
    try:
        assert cli.invoke(app, ["verify", "--archive", str(archive), "--no-kafka", "--json"]).exit_code == 1
    finally:
        damaged.write_bytes(data)
