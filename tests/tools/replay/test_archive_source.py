"""History from an archive: the same scores and incidents, however it was cut, killed, or asked for."""

import shutil
from pathlib import Path
from typing import Any

import orjson
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipeline.archive.upkeep.query import connect
from pipeline.errors import Failed, RefusedState, Usage
from pipeline.featurize.baseline.judge import COLUMNS
from pipeline.settings import Settings
from pipeline.tools.alerts.lines import is_notice
from pipeline.tools.replay import history, reference_run
from pipeline.tools.replay import partition_replay as parts
from pipeline.tools.replay import run as runs
from pipeline.tools.replay.compare import LIVE, compare
from pipeline.tools.replay.page import page
from pipeline.tools.replay.partition_replay import Checkpoint
from pipeline.tools.replay.reference_run import Outcome
from pipeline.tools.replay.request import ARCHIVE, Request
from tests.tools.replay.plant import SITE, START_US, archived, raw_log, settings_in

pytestmark = pytest.mark.slow  # whole replays


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Outcome]:
    settings = settings_in(tmp_path_factory.mktemp("plant"), archive_rows_per_file=700)
    return settings, archived(settings, raw_log())


@pytest.fixture(scope="module")
def whole(plant: tuple[Settings, Outcome], tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, dict[str, Any]]:
    """A replay of all of it, "whole", which tests compare with and leave as it is; and its report."""
    settings = plant[0].model_copy(update={"replay_uri": tmp_path_factory.mktemp("whole")})
    return settings, runs.run(settings, Request("whole", ARCHIVE))


@pytest.fixture
def beside(whole: tuple[Settings, dict[str, Any]], tmp_path: Path) -> tuple[Settings, dict[str, Any]]:
    """A copy of that replay, beside which a test has its own."""
    settings, report = whole
    shutil.copytree(settings.replay_uri, tmp_path, dirs_exist_ok=True)
    return settings.model_copy(update={"replay_uri": tmp_path}), report


@pytest.fixture
def fresh(plant: tuple[Settings, Outcome], tmp_path: Path) -> Settings:
    """The same archive, with replays of the test's own."""
    return plant[0].model_copy(update={"replay_uri": tmp_path})


def rows_of(folder: Path) -> Any:
    table = pq.read_table(folder / "rows").combine_chunks()
    order = [("raw_partition", "ascending"), ("raw_offset", "ascending"), ("raw_index", "ascending")]
    return table.take(pc.sort_indices(table, order))


def incidents_in(folder: Path) -> dict[str, Any]:
    lines = (folder / runs.INCIDENTS).read_bytes().splitlines()
    return {orjson.loads(line)["finding_info"]["uid"]: reference_run.content(line) for line in lines}


def test_the_plant_is_worth_replaying(plant: tuple[Settings, Outcome]) -> None:
    settings, outcome = plant
    with connect(settings.archive_uri) as archive:
        [(late,)] = archive.sql("SELECT count(*) FROM late").fetchall()
        [(rejects,)] = archive.sql("SELECT count(*) FROM rejects").fetchall()
    assert late > 10
    assert rejects == 14
    assert len(reference_run.final_alerts(outcome.alerts)) >= 2


def test_features_scores_and_incidents_are_the_live_ones(
    whole: tuple[Settings, dict[str, Any]], plant: tuple[Settings, Outcome]
) -> None:
    settings, report = whole
    with connect(settings.archive_uri) as archive:
        live = archive.sql(
            "SELECT * FROM flows UNION ALL SELECT * FROM late ORDER BY raw_partition, raw_offset, raw_index"
        ).to_arrow_table()
    replayed = rows_of(settings.replay_uri / "whole")
    assert report["rows"] == len(live) == len(replayed)
    plain = ("features", "score", "class", "novelty", "p_value", "suspect", "model", "late_by_us", "record_id")
    assert len(set(live.column("phase").to_pylist())) >= 3, "sensors learn and are anchored"
    for name in (*plain, *COLUMNS):
        assert replayed.column(name).to_pylist() == live.column(name).to_pylist(), name
    expected = reference_run.final_alerts(plant[1].alerts)
    assert incidents_in(settings.replay_uri / "whole") == {
        uid: content for uid, event in expected.items() if not is_notice(content := reference_run.content(event))
    }


def test_the_cuts_of_the_archive_do_not_matter(whole: tuple[Settings, dict[str, Any]], tmp_path: Path) -> None:
    settings, first = whole
    other = settings_in(tmp_path / "other", archive_rows_per_file=90, flows_rows=33)
    archived(other, raw_log(), cut=41)
    second = runs.run(other, Request("b", ARCHIVE))
    assert first["rows"] == second["rows"]
    assert rows_of(settings.replay_uri / "whole").equals(rows_of(other.replay_uri / "b"))
    assert incidents_in(settings.replay_uri / "whole") == incidents_in(other.replay_uri / "b")


@pytest.fixture(scope="module")
def in_chunks(plant: tuple[Settings, Outcome], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The report of a replay with small files that nobody killed."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(parts, "CHUNK_ROWS", 400)
        patched.setattr(parts, "BATCH_ROWS", 100)
        settings = plant[0].model_copy(update={"replay_uri": tmp_path_factory.mktemp("chunks")})
        return runs.run(settings, Request("whole", ARCHIVE))


@pytest.mark.slow
@pytest.mark.parametrize("dies_after", [1, 5, 9])
def test_killed_anywhere_it_ends_with_the_same_bytes(
    fresh: Settings, in_chunks: dict[str, Any], monkeypatch: pytest.MonkeyPatch, dies_after: int
) -> None:
    monkeypatch.setattr(parts, "CHUNK_ROWS", 400)
    monkeypatch.setattr(parts, "BATCH_ROWS", 100)
    true_write, left = parts._write, [dies_after]

    def write(path: Path, data: bytes) -> str:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return true_write(path, data)

    monkeypatch.setattr(parts, "_write", write)
    with pytest.raises(KeyboardInterrupt):
        runs.run(fresh, Request("killed", ARCHIVE))
    monkeypatch.setattr(parts, "_write", true_write)
    again = runs.run(fresh, Request("killed", ARCHIVE))
    assert {name: again[name] for name in ("rows", "rows_sha256", "incidents_sha256", "taken")} == {
        name: in_chunks[name] for name in ("rows", "rows_sha256", "incidents_sha256", "taken")
    }


def test_only_what_was_asked_for_comes_out(beside: tuple[Settings, dict[str, Any]]) -> None:
    (fresh, whole), middle_us = beside, START_US + 30_000_000
    early = runs.run(fresh, Request("early", ARCHIVE, to_us=middle_us))
    late = runs.run(fresh, Request("late", ARCHIVE, from_us=middle_us, features=False))
    assert early["rows"] + late["rows"] == whole["rows"]
    assert min(early["rows"], late["rows"]) > 0
    # One that is open across --to is what it was live.
    every, result = (incidents_in(fresh.replay_uri / name) for name in ("whole", "early"))
    assert result == {uid: event for uid, event in every.items() if event["unmapped"]["first_ts_us"] < middle_us}
    assert early["taken"] == whole["taken"]
    assert "features" not in pq.read_schema(next((fresh.replay_uri / "late" / "rows").glob("*.parquet"))).names


def test_a_replay_equals_what_is_live(whole: tuple[Settings, dict[str, Any]]) -> None:
    result = compare(whole[0], LIVE, "whole")
    assert result["flows"]["same_score"] == result["flows"]["both"] == result["first"]["rows"]
    counted = {name: result["incidents"][name] for name in ("changed", "gained", "lost")}
    assert counted == {"changed": 0, "gained": 0, "lost": 0}
    assert result["incidents"]["same"] == result["first"]["incidents"] > 0


def test_of_the_archive_no_more_is_compared_than_the_other_was_asked_for(fresh: Settings) -> None:
    report = runs.run(fresh, Request("r", ARCHIVE, from_us=START_US + 30_000_000, to_us=START_US + 40_000_000))
    result = compare(fresh, LIVE, "r")
    assert result["first"]["rows"] == result["flows"]["same_score"] == report["rows"] > 0
    counted = {name: result["incidents"][name] for name in ("changed", "gained", "lost")}
    assert counted == {"changed": 0, "gained": 0, "lost": 0}


def test_labels_give_precision_and_recall(whole: tuple[Settings, dict[str, Any]], tmp_path: Path) -> None:
    settings = whole[0]
    rows = rows_of(settings.replay_uri / "whole")
    # Were every suspect an attack and nothing else, both would be one.
    labels = tmp_path / "labels.csv"
    columns = (rows.column(name).to_pylist() for name in ("site", "sensor", "source_record", "suspect"))
    lines = [f"{a},{b},{c},{'scan' if d else 'Normal'}" for a, b, c, d in zip(*columns, strict=True) if c is not None]
    labels.write_text("site,sensor,source_record,label\n" + "\n".join(lines) + "\n")
    result = compare(settings, LIVE, "whole", [labels])["second"]
    if lines:
        assert (result["precision"], result["recall"], result["false_rate"]) == (1.0, 1.0, 0.0)
    else:
        assert "recall" not in result


def test_the_page_holds_no_markup_of_a_sensor(whole: tuple[Settings, dict[str, Any]]) -> None:
    document = compare(whole[0], LIVE, "whole")
    document["first"]["name"] = "<script>alert(1)</script>"
    document["incidents"]["listed"] = [
        {
            "what": "gained",
            "uid": "<u>",
            "first_ts_us": START_US,
            "sensor": "<b>x</b>",
            "message": "<img src=x>",
            "reason": "&",
            "mean_score": [None, 0.5],
        }
    ]
    text = page(document)
    assert "<svg" in text
    for hostile in ("<script>", "<b>x", "<img", "<u>"):
        assert hostile not in text


def test_a_damaged_archive_is_refused(fresh: Settings, tmp_path: Path) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(fresh.archive_uri, copied)
    settings = fresh.model_copy(update={"archive_uri": copied})
    next(copied.glob("flows/**/*.parquet")).write_bytes(b"PAR1PAR1")
    with pytest.raises(RefusedState, match="cannot be read"):
        runs.run(settings, Request("r", ARCHIVE))
    manifest = sorted((copied / "_manifests" / "p0").glob("*.json"))[0]
    manifest.write_bytes(manifest.read_bytes().replace(SITE.encode(), SITE[::-1].encode()))
    with pytest.raises(RefusedState, match="manifest"):
        runs.run(settings, Request("other", ARCHIVE))


def test_an_archive_that_has_become_shorter_is_refused(fresh: Settings) -> None:
    [(_, end)] = history.archive_ends(fresh.archive_uri)
    with pytest.raises(RefusedState, match="expected"):
        next(history.archived(fresh.archive_uri, 0, 0, end + 1))
    with pytest.raises(RefusedState, match="expected"):
        history.archived_by_sensor(fresh.archive_uri, 0, end + 1)


def test_rates_are_of_what_was_done_now() -> None:
    request = Request("r", ARCHIVE, ends=((0, 9), (1, 9)))
    checkpoints = [
        Checkpoint(9, taken=50, first_us=100, reached_us=900),
        Checkpoint(9, taken=30, first_us=50, reached_us=300),
    ]
    assert runs._now(request, checkpoints, {}) == (80, 850)
    before = {0: Checkpoint(4, taken=20, first_us=100, reached_us=400), 1: checkpoints[1]}
    assert runs._now(request, checkpoints, before) == (30, 500)
    assert runs._now(request, checkpoints, dict(enumerate(checkpoints))) == (0, 0)


def test_a_name_stands_for_one_replay(beside: tuple[Settings, dict[str, Any]]) -> None:
    fresh, first = beside
    assert runs.run(fresh, Request("whole", ARCHIVE)) == first
    with pytest.raises(Usage, match="something else"):
        runs.run(fresh, Request("whole", ARCHIVE, to_us=5))
    with runs._alone(fresh.replay_uri / "whole"), pytest.raises(Failed, match="at work"):
        runs.run(fresh, Request("whole", ARCHIVE))


@pytest.mark.parametrize("name", ["", "live", "../x", "a/b", "x" * 65, "ä"])
def test_a_name_that_is_none_is_refused(fresh: Settings, name: str) -> None:
    with pytest.raises(Usage, match="--run"):
        runs.run(fresh, Request(name, ARCHIVE))
