"""`forebay model evaluate --protocol` and `forebay model report`, as a person runs them."""

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from tests.commands import forebay as command
from tests.contract.tree import ROOT


def forebay(*arguments: str | Path, expect: int = 0) -> tuple[dict[str, Any], str]:
    """`forebay model ...`: the document on stdout's last line, and stderr on one line."""
    done = command("model", *map(str, arguments))
    text = " ".join(done.stderr.split())
    assert done.code == expect, text
    lines = done.stdout.splitlines()
    return (orjson.loads(lines[-1]) if lines else {}), text


def csv(path: Path, seed: int, rows: int = 400) -> Path:
    random = np.random.default_rng(seed)
    lines = ["bytes,service,kind"]
    for label in random.choice(["normal", "scan", "flood"], rows, p=[0.7, 0.2, 0.1]):
        centre = {"normal": 100, "scan": 10, "flood": 9000}[str(label)]
        service = random.choice(["dns", "http"]) if label != "scan" else "any"
        lines.append(f"{centre * random.lognormal(0, 0.3):.1f},{service},{label}")
    path.write_text("\n".join(lines) + "\n")
    return path


def table(tmp_path: Path, *more: str, expect: int = 0) -> tuple[dict[str, Any], str]:
    train, test = csv(tmp_path / "train.csv", 1), csv(tmp_path / "test.csv", 2, 200)
    arguments: list[str | Path] = ["evaluate", "--protocol", "table", "--train", train, "--test", test]
    arguments += ["--label", "kind", "--normal", "normal", "--models", "decision-tree,mahalanobis"]
    arguments += ["--seeds", "1", "--jobs", "2", "--out", tmp_path / "out"]
    return forebay(*arguments, *more, expect=expect)


@pytest.mark.nightly
def test_a_table_of_ones_own_is_judged_reported_and_taken_up_again(tmp_path: Path) -> None:
    document, text = table(tmp_path, "--json")
    assert text == ""
    assert (document["protocol"], document["failed"]) == ("table", [])
    first = document["results"][0]
    assert {"model", "test", "seed", "task", "acc", "f1", "mcc", "auroc", "auprc", "fpr", "fnr", "macro_f1"} < set(
        first
    )
    assert set(first["tpr_at"]) >= {"0.001", "0.01", "0.062"}
    assert {(row["model"], row["task"]) for row in document["results"]} == {
        ("decision-tree", "binary"),
        ("decision-tree", "attack"),
        ("mahalanobis", "binary"),
    }
    assert all(row["auroc"] > 0.95 for row in document["results"] if row["task"] == "binary")

    _, text = table(tmp_path, expect=1)
    assert "give --resume" in text
    again, _ = table(tmp_path, "--resume", "--json")
    assert again["results"] == document["results"]

    report, _ = forebay("report", tmp_path / "out")
    assert report["fits"] == 3
    written = (tmp_path / "out" / "report.md").read_text()
    assert "Decision tree" in written and "3 of 3 fits" in written
    assert (tmp_path / "out" / "report.json").is_file() and list((tmp_path / "out").glob("*.svg"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--protocol", "kdd", "--out", "x"), 2, "--protocol: got kdd, expected one of nsl-kdd-cv"),
        (("--protocol", "cost", "--data", "."), 2, "--out: a protocol stores every fit in a folder"),
        (("--protocol", "cost", "--out", "x"), 2, "--data: cost reads labelled data sets"),
        (("--protocol", "table", "--out", "x", "--train", "a.csv"), 2, "expected --train A --test B --label COL"),
        (("--protocol", "cost", "--data", ".", "--out", "x", "--seeds", "0"), 2, "--seeds"),
        (("--protocol", "cost", "--data", "docs", "--out", "x"), 1, "docs: got no KDDTrain+.parquet in it"),
    ],
)
def test_what_is_missing_is_said_with_what_to_give(
    arguments: tuple[str, ...], code: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    _, text = forebay("evaluate", *arguments, expect=code)
    assert said in text


@pytest.mark.slow
def test_an_unknown_detector_is_refused_with_those_there_are(tmp_path: Path) -> None:
    arguments = (
        "--protocol",
        "cost",
        "--data",
        str(tmp_path),
        "--out",
        str(tmp_path / "out"),
        "--models",
        "crystal-ball",
    )
    document, text = forebay("evaluate", *arguments, "--json", expect=1)
    assert "--models: got crystal-ball, expected some of igan-ids" in text
    assert document["exit_code"] == 1


@pytest.mark.slow
def test_a_report_of_nothing_is_refused(tmp_path: Path) -> None:
    _, text = forebay("report", tmp_path, expect=1)
    assert str(tmp_path) in text
