"""However a file is cut while it grows, its records are those of the whole file."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts.raw import tabbed
from pipeline.ingest.files.read_bytes import read_bytes
from pipeline.ingest.follow.position import Layout
from pipeline.ingest.follow.records import Run, cut, event_time_s, layout_of
from tests.ingest.csv_records import ARGUS, NFDUMP_LONG
from tests.ingest.files.one_source import read_records
from tests.ingest.records import EVE, ZEEK
from tests.real_records import FOLDER, needs

Cells = tuple[str, tuple[str, ...], bytes]


def in_pieces(data: bytes, sizes: list[int]) -> list[Cells]:
    """The records of a file that grows by such pieces."""
    layout = layout_of(data, None, True)
    assert layout is not None
    out: list[Cells] = []
    offset, end, inside, number = 0, 0, False, 0
    while offset < len(data):
        end = min(len(data), max(end, offset) + sizes[number % len(sizes)])
        number += 1
        piece = cut(layout, data[offset:end], inside, final=end == len(data))
        layout, inside, offset = piece.layout, piece.inside, offset + piece.consumed
        for run in piece.runs:
            blanks = b" \r" if tabbed(run.content_type) else b" \r\t"
            out += [(run.content_type, run.columns, record.strip(blanks)) for record in run.records]
    return out


def whole(path: Path) -> list[Cells]:
    source = read_records(path)
    return [(source.content_type, source.columns, record) for record in source.records]


CSV_LINES = "\n".join([",".join(NFDUMP_LONG), *[",".join(NFDUMP_LONG.values())] * 5])
ZEEK_LINES = "\n".join(
    [
        "#separator |",
        "#unset_field|!",
        "#path|conn",
        "#fields|" + "|".join(ZEEK),
        *["|".join(map(str, ZEEK.values()))] * 3,
    ]
)
FILES = {
    "zeek json": "\n".join([json.dumps(ZEEK)] * 7),
    "zeek tsv with other marks": ZEEK_LINES + "\n|!\n#close|x\n",
    "eve": "\n".join([json.dumps(EVE), json.dumps({**EVE, "event_type": "stats"}), json.dumps(EVE)]),
    "argus": "\r\n".join([",".join(ARGUS), *[",".join(ARGUS.values())] * 4]),
    "argus with tabs": "\n".join(["\t".join(ARGUS), *["\t".join(ARGUS.values())] * 4]),
    "nfdump csv": CSV_LINES + "\nSummary\nflows,bytes\n1,2\n",
    "an array": json.dumps([ZEEK, {**ZEEK, "note": 'a "}" \\ {'}, ZEEK], indent=2),
    "blank lines": "\n\n  \n" + "\n\n".join([json.dumps(ZEEK)] * 3) + "\n \n",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
@given(sizes=st.lists(st.integers(1, 400), min_size=1, max_size=20))
def test_pieces_give_the_records_of_the_whole(
    name: str, sizes: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "whole"
    path.write_text(FILES[name])
    assert in_pieces(FILES[name].encode(), sizes) == whole(path) != []


@needs("formats", "that public files give the same records in pieces")
def test_so_do_public_records() -> None:
    draw, checked = random.Random(19), 0
    for path in sorted(path for path in (FOLDER / "formats").rglob("*") if path.is_file()):
        try:
            expected = whole(path)
        except Exception:  # noqa: S112 - not every file there is one of records
            continue
        data = read_bytes(path)
        if not expected or b"label" in data.lower():  # labels are for evaluation: a live log keeps what it has
            continue
        assert in_pieces(data, [draw.choice((7, 300, 4_000, 100_000)) for _ in range(50)]) == expected, path
        checked += 1
    assert checked > 10


def test_a_second_header_is_no_record() -> None:
    header, row = ",".join(ARGUS), ",".join(ARGUS.values())
    cells = in_pieces("\n".join([header, row, header, row, ""]).encode(), [1_000])
    assert [record for *_, record in cells] == [row.encode()] * 2


@given(st.binary(max_size=300), st.sampled_from(["zeek-conn+tsv", "zeek-conn+json", "argus+csv", "nfdump+csv"]))
def test_any_bytes_are_cut(data: bytes, content_type: str) -> None:
    for layout in (Layout(content_type), Layout(content_type, array=content_type.endswith("json"))):
        piece = cut(layout, data, final=True)
        assert piece.consumed == len(data)
        for run in piece.runs:
            event_time_s(run, -1)


@pytest.mark.parametrize(
    ("run", "time_s"),
    [
        (Run("zeek-conn+tsv", ("ts", "uid", "duration"), [b"5.5\tC1\t2.25"]), 7.75),
        (Run("zeek-conn+tsv", ("ts", "uid", "duration"), [b"5.5\tC1\t-"]), 5.5),
        (Run("zeek-conn+json", (), [b'{"ts":5.5,"duration":2.0}']), 7.5),
        (Run("zeek-modbus+json", (), [b'{"ts":"1970-01-01T00:00:05Z"}']), 5.0),
        (Run("suricata-eve+json", (), [b'{"timestamp":"1970-01-01T01:00:05.000000+0100"}']), 5.0),
        (Run("goflow2+json", (), [b'{"time_flow_end_ns":5000000000}']), 5.0),
        (Run("argus+csv", ("StartTime",), [b"x"]), None),
        (Run("zeek-conn+json", (), [b'{"ts":"soon"}']), None),
    ],
)
def test_when_a_record_happened(run: Run, time_s: float | None) -> None:
    assert event_time_s(run, -1) == time_s
