"""A file through the stages' functions, and the commands that do it."""

from pathlib import Path

import orjson
import pyarrow.parquet as pq
import pytest

from loadtest.plants.westermo import traffic
from pipeline.featurize.feature_set import FEATURE_SET
from tests.commands import forebay as command

pytestmark = pytest.mark.slow  # a model is loaded and windows are compiled for every file

KEYS = ["read", "accepted", "rejected", "late"]


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The left sensor's records of some minutes, with a line that is no record."""
    path = tmp_path_factory.mktemp("plant") / "left.csv"
    traffic.write_after_cut("left", path)
    lines = path.read_text().splitlines()[:1201]
    path.write_text("\n".join([*lines[:700], "not,a,flow", *lines[700:]]) + "\n")
    return path


def forebay(*arguments: str, stdin: str = "") -> tuple[int, list[str], str]:
    """Exit code, stdout's lines, stderr."""
    done = command(*arguments, stdin=stdin)
    return done.code, done.stdout.splitlines(), done.stderr


def test_features_has_a_row_per_accepted_record_in_the_files_order(plant: Path, tmp_path: Path) -> None:
    out = tmp_path / "features.parquet"
    code, stdout, _ = forebay("flow", "features", str(plant), "--out", str(out), "--site", "westermo")
    counts = orjson.loads(stdout[-1])
    assert code == 0
    assert list(counts) == KEYS
    assert (counts["read"], counts["accepted"], counts["rejected"], counts["late"]) == (1201, 1200, 1, 0)
    table = pq.read_table(out)
    assert table.column("source_record").to_pylist() == [n for n in range(1201) if n != 699]
    assert set(FEATURE_SET.names) <= set(table.column_names)
    assert not set(table.column_names) & {*traffic.LABEL_COLUMNS, "score"}


def test_score_adds_what_the_model_says_and_names_incidents(plant: Path, tmp_path: Path) -> None:
    out, alerts = tmp_path / "scores.parquet", tmp_path / "alerts.jsonl"
    files = ("--out", str(out), "--alerts", str(alerts))
    code, stdout, stderr = forebay("flow", "score", str(plant), *files, "--site", "westermo", "--sensor", "left")
    counts = orjson.loads(stdout[-1])
    assert code == 0
    assert len(stdout) == 1
    table = pq.read_table(out)
    assert table.num_rows == counts["accepted"] == 1200
    assert sum(table.column("suspect").to_pylist()) == counts["suspects"] > 0
    assert counts["incidents"] > 0
    words = " ".join(stderr.split())
    assert f"1,200 flows, {counts['suspects']:,} suspect" in words
    several = "s" * (counts["incidents"] != 1)
    assert f"{counts['incidents']} incident{several}, {counts['pages']} page" in words
    assert 0 < counts["pages"] <= counts["incidents"] and "; scores in" in words
    told = [orjson.loads(line) for line in alerts.read_text().splitlines()]
    assert sum(event["count"] for event in told) == counts["suspects"]
    alone = [event["finding_info"]["uid"][:12] for event in told if "notice" in event["unmapped"]]
    assert len(alone) == 1 and "in no incident, each alone: " in words and f"--show {alone[0]} lists them" in words
    assert "had traffic with" in words
    assert "never seen" not in stderr
    assert {"score", "class", "novelty", "p_value", "suspect"} <= set(table.column_names)


def test_a_site_the_model_does_not_know_learns_by_itself(plant: Path) -> None:
    _, stdout, stderr = forebay("flow", "score", str(plant), "--site", "elsewhere", "--sensor", "tap")
    words, document = " ".join(stderr.split()), orjson.loads(stdout[-1])
    assert "elsewhere/tap: the file lasts" in words and "nothing is called a suspect" in words
    assert (document["read"], document["suspects"], document["incidents"]) == (1201, 0, 0)
    assert document["learning"]["phase"] == "learning"
    assert "Seen here at one time only, the weightiest first; nobody knows yet whether it is usual:" in words
    assert 0 < len(document["not_back"]) <= 20
    assert all(line["says"] in words for line in document["not_back"][:3])


def test_files_called_quiet_say_what_is_usual_in_another(plant: Path, tmp_path: Path) -> None:
    head, *lines = plant.read_text().splitlines()
    halves = [tmp_path / "first.csv", tmp_path / "second.csv"]
    for half, part in zip(halves, (lines[:600], lines[600:]), strict=True):
        half.write_text("\n".join([head, *part]) + "\n")
    quiet = ("--quiet", str(halves[0]), "--quiet", str(halves[1]))
    code, stdout, stderr = forebay("flow", "score", str(plant), "--site", "elsewhere", *quiet)
    words, document = " ".join(stderr.split()), orjson.loads(stdout[-1])
    assert code == 0
    assert "of quiet traffic, 1,200 flows; the file is judged by it" in words
    assert document["learning"]["phase"] == "anchored" and document["learning"]["quiet"]["flows"] == 1200
    assert document["not_back"] == []
    few = tmp_path / "few.csv"
    few.write_text("\n".join([head, *lines[:20]]) + "\n")
    code, _, stderr = forebay("flow", "score", str(plant), "--site", "elsewhere", "--quiet", str(few))
    assert code == 64 and "expected at least 100 in 10 min" in " ".join(stderr.split())


@pytest.mark.parametrize("verb", ["check", "score"])
def test_an_empty_file_and_noise_end_with_64(verb: str) -> None:
    code, stdout, stderr = forebay("flow", verb, "-", "--json")
    assert code == 64 and "got no flow" in stderr and orjson.loads(stdout[-1])["exit_code"] == 64
    code, stdout, stderr = forebay("flow", verb, "-", stdin="hello\nworld\n")
    assert (code, stdout) == (64, [])
    assert "zeek-conn+json" in stderr
