"""`forebay flow check`: what it prints last, and how it leaves."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import BadData
from pipeline.tools.cli import flow
from schemas.fields import arrow_schema
from tests.commands import forebay
from tests.ingest.records import EVE, ICSFLOW, ZEEK


def check(path: Path, capsys: pytest.CaptureFixture[str], **options: Any) -> tuple[dict[str, Any], str]:
    flow.check(str(path), **options)
    captured = capsys.readouterr()
    document: dict[str, Any] = json.loads(captured.out.splitlines()[-1])
    return document, captured.err


def test_counts_add_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "conn.log"
    lines = [json.dumps({**ZEEK, "ts": ts}) for ts in (100, 50, 101, 98.5)] + [
        "bad",
        json.dumps({**ZEEK, "proto": "x"}),
    ]
    path.write_text("\n".join(lines))
    document, shown = check(path, capsys)
    assert document == {"read": 6, "accepted": 4, "rejected": 2, "late": 0}
    assert "not_json" in shown and "record 5: protocol" in shown and "192.168.1.9" in shown
    document, shown = check(path, capsys, arrival_order=True, as_json=True)
    # 50 is more than two seconds behind 100, and 98.5 behind 101.
    counts = {name: document[name] for name in ("read", "accepted", "rejected", "late")}
    assert counts == {"read": 6, "accepted": 2, "rejected": 2, "late": 2}
    assert shown == ""


def test_a_report_a_field_and_a_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "conn.log"
    lines = [json.dumps({**ZEEK, "ts": ts, "vlan": vlan}) for ts, vlan in ((100.5, 7), (50, 9), (101, None))]
    path.write_text("\n".join([*lines, "bad", "worse", json.dumps({**ZEEK, "proto": "x"})]))
    _, shown = check(path, capsys, fields=True)
    assert "record 3: not_json (and 1 more): got 3 bytes bad" in shown and "record 5: protocol: " in shown
    rows = {line.split()[0]: line.split("│")[1:] for line in shown.splitlines() if line.count("│") == 4}
    assert [cell.strip() for cell in rows["vlan_id"]] == ["vlan", "2", "33.3%", "7 to 9"]
    assert [cell.strip() for cell in rows["source_type"]] == ["=zeek", "3", "", "zeek 3"]
    assert "1970-01-01 00:00:50.000 to" in rows["start_ts_us"][3]
    document, shown = check(path, capsys, as_json=True)
    assert shown == "" and document["content_type"] == "zeek-conn+json"
    assert [row["field"] for row in document["fields"]] == arrow_schema("flow").names
    fields = {row["field"]: row for row in document["fields"]}
    assert (fields["vlan_id"]["rows"], fields["vlan_id"]["least"], fields["vlan_id"]["greatest"]) == (2, 7, 9)
    assert fields["history"]["frequent"] == [["ShADadFf", 3]] and fields["src_mac_count"]["origin"] == ""
    assert fields["raw_offset"]["origin"] == "message" and fields["quality"]["origin"] == "derived"
    assert [(row["reason"], row["count"], row["source_record"]) for row in document["rejects"]] == [
        ("not_json", 2, 3),
        ("protocol", 1, 5),
    ]


def test_an_empty_file_says_so_and_ends_with_64(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for content, why in (("", "empty"), ("\n", "no record"), (",".join(ICSFLOW) + "\n", "header and no record")):
        (tmp_path / "x").write_text(content)
        with pytest.raises(BadData, match=f"got no flow, expected some: .*{why}") as refused:
            check(tmp_path / "x", capsys)
        captured = capsys.readouterr()
        assert refused.value.exit_code == 64 and set(json.loads(captured.out).values()) == {0}
        assert ("is empty" in captured.err) == (content == "")


def test_other_events_are_no_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "eve.json").write_text(json.dumps(EVE) + "\n" + json.dumps({"event_type": "alert"}))
    document, shown = check(tmp_path / "eve.json", capsys)
    assert document["read"] == document["accepted"] == 1 and "other lines" in shown


def test_an_unknown_format_names_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("hello")
    with pytest.raises(BadData, match="suricata-eve"):
        flow.check(str(tmp_path / "x"))
    ended = forebay("flow", "check", str(tmp_path / "x"))
    assert ended.code == 64 and "icsflow" in ended.stderr
