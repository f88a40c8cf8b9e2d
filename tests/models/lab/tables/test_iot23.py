from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from models.errors import RefusedModel
from models.lab.tables import iot23
from tests.models.lab.tables.real import conn_log
from tests.real_records import FOLDER, needs

FLOWS = [
    (1000.5, "2.5", "10", "Benign", "-"),
    (990.0, "-", "-", "benign", "-"),
    (3000.0, "1.0", "20", "Malicious", "C&C"),
    (3001.0, "1.0", "20", "Malicious", "-"),
]


def test_labels_missing_cells_and_times(tmp_path: Path) -> None:
    conn_log(tmp_path / f"one{iot23.SUFFIX}", FLOWS)
    table = iot23.load(tmp_path)
    assert table.label.tolist() == ["normal", "normal", "C&C", "malicious"]
    named = {column.name: table.values[:, index] for index, column in enumerate(table.columns)}
    assert np.array_equal(named["duration"], [2.5, np.nan, 1.0, 1.0], equal_nan=True)
    assert table.time_us.tolist() == [1_003_000_000, 990_000_000, 3_001_000_000, 3_002_000_000]
    assert table.group.tolist() == [0, 0, 1, 1]


def test_identifiers_are_in_their_own_table_only(tmp_path: Path) -> None:
    conn_log(tmp_path / f"one{iot23.SUFFIX}", FLOWS)
    table, who = iot23.load(tmp_path), iot23.identifiers(tmp_path)
    names = {column.name for column in table.columns}
    assert not names & {column.name for column in who.columns}
    assert not names & {"ts", "uid", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p"}
    assert np.array_equal(table.label, who.label) and np.array_equal(table.group, who.group)


def test_captures_have_groups_of_their_own(tmp_path: Path) -> None:
    for name in ("a", "b"):
        conn_log(tmp_path / f"{name}{iot23.SUFFIX}", FLOWS)
    table = iot23.load(tmp_path)
    assert (table.group // iot23.BLOCKS_A_CAPTURE).tolist() == [0, 0, 0, 0, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("   Malicious   C&C", ""), "line 5: got 21 fields, expected 23"),
        (lambda text: text.replace("\t10\t", "\tten\t"), "could not convert string to float: .*ten"),
        (lambda text: text.replace("conn_state", "state"), "without conn_state"),
        (lambda text: "", "got 0 records"),
        (lambda text: text.replace("1000.500000", "-"), "without a time"),
    ],
)
def test_a_broken_log_is_refused_with_the_place(tmp_path: Path, change: Callable[[str], str], words: str) -> None:
    path = tmp_path / f"one{iot23.SUFFIX}"
    conn_log(path, FLOWS)
    path.write_text(change(path.read_text()))
    with pytest.raises(RefusedModel, match=words):
        iot23.load(tmp_path)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedModel, match="--data"):
        iot23.load(tmp_path)


@needs("iot-23", "the IoT-23 capture has the counts that were published")
def test_the_real_capture_counts_as_published() -> None:
    table = iot23.load(FOLDER / "iot-23")
    names, counts = np.unique(table.label, return_counts=True)
    count_of = dict(zip(names.tolist(), counts.tolist(), strict=True))
    assert count_of["DDoS"] == 14_394 and count_of["PartOfAHorizontalPortScan"] == 122 and count_of["C&C"] >= 6_706
