"""Files that grow and mix logs, formats and wrappers: each record is judged by its own marks, as offline."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts.raw import CONTENT_TYPES
from pipeline.ingest.files.json_file import recognised_records
from pipeline.ingest.files.offline_rows import decode_source
from pipeline.ingest.files.reading import read_file
from pipeline.ingest.files.source_file import SourceFile
from pipeline.ingest.files.source_set import SourceSet
from pipeline.ingest.follow.position import Layout
from pipeline.ingest.follow.records import cut, in_day_order, layout_of, months_first
from pipeline.ingest.formats.marks import KINDS, NETFLOW_EVENT, OTHER_LOG
from pipeline.ingest.formats.own_marks import kind_of, records_in
from pipeline.ingest.recognise import recognise
from pipeline.ingest.scan.lines import cut_lines
from tests.ingest.files.as_found import JSON_RECORDS
from tests.ingest.ics_records import RECORDS as ICS_RECORDS
from tests.ingest.records import EVE, SENT_US, ZEEK
from tests.ingest.test_recognise import RECORDS

DNS = {"ts": 1.0, "uid": "C2", "id.orig_h": "192.0.2.7", "id.resp_h": "192.0.2.8", "query": "x"}
MIX: list[Any] = [
    *JSON_RECORDS.values(),
    *({**record, "_path": log} for log, record in ICS_RECORDS.items()),
    DNS,
    {**DNS, "_path": "dns"},
    {**EVE, "event_type": "alert"},
    {"event_type": "purge_init", "writer_id": "1"},
    {"message": json.dumps(ZEEK)},
    {"log": json.dumps({"message": json.dumps(EVE)}) + "\n"},
    {"log": ZEEK},
    {"hello": 1},
]


def followed(lines: list[str]) -> tuple[list[tuple[str, dict[str, Any]]], int]:
    data = ("\n".join(lines) + "\n").encode()
    layout = layout_of(data, None, True)
    assert layout is not None
    pieces = cut(layout, data, final=True, judged=True)
    return [(run.content_type, json.loads(record)) for run in pieces.runs for record in run.records], pieces.skipped


@given(st.lists(st.sampled_from(MIX), max_size=12))
def test_a_follower_judges_as_a_reader_of_the_whole_file(mix: list[Any]) -> None:
    lines = [json.dumps(record) for record in (ZEEK, *mix)]
    whole = recognised_records("\n".join(lines).encode(), None, presumed_beside=True)
    expected = [
        (KINDS[kind] if KINDS[kind] in CONTENT_TYPES else "zeek-conn+json", json.loads(record))
        for kind, record in zip(whole.kinds.tolist(), whole.records, strict=True)
        if KINDS[kind] not in (OTHER_LOG, NETFLOW_EVENT)
    ]
    assert followed(lines) == (expected, whole.skipped)


@pytest.mark.parametrize(("kind", "record"), RECORDS)
def test_plain_and_compiled_judges_agree(kind: str, record: str) -> None:
    try:
        document = json.loads(record)
    except json.JSONDecodeError:
        document = None
    if isinstance(document, dict) and recognise(cut_lines([record.encode()])).kind[0]:
        assert kind_of(document) == kind


@pytest.mark.parametrize(
    "line",
    [
        {"message": json.dumps(ZEEK)},
        {"log": ZEEK},
        "<13>Nov 14 22:13:20 host zeek: " + json.dumps(ZEEK),
        {**DNS, "_path": "dns"},
        {"event_type": "purge_init"},
    ],
)
def test_a_file_is_known_by_its_first_record_that_is_read(line: Any, tmp_path: Path) -> None:
    lines = [line if isinstance(line, str) else json.dumps(line), json.dumps(ZEEK)]
    assert {kind for kind, _ in followed(lines)[0]} == {"zeek-conn+json"}
    assert list(records_in(b"text")) == [("", b"text")]


CASES = Path(__file__).parents[1] / "samples/field-cases"
# What is packed, no UTF-8, or refused: a follower leaves such a file alone, and says so.
LEFT = ("a02", "a03", "c05", "g01", "i01", "m03", "s01", "x03", "x10", "x11", "z12", "z13", "z26")


def flows_of(files: list[SourceFile]) -> tuple[list[Any], list[Any]]:
    decoded = decode_source(SourceSet.joined([SourceSet.of([file]) for file in files]), "s", "x", SENT_US, 0)
    names = ("start_ts_us", "end_ts_us", "fwd_bytes", "rev_bytes", "fwd_pkts", "quality", "sensor_uid")
    rows = decoded.flows.select(names).to_pylist()
    return sorted(rows, key=str), sorted(decoded.rejects["reason"].to_pylist())


@pytest.mark.parametrize("path", sorted(CASES.rglob("*.*")), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_follower_reads_the_field_cases_as_they_are_read_whole(path: Path) -> None:
    if path.suffix == ".md":
        return
    data = path.read_bytes()
    layout = layout_of(data, None, True)
    if path.parent.name.startswith(LEFT) or path.name == "dns.log":
        assert layout is None or not cut(layout, data, final=True, judged=True).runs or path.parent.name[:3] in LEFT[:2]
        return
    assert layout is not None
    runs = cut(layout, data, final=True, judged=True).runs
    files = [SourceFile(run.content_type, run.columns, run.records, np.arange(len(run.records))) for run in runs]
    assert flows_of(files) == flows_of(list(read_file(path).files))


def test_dates_of_a_table_that_grows_are_read_as_its_head_proves() -> None:
    head = b"Flow ID,Timestamp\n192.0.2.7-1,11/3/2023 10:13:20 PM\n192.0.2.7-2,11/14/2023 10:13:20 PM\n"
    assert months_first(head) and not months_first(head.replace(b"11/14", b"14/11"))
    assert in_day_order(b"192.0.2.7-1,11/3/2023 10:13:20 PM,1", True) == b"192.0.2.7-1,3/11/2023 10:13:20 PM,1"
    assert in_day_order(b"192.0.2.7-1,14.11.2023 22:13", False) == b"192.0.2.7-1,14/11/2023 22:13"


OTHERS = [{**DNS, "_path": "dns"}, {**DNS, "_path": "http"}]


@pytest.mark.parametrize("others", [60, 2_000])
def test_a_file_that_begins_with_other_logs_is_known(others: int) -> None:
    """Beyond the lines that a header is looked for in, and beyond the bytes that a file is known by."""
    mix = [*(OTHERS[number % 2] for number in range(others)), {**ZEEK, "_path": "conn"}]
    records, skipped = followed([json.dumps(record) for record in mix])
    assert ([kind for kind, _ in records], skipped) == (["zeek-conn+json"], others)


def test_a_file_of_one_log_that_is_not_read_is_not_known() -> None:
    for count in (5, 2_000):
        head = "\n".join([json.dumps(OTHERS[0])] * count).encode()
        assert layout_of(head + b"\n", None, True) is None


def test_where_the_format_is_named_only_wrappers_are_taken_off() -> None:
    lines = [json.dumps(each).encode() for each in (ZEEK, {"message": json.dumps(ZEEK)}, {**DNS, "_path": "dns"})]
    layout = layout_of(lines[0] + b"\n", "zeek-conn+json", False)
    assert layout is not None
    pieces = cut(layout, b"\n".join(lines) + b"\n", judged=True, named=True)
    assert [run.content_type for run in pieces.runs] == ["zeek-conn+json"]
    assert [json.loads(record) for record in pieces.runs[0].records] == [ZEEK, ZEEK, {**DNS, "_path": "dns"}]
    events = [json.dumps(each).encode() for each in (EVE, {**EVE, "event_type": "dns"}, {"log": json.dumps(EVE)})]
    pieces = cut(Layout("suricata-eve+json"), b"\n".join(events) + b"\n", judged=True, named=True)
    assert ([json.loads(record) for run in pieces.runs for record in run.records], pieces.skipped) == ([EVE] * 2, 1)


NAMES = st.sampled_from(["ts", "id", "message", "log", "event_type", "_path", "conn", "x"])
LEAVES = st.none() | st.floats(allow_nan=False) | st.text(max_size=8) | st.sampled_from(["{", '{"ts":1}', "flow"])
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=12
)


@given(JSON)
def test_no_record_makes_the_judge_raise(value: Any) -> None:
    assert all(kind in KINDS for kind, _ in records_in(json.dumps(value).encode()))


@pytest.mark.parametrize("depth", [5, 250, 300, 1_000, 5_000])
@pytest.mark.parametrize(
    ("opening", "closing"), [("[", "]"), ('{"log":', "}"), ('{"ts":1,"log":', "}"), ('[{"log":', "}]")]
)
def test_no_depth_makes_the_judge_raise(depth: int, opening: str, closing: str) -> None:
    text = (opening * depth + "1" + closing * depth).encode()
    assert len(list(records_in(text))) <= 1
    assert kind_of({"x" * 1_000_000: 1, "_path": "dns" * 100_000, "ts": 1}) == OTHER_LOG
