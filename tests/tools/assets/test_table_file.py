"""A cell of the CSV file is text for any spreadsheet, and comes back as it was."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.runtime.terminal import printable
from pipeline.tools.assets.devices import assets_of
from pipeline.tools.assets.documents import assets_in
from pipeline.tools.assets.inventory import inventory_of
from pipeline.tools.assets.label import Label
from pipeline.tools.assets.table_file import COLUMNS, csv_text
from pipeline.tools.spreadsheets import cell, plain
from tests.featurize.flows import batch
from tests.tools.assets.plants import talk


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "'=1", "=cmd|' /C calc'!A0"])
def test_what_looks_like_a_formula_is_text(text: str) -> None:
    assert cell(text)[0] not in "=+-@\t\r " and plain(cell(text)) == printable(text)


@given(st.text(max_size=20))
def test_a_cell_comes_back(text: str) -> None:
    shown = printable(text)
    assert plain(cell(shown)) == shown and cell(shown).isprintable()


def test_a_file_has_a_line_a_device() -> None:
    rows = talk("10.0.0.1", "10.0.0.20", 53, 3, site="=HYPERLINK(1)", app_proto='dns",\n=1', ip_proto=17)
    sites = assets_of(inventory_of([batch(rows)]))
    text = csv_text(assets_in(sites.values(), {("=HYPERLINK(1)", "10.0.0.20"): Label("+pump", "high", "@cell")}))
    head, *lines = csv.reader(io.StringIO(text))
    assert tuple(head) == COLUMNS and [len(line) for line in lines] == [len(COLUMNS)] * 2
    assert [line[:5] for line in lines] == [
        ["'=HYPERLINK(1)", "10.0.0.1", "", "", ""],
        ["'=HYPERLINK(1)", "10.0.0.20", "'+pump", "high", "'@cell"],
    ]
    assert lines[1][5] == "names" and "\\x0a" in lines[1][7]
