"""`forebay flow check`: what it prints last, and how it leaves."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli import flow
from pipeline.cli.main import main
from pipeline.errors import BadData
from tests.ingest.records import EVE, ZEEK


def check(path: Path, capsys: pytest.CaptureFixture[str], **options: Any) -> tuple[dict[str, int], str]:
    flow.check(str(path), **options)
    captured = capsys.readouterr()
    document: dict[str, int] = json.loads(captured.out.splitlines()[-1])
    return document, captured.err


def test_counts_add_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "conn.log"
    lines = [json.dumps({**ZEEK, "ts": ts}) for ts in (100, 50, 101, 98.5)] + [
        "bad",
        json.dumps({**ZEEK, "proto": "x"}),
    ]
    path.write_text("\n".join(lines))
    document, shown = check(path, capsys)
    assert document == {"read": 6, "accepted": 4, "rejected": 2, "late": 0, "suspects": 0, "incidents": 0}
    assert "not_json" in shown and "record 5: protocol" in shown and "192.168.1.9" in shown
    document, shown = check(path, capsys, arrival_order=True, json=True)
    # 50 is more than two seconds behind 100, and 98.5 behind 101.
    assert document == {"read": 6, "accepted": 2, "rejected": 2, "late": 2, "suspects": 0, "incidents": 0}
    assert shown == ""


def test_an_empty_file_is_fine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x").write_text("")
    assert set(check(tmp_path / "x", capsys)[0].values()) == {0}


def test_other_events_are_no_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "eve.json").write_text(json.dumps(EVE) + "\n" + json.dumps({"event_type": "alert"}))
    document, shown = check(tmp_path / "eve.json", capsys)
    assert document["read"] == document["accepted"] == 1 and "other lines" in shown


def test_an_unknown_format_names_the_known_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x").write_text("hello")
    with pytest.raises(BadData, match="suricata-eve"):
        flow.check(str(tmp_path / "x"))
    monkeypatch.setattr("sys.argv", ["forebay", "flow", "check", str(tmp_path / "x")])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 64 and "icsflow" in capsys.readouterr().err
