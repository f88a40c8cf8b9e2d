"""Folds and left-out families."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.lab.protocols.nsl_kdd_cv import stratified_folds


@given(st.lists(st.sampled_from(["normal", "scan", "flood", "worm"]), min_size=1, max_size=300), st.integers(0, 99))
def test_every_label_is_dealt_evenly(labels: list[str], seed: int) -> None:
    label = np.array(labels)
    fold = stratified_folds(label, 10, seed)
    for name in set(labels):
        counts = np.bincount(fold[label == name], minlength=10)
        assert counts.max() - counts.min() <= 1
    counts = np.bincount(fold, minlength=10)
    assert counts.max() - counts.min() <= 1
    assert np.array_equal(fold, stratified_folds(label, 10, seed))
