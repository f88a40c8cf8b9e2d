"""A person's verdict counts more than other labels in training, and one verdict never without bound."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.training import train
from pipeline.contracts.verdicts import Record
from pipeline.retrain import candidate
from pipeline.retrain.labels import Labels
from pipeline.retrain.verdict_weight import VerdictWeight, counts_of
from tests.contracts.verdict_records import labelling, uid_of
from tests.retrain.small_training import ATTACK, CONFIG, FEATURES, plant_rows, samples

WEIGHT = VerdictWeight(4, 512)


def counts(*verdicts: tuple[str, int], weight: VerdictWeight = WEIGHT) -> list[int]:
    """What the rows of each verdict count in all, of verdicts and how many rows each labels."""
    named = np.repeat([name for name, _ in verdicts], [rows for _, rows in verdicts]).astype(np.str_)
    got = counts_of(
        named, np.stack([np.zeros(len(named)), np.arange(len(named)), np.zeros(len(named))]).astype(int), weight
    )
    return [int(got[named == name].sum()) for name, _ in verdicts]


def test_a_verdict_counts_more_than_a_label_of_a_file_and_is_bounded() -> None:
    assert counts(("", 1_000), ("one", 1), ("some", 100), ("many", 128), ("more", 5_000)) == [1_000, 4, 400, 512, 512]
    assert counts(("all", 7), weight=VerdictWeight(1, 3)) == [3]


@given(
    st.lists(st.sampled_from(["", "a", "b", "c"]), min_size=1, max_size=80),
    st.integers(1, 64),
    st.integers(1, 100),
    st.randoms(use_true_random=False),
)
def test_counts_do_not_depend_on_how_the_rows_lie(names: list[str], times: int, most: int, random: Any) -> None:
    verdict, weight = np.array(names, np.str_), VerdictWeight(times, most)
    positions = np.stack([np.zeros(len(names)), np.arange(len(names)) % 7, np.arange(len(names))]).astype(np.int64)
    got = counts_of(verdict, positions, weight)
    order = np.array(random.sample(range(len(names)), len(names)))
    assert counts_of(verdict[order], positions[:, order], weight).tolist() == got[order].tolist()
    for name in set(names):
        of_name = got[verdict == name]
        rows = len(of_name)
        assert of_name.sum() == (rows if not name else min(rows * times, most))
        assert of_name.max() - of_name.min() <= 1, "rows of one verdict count alike"


def labels_of(*verdicts: Record) -> Labels:
    labels = Labels()
    labels.add_verdicts(verdicts, [ATTACK])
    return labels


def members(rows: range) -> list[list[int | None]]:
    return [[0, 1000 + row, 0, None] for row in rows]


def test_labelled_rows_say_what_each_verdict_weighs() -> None:
    table = pa.Table.from_batches([samples(700, seed=7)])
    labels = labels_of(
        labelling(uid_of(1), 1, members(range(600)), by="ann"),
        labelling(uid_of(2), 1, members(range(600, 610)), by="bo"),
    )
    labelled = candidate.labelled_rows(table, labels)
    document = candidate.provenance(labelled, labels)
    assert [(each["by"], each["rows"], each["count"]) for each in document["verdicts"]] == [
        ("ann", 600, 512),
        ("bo", 10, 40),
    ]
    assert document["verdict_weight"] == {"times": 4, "max_rows": 512}
    assert labelled.counts.sum() == 552
    other = candidate.labelled_rows(table, labels, VerdictWeight(1, 512))
    assert other.digest != labelled.digest, "another weight gives another candidate"


def test_a_row_counts_so_often_where_the_network_is_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, seen = plant_rows(), list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]()

    class Seen(Exception):
        pass

    def fit_network(matrix: Any, y: Any, *_: Any, **__: Any) -> None:
        seen.append((matrix, y))
        raise Seen

    monkeypatch.setattr(train, "fit_network", fit_network)
    monkeypatch.setattr(train, "choose_on_rows", lambda *_: type("Same", (), {"applied": lambda _, config: config})())
    for counts in (None, np.ones(len(rows), np.int64), np.where(rows.label == ATTACK, 3, 1)):
        with pytest.raises(Seen):
            train.train(rows, FEATURES, CONFIG, counts=counts)
    once, ones, thrice = seen
    np.testing.assert_array_equal(once[0], ones[0])
    attacks = int((once[1] == once[1].max()).sum())
    assert len(thrice[1]) == len(once[1]) + 2 * attacks
