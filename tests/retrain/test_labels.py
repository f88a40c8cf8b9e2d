from pathlib import Path

import pytest

from pipeline.errors import BadData
from pipeline.retrain import labels

CLASSES = ("normal", "portscan")


def verdict(uid: str, verdict_id: int, *flows: list[int], kind: str = "portscan") -> dict[str, object]:
    return {"uid": uid, "verdict_id": verdict_id, "by": "ann", "class": kind, "members": list(flows)}


def test_a_true_positive_labels_its_flows_with_the_class_and_a_false_one_with_normal() -> None:
    got = labels.from_verdicts([verdict("a", 2, [0, 5, 1, 9]), verdict("b", 1, [1, 6, 0, 3])], CLASSES)
    assert got.by_position == {(0, 5, 1): "portscan", (1, 6, 0): "normal"}
    assert got.provenance == ("ann: a portscan", "ann: b normal")


def test_the_newer_verdict_counts_and_test_or_duplicate_label_nothing() -> None:
    got = labels.from_verdicts(
        [verdict("a", 2, [0, 1, 0, 1]), verdict("a", 5, [0, 1, 0, 1]), verdict("c", 6, [0, 2, 0, 2])], CLASSES
    )
    assert got.by_position == {(0, 1, 0): "normal"}


def test_a_class_the_model_does_not_have_labels_nothing() -> None:
    assert len(labels.from_verdicts([verdict("a", 2, [0, 1, 0, 1], kind="worm")], CLASSES)) == 0


def test_a_label_file(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("site,sensor,source_record,label\nplant,left,7,portscan\n")
    assert labels.from_file(path, CLASSES).by_record == {("plant", "left", 7): "portscan"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a,b\n1,2\n", "expected site, sensor, source_record, label"),
        ("site,sensor,source_record,label\np,l,7,worm\n", r":2: got label 'worm'"),
        ("site,sensor,source_record,label\np,l,-7,normal\n", r":2: got source_record '-7'"),
        ("site,sensor,source_record,label\np,l\n", r":2: got label None"),
    ],
)
def test_a_bad_label_file_is_refused_by_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(BadData, match=says):
        labels.from_file(path, CLASSES)


def test_of_two_labels_for_a_flow_the_later_source_counts() -> None:
    first = labels.Labels({(0, 0, 0): "normal"}, {}, ("x",))
    second = labels.Labels({(0, 0, 0): "portscan"}, {}, ("y",))
    assert labels.merge(first, second).by_position == {(0, 0, 0): "portscan"}
    assert labels.merge(first, second).provenance == ("x", "y")
