"""Tables a stranger brings: broken, hostile or nonsense files are refused with the place and the remedy."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.errors import RefusedModel
from models.lab.tables.labelled import read
from tests.examples import examples

RECORDS = b"".join(b"%d,w%d,%s\n" % (n, n, b"ok" if n % 2 else b"bad") for n in range(2_000))
CASES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "empty file"),
    "an empty line": (b"\n", "empty first line"),
    "a header alone": (b"a,label\n", "no records"),
    "another label": (b"a,lable\n1,ok\n2,bad\n", r"no column label \(perhaps lable\?\)"),
    "another normal": (b"a,label\n1,OK\n2,bad\n", "no 'ok'; labels are OK, bad"),
    "one class": (b"a,label\n1,ok\n2,ok\n", "got only 'ok'"),
    "a record without a label": (b"a,label\n1,ok\n2,\n", "first in record 2"),
    "a short record": (b"a,b,label\n1,2,ok\n2,bad\n", "Row #3: Expected 3 columns, got 2"),
    "a long record": (b"a,label\n1,ok\n2,bad,3\n", "Row #3: Expected 2 columns, got 3"),
    "an open quote": (b'a,label\n1,ok\n"2,bad\n', "Row #3"),
    "latin 1": (b"a,label\n1,ok\n\xe9,bad\n", "iconv"),
    "latin 1 far below": (b"a,label\n" + b"1,ok\n" * 400_000 + b"\xe9,bad\n", "iconv"),
    "utf-16": ("a,label\n1,ok\n".encode("utf-16"), "iconv"),
    "zero bytes": (b"a\0b,label\n1,ok\n", "zero bytes"),
    "gzip": (b"\x1f\x8b\x08\0abc", "iconv|zero bytes"),
    "two columns of a name": (b"a,a,label\n1,2,ok\n1,2,bad\n", "more than one column named a"),
    "nothing that varies": (b"a,label\n1,ok\n1,bad\n", "no column that varies"),
    "an identifier": (b"a,name,label\n" + RECORDS, r"2000 different words in 2000 records .*--drop name"),
    "broken parquet": (b"PAR1" + bytes(40) + b"PAR1", "broken Parquet"),
    "both words": (b"a,label\n1,ok\n2,normal\n", "rename one"),
    "a label a record": (b"a,other,label\n" + b"".join(b"1,2,l%d\n" % n for n in range(400)) + b"1,2,ok\n", "400|401"),
}


@pytest.mark.parametrize("case", CASES)
def test_refused_with_the_reason(tmp_path: Path, case: str) -> None:
    data, words = CASES[case]
    path = tmp_path / "a.csv"
    path.write_bytes(data)
    with pytest.raises(RefusedModel, match=words) as refused:
        read(path, "label", "ok")
    assert str(path) in str(refused.value)


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (lambda: pa.array([[1], [2]]), "list<"),
        (lambda: pa.array([b"x", b"y"]), "binary"),
        (lambda: pa.array([{"x": 1}, {"x": 2}]), "struct<"),
    ],
)
def test_nested_and_binary_columns_are_refused_by_name(
    tmp_path: Path, column: Callable[[], pa.Array], words: str
) -> None:
    pq.write_table(pa.table({"odd": column(), "label": ["ok", "bad"]}), tmp_path / "a.parquet")
    with pytest.raises(RefusedModel, match=f"column odd: got {words}.*--drop odd"):
        read(tmp_path / "a.parquet", "label", "ok")


def test_columns_to_drop_must_be_there_and_not_the_label(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("size,label\n1,ok\n2,bad\n")
    with pytest.raises(RefusedModel, match=r"no column sise \(perhaps size\?\)"):
        read(path, "label", "ok", ("sise",))
    with pytest.raises(RefusedModel, match="the label's column"):
        read(path, "label", "ok", ("label",))
    with pytest.raises(RefusedModel, match="No such file"):
        read(tmp_path / "none.csv", "label", "ok")
    with pytest.raises(RefusedModel, match="directory"):
        read(tmp_path, "label", "ok")


@settings(max_examples=examples(150), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=120), st.sampled_from([b"", b"a,label\n1,ok\n2,bad\n", b"PAR1"]))
def test_any_bytes_are_read_or_refused(tmp_path: Path, data: bytes, before: bytes) -> None:
    path = tmp_path / "any"
    path.write_bytes(before + data)
    try:
        got = read(path, "label", "ok")
    except RefusedModel:
        return
    assert got.table.values.shape == (len(got.table), len(got.table.columns)) and got.table.attack.any()
