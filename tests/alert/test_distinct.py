"""Distinct values and combinations, against a loop over rows."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import given
from hypothesis import strategies as st

from pipeline.alert.distinct import Coded, coded, combinations, keys_within, of_distinct, within

ROWS = st.lists(
    st.tuples(st.sampled_from(["a", "b", "a-", None]), st.sampled_from([1, 2, None]), st.sampled_from(["-b", "b"]))
)
ONE_PART = range(1)


def _columns(rows: list[tuple[str | None, int | None, str]]) -> list[Coded]:
    types = (pa.string(), pa.uint16(), pa.string())
    return [coded(pa.array([row[number] for row in rows], kind)) for number, kind in enumerate(types)]


@given(ROWS)
def test_a_column_is_told_by_its_distinct_values(rows: list[tuple[str | None, int | None, str]]) -> None:
    for number, column in enumerate(_columns(rows)):
        values = [row[number] for row in rows]
        assert list(column.values) == list(dict.fromkeys(values))
        assert column.of(np.arange(len(rows))) == [column.at(row) for row in range(len(rows))] == values


@given(ROWS, st.booleans())
def test_combinations_are_numbered_as_they_appear(
    rows: list[tuple[str | None, int | None, str]], are_many: bool
) -> None:
    """Also of columns of so many values that their combinations have no code."""
    columns = [Coded(column.codes, range(1 << 40)) if are_many else column for column in _columns(rows)]
    number, first = combinations(columns)
    appeared = list(dict.fromkeys(rows))
    assert number.tolist() == [appeared.index(row) for row in rows]
    assert first.tolist() == [rows.index(row) for row in appeared]


@given(ROWS)
def test_keys_are_those_of_each_row(rows: list[tuple[str | None, int | None, str]]) -> None:
    """Also where two combinations make one text, as `a`, `-b` and `a-`, `b` without a separator do."""
    texts = ["".join(map(str, row)) for row in rows]
    names, found = keys_within(Coded(np.zeros(len(rows), np.int64), ONE_PART), _columns(rows), "")
    assert names == list(dict.fromkeys(texts))
    assert [names[number] for number in found.number.tolist()] == texts
    assert found.first.tolist() == [texts.index(text) for text in names]
    assert found.flows == [texts.count(text) for text in names]


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from("ab"), st.sampled_from([1, None]))))
def test_what_parts_have_in_common_is_counted_as_it_appears(rows: list[tuple[int, str, int | None]]) -> None:
    rows = sorted(rows, key=lambda row: row[0])
    part = Coded(np.asarray([each for each, *_ in rows], np.int64), range(4))
    columns = [coded(pa.array([row[number] for row in rows], kind)) for number, kind in ((1, pa.string()), (2, "i4"))]
    found = within(part, columns)
    distinct = list(dict.fromkeys(rows))
    assert found.number.tolist() == [distinct.index(row) for row in rows]
    assert found.first.tolist() == [rows.index(row) for row in distinct]
    assert found.flows == [rows.count(row) for row in distinct]
    for each in range(4):
        assert distinct[found.of(each)] == [row for row in distinct if row[0] == each]


@given(st.lists(st.sampled_from(["10.0.0.1", "10.0.0.255", "", None])))
def test_what_is_asked_of_distinct_values_is_asked_of_all(values: list[str | None]) -> None:
    column = pa.array(values, pa.string())
    found = of_distinct(column, lambda distinct: pc.match_substring_regex(distinct, "255$"))
    assert found.equals(pc.match_substring_regex(column, "255$"))
