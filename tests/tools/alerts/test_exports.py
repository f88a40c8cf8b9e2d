"""Incidents as files: every document, and a table whose cells no spreadsheet takes for formulas."""

import csv
import io

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import Usage
from pipeline.tools.alerts.exports import COLUMNS, file_of
from pipeline.tools.alerts.incidents import documents
from pipeline.tools.spreadsheets import FORMULA
from tests.contracts.test_incident_joining import alert
from tests.tools.alerts.test_incidents import two_witnesses


def test_lines_are_the_documents() -> None:
    listed = documents(two_witnesses())
    assert [orjson.loads(line) for line in file_of(listed, "jsonl").splitlines()] == listed


def test_a_table_has_a_row_an_incident() -> None:
    (row,) = csv.DictReader(io.StringIO(file_of(documents(two_witnesses()), "csv").decode()))
    assert tuple(row) == COLUMNS
    assert (row["sensors"], row["flows"], row["listed_as"], row["alerts"]) == ("bottom left", "2", "page", "2")


@given(st.text(max_size=30), st.text(max_size=30), st.sampled_from(["=1+1", "@x", "-2", "+3", "\t=1", "'a"]))
def test_no_cell_is_a_formula_or_a_second_line(says: str, sensor: str, evil: str) -> None:
    listed = documents([{**alert(1, evil + sensor, title=evil), "message": evil + says}])
    (head, row) = csv.reader(io.StringIO(file_of(listed, "csv").decode()))
    assert len(head) == len(row)
    assert not any(cell.lstrip().startswith(FORMULA) or not cell.isprintable() for cell in row)


def test_another_format_is_usage() -> None:
    with pytest.raises(Usage, match="--format: got 'xls', expected one of jsonl, csv"):
        file_of([], "xls")
