import numpy as np

from models.training.evaluate import Stretch, detection, events_detected
from tests.models import tiny


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
    judged = events_detected(events, rows, suspect)
    assert [event["found"] for event in judged] == [True, False, False]
    assert judged[0]["delay_s"] == 2.0
