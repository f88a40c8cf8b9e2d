"""The tables of figures: made from the files of record, and each of those says where it is from."""

import re
from pathlib import Path

import orjson
import pytest

from tests.contract.tree import ROOT, relative
from tests.docs import performance
from tests.docs.performance import COMMANDS, FOLDER, PROCESSES, read, said
from tests.docs.tables import TABLE_IN_PAGE

FILES = sorted(FOLDER.glob("*.json"))
PICTURE_BYTES = 300_000


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_a_file_says_where_it_is_from(path: Path) -> None:
    document = orjson.loads(path.read_bytes())
    assert re.fullmatch(r"python -m tests\.bench\.\w+( \S+)*", document["command"]), document["command"]
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", document["date"]) and document["commit"]
    assert document["machine"]["cores"] > 0 and document["machine"]["load_before"] >= 0
    module = document["command"].split()[2].replace(".", "/")
    assert (ROOT / f"{module}.py").exists() or (ROOT / module / "__main__.py").exists()


def test_the_figures_before_are_there() -> None:
    assert read("before") is not None


def test_what_is_missing_is_called_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(performance, "read", lambda _name: None)
    for name, made in performance.TABLES.items():
        assert made().startswith("Not measured yet: `python -m tests.bench."), name
    assert read("flow", tmp_path) is None


def test_the_load_before_a_run_is_said() -> None:
    document = {
        "command": "python -m tests.bench.record",
        "machine": {"cores": 2, "memory_gib": 23.5, "load_before": 0.3},
        "date": "2026-11-29",
        "commit": "0a1b2c3",
    }
    assert said(document).endswith("2026-11-29, version 0a1b2c3")
    document["machine"] = {"cores": 2, "memory_gib": 23.5, "load_before": 7.25}
    assert said(document).endswith("load 7.25 in the minute before")


def test_the_readme_and_the_page_hold_what_the_files_say() -> None:
    """The tables' own test compares whole tables; this one holds the figures that people quote."""
    elsewhere = {
        "performance headline": "README.md",
        "performance capacity": "docs/load.md",
        "performance generator": "docs/load.md",
        "performance disk": "docs/load.md",
        "performance engines": "docs/inference.md",
    }
    pages = {name: (ROOT / name).read_text(encoding="utf-8") for name in (*elsewhere.values(), "docs/performance.md")}
    names = {name: {match[2] for match in TABLE_IN_PAGE.finditer(text)} for name, text in pages.items()}
    assert all(table in names[page] for table, page in elsewhere.items())
    assert set(performance.TABLES) - set(elsewhere) <= names["docs/performance.md"]
    document = read("flow") or read("before")
    assert document is not None
    for run in (document["runs"]["one a message"], document["runs"]["packed"]):
        total = f"{sum(run['cpu_us_per_record'].values()):.1f}"
        for name in ("README.md", "docs/performance.md"):
            text = pages[name]
            assert f"{run['records_per_s']:,}" in text and f"{run['archived_per_s']:,}" in text and total in text, name
    for answer in (read("capacity") or {"answers": []})["answers"]:
        if not answer["objectives"] and answer["capacity_per_s"]:
            assert f"{answer['capacity_per_s']:,.0f} a second" in pages["README.md"]


def test_a_table_has_a_row_a_run_and_a_column_a_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = dict.fromkeys(PROCESSES, 1.25)
    run = {
        "records": 5_000_000,
        "records_per_s": 70_000,
        "archived_per_s": 65_000,
        "cpu_us_per_record": costs,
        "memory_peak_mib": costs,
    }
    found = {
        "command": COMMANDS["flow"],
        "machine": {"cores": 2, "memory_gib": 24, "load_before": 0.0},
        "date": "2026-11-29",
        "commit": "0a1b2c3",
        "runs": {"one a message": run, "packed": {**run, "pack": 100}},
    }
    monkeypatch.setattr(performance, "read", {"flow": found}.get)
    lines = performance.TABLES["performance flow"]().split("\n")
    assert lines[2] == "| one a message, 2026-11-29 | 5 million | 70,000 | 65,000 |" + " 1.2 |" * 7 + " 8.8 |"
    assert lines[3].startswith("| packed, 2026-11-29 |") and not lines[4]


def test_an_engine_has_a_row_a_size_and_says_where_its_p99_is_the_longest_call(monkeypatch: pytest.MonkeyPatch) -> None:
    def call(engine: str, rows: int, calls: int) -> dict[str, object]:
        figures = {"rows_per_s": 400_000, "rows_per_cpu_s": 410_000, "p50_ms": 0.151, "p99_ms": 1.234}
        return {"engine": engine, "rows_a_call": rows, "calls": calls, **figures}

    found = {
        **{"command": COMMANDS["engines"], "date": "2026-11-30", "commit": "0a1b2c3", "kafka": False},
        "machine": {"cores": 2, "memory_gib": 24, "load_before": 0.0},
        "engines": [call("kernel", 64, 9_000), call("kernel", 4_096, 101), call("onnx, eight bits", 64, 100)],
        "not_run": ["cuda"],
    }
    monkeypatch.setattr(performance, "read", {"engines": found}.get)
    lines = performance.TABLES["performance engines"]().split("\n")
    assert lines[2:5] == [
        "| 64 | `kernel` | 400,000 | 410,000 | 0.15 | 1.23 |",
        "| 64 | onnx, eight bits | 400,000 | 410,000 | 0.15 | 1.23, the longest of 100 |",
        "| 4,096 | `kernel` | 400,000 | 410,000 | 0.15 | 1.23 |",
    ]
    assert "Not measured: `cuda`." in lines and "2 cores, 24 GiB" in lines[-2]


def test_the_generators_cost_has_a_row_a_scenario_and_size(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = {name: {"cpu_us_a_record": us, "records_per_s": 90_000} for name, us in (("encoded", 2.0), ("due", 9.0))}
    run = {"scenario": "flood", "sensors": 1, "pack": 1, **costs, "at_once": {**costs["due"], "cpu_us_a_record": 5.5}}
    found = {
        **{"command": COMMANDS["generator"], "date": "2026-11-30", "commit": "0a1b2c3", "due_rate": 10_000},
        "machine": {"cores": 2, "memory_gib": 24, "load_before": 0.0},
        "runs": [run],
    }
    monkeypatch.setattr(performance, "read", {"generator": found}.get)
    lines = performance.TABLES["performance generator"]().split("\n")
    assert "10,000 a second" in lines[0] and "2 cores that also run Kafka" in lines[-2]
    assert lines[2] == "| flood, 1 | 1 | 500,000 | 2.00 | 5.50 | 9.00 | 90,000 |"


def test_pictures_are_small_and_run_nothing() -> None:
    for path in sorted(FOLDER.glob("*.svg")):
        text = path.read_text(encoding="utf-8")
        assert len(text) < PICTURE_BYTES, path
        assert "<svg" in text and "<script" not in text, path
