from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.contracts.verdicts import Record, undo_record
from pipeline.errors import BadData
from pipeline.retrain.labels import Labels
from tests.contracts.verdict_records import labelling, uid_of

CLASSES = ("normal", "portscan")
ATTACKS = ("portscan", "mitm")


def verdict(number: int, verdict_id: int, *flows: list[int | None], **given: Any) -> Record:
    return labelling(uid_of(number), verdict_id, given.pop("members", list(flows)), **given)


def of_verdicts(*verdicts: Record) -> Labels:
    labels = Labels()
    labels.add_verdicts(verdicts, ATTACKS)
    return labels


def samples(*offsets: int, sensor: str = "left", source_record: int | None = None) -> pa.Table:
    count = len(offsets)
    return pa.table(
        {
            "site": ["plant"] * count,
            "sensor": [sensor] * count,
            "raw_partition": pa.array([0] * count, pa.int32()),
            "raw_offset": pa.array(offsets, pa.int64()),
            "raw_index": pa.array([0] * count, pa.int32()),
            "source_record": pa.array([source_record] * count, pa.int64()),
        }
    )


def test_a_true_positive_labels_its_flows_with_the_class_and_a_false_one_with_normal() -> None:
    labels = of_verdicts(verdict(1, 2, [0, 5, 0, 9], by="ann"), verdict(2, 1, [0, 6, 0, None], by="bo"))
    said = labels.apply(samples(5, 6, 7))
    assert said.label.tolist() == ["portscan", "normal", ""]
    assert said.by.tolist() == ["ann", "bo", ""]
    assert [labels.given[name]["by"] if name else "" for name in said.verdict.tolist()] == ["ann", "bo", ""]


def test_a_verdict_for_flows_that_are_no_samples_labels_nothing() -> None:
    labels = of_verdicts(verdict(1, 2, [0, 5, 0, 9]))
    assert not labels.apply(samples(4, 6)).touched.any()
    assert not labels.apply(samples(5, sensor="right")).touched.any(), "a raw position of another sensor"


def test_the_newer_verdict_counts_and_test_or_duplicate_label_nothing() -> None:
    labels = of_verdicts(verdict(1, 2, [0, 1, 0, 1]), verdict(1, 5, [0, 1, 0, 1], at_us=2), verdict(3, 6, [0, 2, 0, 2]))
    assert labels.apply(samples(1, 2)).label.tolist() == ["normal", ""]
    assert (labels.overruled, labels.unusable) == (1, 0)


def test_a_verdict_that_was_undone_labels_nothing_and_what_it_overruled_counts_again() -> None:
    before, after = verdict(1, 2, [0, 1, 0, 1]), verdict(1, 1, [0, 1, 0, 1], at_us=2)
    labels = of_verdicts(undo_record(after, "bo", 3), after, before)
    assert labels.apply(samples(1)).label.tolist() == ["portscan"]
    assert (labels.undone, labels.overruled, labels.unusable) == (1, 0, 0)
    assert len(of_verdicts(before, undo_record(before, "bo", 3))) == 0


def test_each_witness_of_an_incident_labels_its_own_flows() -> None:
    left, right = labelling(uid_of(1), 2, [[0, 1, 0]]), labelling(uid_of(2), 2, [[0, 2, 0]], sensor="right")
    both = {**left, "uids": [uid_of(1), uid_of(2)], "alerts": [*left["alerts"], *right["alerts"]]}
    labels = of_verdicts(both, labelling(uid_of(2), 1, [[0, 2, 0]], sensor="right", at_us=5))
    assert labels.apply(samples(1, 2)).label.tolist() == ["portscan", ""]
    assert labels.apply(samples(2, sensor="right")).label.tolist() == ["normal"], "judged anew by itself"


@pytest.mark.parametrize(
    "given",
    [
        {"class": "worm"},
        {"class": "unknown"},  # somebody says that it is an attack, and nobody which
        {"class": "normal"},  # what is suspicious and of no known class must not become normal traffic
        {"members": [[0, 1]]},
        {"members": [[0, "1", 0]]},
        {"members": [[2**31, 1, 0]]},
        {"members": [[0, -1, 0]]},
        {"members": [[0, True, 0]]},
        {"members": ["x"]},
    ],
)
def test_a_verdict_that_cannot_be_used_labels_nothing_and_is_counted(given: dict[str, Any]) -> None:
    labels = of_verdicts(verdict(1, 2, [0, 1, 0, 1], **given))
    assert (len(labels), labels.unusable) == (0, 1)


def test_two_different_labels_for_a_flow_are_none() -> None:
    labels = of_verdicts(verdict(1, 2, [0, 1, 0], [0, 2, 0]), verdict(2, 1, [0, 2, 0]))
    said = labels.apply(samples(1, 2))
    assert said.label.tolist() == ["portscan", ""]
    assert said.conflicting.tolist() == [False, True]
    assert labels.conflicting == 1


def test_a_label_file_and_a_verdict_that_disagree_cancel_each_other(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("site,sensor,source_record,label\nplant,left,7,portscan\n")
    labels = of_verdicts(verdict(2, 1, [0, 2, 0]))
    labels.add_file(path, CLASSES)
    said = labels.apply(samples(1, 2, source_record=7))
    assert said.label.tolist() == ["portscan", ""]
    assert said.by.tolist() == ["file labels.csv", ""]
    assert said.conflicting.tolist() == [False, True]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a,b\n1,2\n", "expected site, sensor, source_record, label"),
        ("site,sensor,source_record,label\np,l,7,worm\n", r":2: got label 'worm'"),
        ("site,sensor,source_record,label\np,l,-7,normal\n", r":2: got source_record '-7'"),
        ("site,sensor,source_record,label\np,l,²,normal\n", r":2: got source_record '²'"),
        ("site,sensor,source_record,label\np,l,99999999999999999999,normal\n", r":2: got source_record '9{20}'"),
        ("site,sensor,source_record,label\np,l\n", r":2: got label None"),
    ],
)
def test_a_bad_label_file_is_refused_by_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(BadData, match=says):
        Labels().add_file(path, CLASSES)


@pytest.mark.parametrize("content", [None, b"site,sensor,source_record,label\n\xff\xfe,l,7,normal\n"])
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "labels.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadData, match=r"labels\.csv: got .*, expected a CSV"):
        Labels().add_file(path, CLASSES)
