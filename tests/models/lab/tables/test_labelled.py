from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.errors import RefusedModel
from models.lab.tables.labelled import read, read_pair
from models.lab.tables.prepare import Prepared
from models.lab.tables.table import not_in


def csv(folder: Path, name: str, lines: list[str]) -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


TRAIN = [
    "size,proto,seen,same,class",
    "1.5,tcp,true,7,fine",
    ",udp,false,7,dos",
    "inf,tcp,true,7,fine",
    "2,,true,7,scan",
]


def test_kinds_missing_cells_and_labels(tmp_path: Path) -> None:
    got = read(csv(tmp_path, "a.csv", TRAIN), "class", "fine")
    kinds = {column.name: column.kind for column in got.table.columns}
    assert kinds == {"size": "number", "proto": "category", "seen": "flag"}
    assert np.array_equal(got.table.values[:, 0], [1.5, np.nan, np.nan, 2.0], equal_nan=True)
    assert got.table.columns[1].vocabulary == ("", "tcp", "udp")
    assert got.table.label.tolist() == ["normal", "dos", "normal", "scan"]
    assert got.table.family.tolist() == got.table.label.tolist()
    assert any("same" in note and "left out" in note for note in got.notes)
    assert any("infinite" in note for note in got.notes)


def test_csv_and_parquet_say_the_same(tmp_path: Path) -> None:
    text = read(csv(tmp_path, "a.csv", TRAIN), "class", "fine").table
    columns = {
        "size": [1.5, None, float("inf"), 2.0],
        "proto": pa.array(["tcp", "udp", "tcp", None]).dictionary_encode(),
        "seen": [True, False, True, True],
        "same": [7, 7, 7, 7],
        "class": ["fine", "dos", "fine", "scan"],
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    binary = read(tmp_path / "a.parquet", "class", "fine").table
    assert binary.columns == text.columns and np.array_equal(binary.values, text.values, equal_nan=True)


def test_other_separators_spaces_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = csv(tmp_path, "a.csv", ["\ufeffsize; proto; Label", "1;tcp; fine", "2;udp;dos"])
    table = read(path, "Label", "fine").table
    assert [column.name for column in table.columns] == ["size", "proto"] and table.label.tolist() == ["normal", "dos"]


def test_the_test_table_is_read_by_the_training_table_s_kinds(tmp_path: Path) -> None:
    train = csv(tmp_path, "a.csv", ["code,word,one,class", "1,a,3,fine", "2,b,3,dos", "9,b,3,fine"])
    test = csv(tmp_path, "b.csv", ["word,code,one,new,class", "7,x,8,1,fine", "b,2,9,1,worm", "a,3,9,1,dos"])
    training_set, exam = read_pair(train, test, "class", "fine")
    assert [(column.name, column.kind) for column in exam.table.columns] == [("code", "number"), ("word", "category")]
    assert exam.table.columns[1].vocabulary == ("a", "b", "7")  # a new word does not move the known ones
    assert np.isnan(exam.table.values[0, 0])  # a word among numbers
    assert any("code" in note for note in exam.notes) and any("new" in note for note in exam.notes)
    assert not_in(exam.table, training_set.table).tolist() == [True, False, True]
    hot = Prepared.fit(training_set.table.unlabelled()).matrix(exam.table.unlabelled())
    assert hot.shape == (3, 4) and hot[0, 1:].tolist() == [0, 0, 1]


def test_training_alone_decides(tmp_path: Path) -> None:
    train = csv(tmp_path, "a.csv", ["size,class", "1,fine", "2,dos"])
    tests = [
        csv(tmp_path, "b.csv", ["size,class", "5,fine", "6,dos"]),
        csv(tmp_path, "c.csv", ["size,class", "x,fine", "6,dos"]),
    ]
    training_sets = [read_pair(train, test, "class", "fine")[0] for test in tests]
    assert training_sets[0].table.columns == training_sets[1].table.columns
    assert np.array_equal(training_sets[0].table.values, training_sets[1].table.values)


def test_a_few_stray_words_do_not_make_numbers_words(tmp_path: Path) -> None:
    cells = [str(number) for number in range(300)]
    cells[100] = "0x1F"
    path = csv(
        tmp_path, "a.csv", ["size,class", *(f"{cell},{'fine' if n % 2 else 'dos'}" for n, cell in enumerate(cells))]
    )
    got = read(path, "class", "fine")
    assert got.table.columns[0].kind == "number" and np.isnan(got.table.values[100, 0])
    assert any("1 cells that are no numbers" in note for note in got.notes)


def test_what_looks_like_an_identifier_a_time_or_the_label_is_said(tmp_path: Path) -> None:
    lines = [f"{n},{n * 7},{n % 5},{n % 2},{'dos' if n % 2 else 'fine'}" for n in range(200)]
    got = read(csv(tmp_path, "a.csv", ["SrcAddr,serial,size,attack_cat,class", *lines]), "class", "fine")
    assert [column.name for column in got.table.columns] == ["SrcAddr", "serial", "size", "attack_cat"]  # none dropped
    notes = "\n".join(got.notes)
    assert "SrcAddr: by its name" in notes and "serial: a different whole number" in notes
    assert "attack_cat: separates attacks from normal without an error" in notes and "size:" not in notes
    fewer = read(tmp_path / "a.csv", "class", "fine", ("SrcAddr,serial", "attack_cat"))
    assert [column.name for column in fewer.table.columns] == ["size"] and not fewer.notes


def test_numeric_labels(tmp_path: Path) -> None:
    pq.write_table(pa.table({"size": [1, 2], "class": [0.0, 1.0]}), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet", "class", "0").table.label.tolist() == ["normal", "1"]


def test_a_test_without_a_column_of_training_is_refused(tmp_path: Path) -> None:
    train = csv(tmp_path, "a.csv", ["size,rate,class", "1,1,fine", "2,3,dos"])
    test = csv(tmp_path, "b.csv", ["size,class", "1,fine", "2,dos"])
    with pytest.raises(RefusedModel, match=r"no column rate.*--drop rate"):
        read_pair(train, test, "class", "fine")
    words = csv(tmp_path, "c.csv", ["size,rate,class", "1,a,fine", "2,b,dos"])
    with pytest.raises(RefusedModel, match=r"column rate: got words such as 'a' in 2 of 2"):
        read_pair(train, words, "class", "fine")
