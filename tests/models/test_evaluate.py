import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.evaluate import Stretch, auroc, detection, expected_calibration_error, f1_by_class, found, recall_at
from tests.models import tiny

CELLS = st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=40)


@given(CELLS)
def test_auroc_counts_pairs(cells: list[tuple[int, bool]]) -> None:
    score, positive = np.array([c[0] for c in cells], dtype=np.float32), np.array([c[1] for c in cells])
    pairs = [1.0 if a > b else 0.5 if a == b else 0.0 for a, p in cells if p for b, q in cells if not q]
    got = auroc(score, positive)
    assert math.isnan(got) if not pairs else math.isclose(got, sum(pairs) / len(pairs))


def test_recall_at_a_rate() -> None:
    score = np.arange(200, dtype=np.float32)
    negative = np.arange(200) < 100
    assert recall_at(score, ~negative, negative, 0.01) == 1.0
    assert recall_at(score[::-1].copy(), ~negative, negative, 0.01) == 0.0


def test_f1_and_calibration_error() -> None:
    f1 = f1_by_class(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), ("a", "b", "c"))
    assert f1 == {"a": 2 / 3, "b": 0.8}
    sure = np.full(10, 0.75, dtype=np.float32)
    assert math.isclose(expected_calibration_error(sure, np.arange(10) < 5), 0.25)


def test_coarse_labels_are_neither_attack_nor_benign() -> None:
    label = np.array(["normal", "mitm", "misconf"])
    got = detection(
        np.array([0.1, 0.9, 0.2], np.float32), np.array([False, True, True]), label, ("normal",), ("misconf",)
    )
    assert (got["auroc"], got["recall"], got["false_positive_rate"]) == (1.0, 1.0, 0.0)
    assert got["by_label"]["misconf"] == {"rows": 1, "suspect": 1.0}


def test_an_event_is_found_by_a_suspect_of_its_own_inside_it() -> None:
    rows = tiny.rows()
    mine = np.flatnonzero(rows.label == "mitm")[3]
    at = int(rows.end_ts_us[mine])
    suspect = np.zeros(len(rows), dtype=np.bool_)
    suspect[mine] = True
    events = [
        Stretch("M", "mitm", "attack", at - 2_000_000, at + 1),
        Stretch("later", "mitm", "attack", at + 2_000, at + 9_000),
        Stretch("other", "portscan", "attack", at - 10, at + 10),
    ]
    judged = found(events, rows, suspect)
    assert [one["found"] for one in judged] == [True, False, False]
    assert judged[0]["delay_s"] == 2.0
