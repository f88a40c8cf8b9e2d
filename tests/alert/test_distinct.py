"""Distinct values and combinations, against a loop over rows."""

import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import given
from hypothesis import strategies as st

from pipeline.alert.distinct import combinations, fitting, keys_of, of_distinct

ROWS = st.lists(
    st.tuples(st.sampled_from(["a", "b", "a-", None]), st.sampled_from([1, 2, None]), st.sampled_from(["-b", "b"]))
)


def _columns(rows: list[tuple[str | None, int | None, str]]) -> list[pa.Array]:
    types = (pa.string(), pa.uint16(), pa.string())
    return [pa.array([row[number] for row in rows], kind) for number, kind in enumerate(types)]


@given(ROWS)
def test_combinations_are_numbered_as_they_appear(rows: list[tuple[str | None, int | None, str]]) -> None:
    number, first = combinations(_columns(rows))
    appeared = list(dict.fromkeys(rows))
    assert number.tolist() == [appeared.index(row) for row in rows]
    assert first.tolist() == [rows.index(row) for row in appeared]


@given(ROWS)
def test_keys_are_those_of_each_row(rows: list[tuple[str | None, int | None, str]]) -> None:
    """Also where two combinations make one text, as `a`, `-b` and `a-`, `b` without a separator do."""
    texts = ["".join("?" if value is None else str(value) for value in row) for row in rows]
    keys = keys_of(_columns(rows), "", "?")
    assert keys.names.to_pylist() == list(dict.fromkeys(texts))
    assert [keys.names[number].as_py() for number in keys.number.tolist()] == texts
    assert keys.first.tolist() == [texts.index(text) for text in dict.fromkeys(texts)]


@given(st.lists(st.sampled_from(["10.0.0.1", "10.0.0.255", "", None])))
def test_what_is_asked_of_distinct_values_is_asked_of_all(values: list[str | None]) -> None:
    column = pa.array(values, pa.string())
    found = of_distinct(column, lambda distinct: pc.match_substring_regex(distinct, "255$"))
    assert found.equals(pc.match_substring_regex(column, "255$"))


@given(st.lists(st.integers(0, 9), unique=True), st.sets(st.integers(0, 9)), st.integers(0, 9))
def test_what_is_known_always_fits_and_of_the_rest_the_first(names: list[int], known: set[int], most: int) -> None:
    free = max(0, most - len(known))
    fits = [*known, *[name for name in names if name not in known][:free]]
    assert fitting(pa.array(names, pa.int64()), known, most).tolist() == [
        at for at, name in enumerate(names) if name in fits
    ]
