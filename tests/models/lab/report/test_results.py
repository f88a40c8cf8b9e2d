import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from models.errors import RefusedModel
from models.lab.report.results import macro_f1, results_of
from tests.models.lab.report import made_up

KEYS = {
    "model", "test", "seed", "task", "acc", "f1", "mcc", "auroc", "auprc", "fpr", "fnr", "macro_f1", "tpr_at",
    "threshold", "nominal_fpr",
}  # fmt: skip


@pytest.mark.parametrize("protocol", sorted(set(made_up.EVERY) - {"cost"}))
def test_one_result_a_model_test_seed_and_task(protocol: str) -> None:
    documents = made_up.EVERY[protocol]() if protocol == "controls" else made_up.EVERY[protocol](("igan-ids", "svm"))
    results = results_of(documents)
    json.dumps(results, allow_nan=False)
    assert len(results) == sum(len(each["tests"]) for each in documents)
    assert all(set(each) >= KEYS for each in results)
    assert all(set(each["tpr_at"]) >= {"0.001", "0.01", "0.062"} for each in results)


def test_which_decision_a_result_reports() -> None:
    calibrated = made_up.document("nsl-kdd-test", "igan-ids", "train-test", 0)
    plain = made_up.document("nsl-kdd-cv", "igan-ids", "run00-fold00", 0, calibrated=False)
    named = made_up.document("nsl-kdd-test", "igan-ids", "train-test", 0, "5-class")
    first, second, third = (results_of([each])[0] for each in (calibrated, plain, named))
    figures = calibrated["tests"]["fold"]["at"]["0.01"]
    assert (first["nominal_fpr"], first["threshold"], first["mcc"]) == (0.01, 2.3, figures["mcc"])
    assert (second["nominal_fpr"], second["threshold"]) == (None, 0.5)
    classes = named["tests"]["fold"]["classes"]
    assert (third["macro_f1"], third["acc"], third["fpr"]) == (
        classes["macro_f1"],
        classes["acc"],
        classes["binary"]["fpr"],
    )


def test_costs_are_results_too_and_nothing_has_none() -> None:
    results = results_of(made_up.cost(("igan-ids",)))
    assert set(results[0]) == {"model", "parameters", "train_seconds", "stored_bytes", "rows_per_second"}
    assert results_of([]) == []


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_macro_f1_of_counts_is_scikit_learns(pairs: list[tuple[bool, bool]]) -> None:
    truth, said = [p[0] for p in pairs], [p[1] for p in pairs]
    counts = {
        name: sum(pair == kind for pair in pairs)
        for name, kind in {"tp": (True, True), "fn": (True, False), "fp": (False, True), "tn": (False, False)}.items()
    }
    oracle = metrics.f1_score(truth, said, labels=sorted(set(truth)), average="macro", zero_division=0)
    assert macro_f1(counts) == pytest.approx(oracle)


BROKEN: dict[str, Any] = {
    "no object": 7,
    "no split": {"split": None},
    "seed is text": {"seed": "0"},
    "tests are a list": {"tests": []},
    "a test is text": {"tests": {"fold": "?"}},
    "a test has no ranking": {"tests": {"fold": {"at": {}}}},
    "a share is text": {"tests": {"fold": {"ranking": {"auroc": "0.9", "auprc": None, "tpr_at": {}, "roc": []}}}},
    "a curve is bent": {"tests": {"fold": {"ranking": {"auroc": 1, "auprc": 1, "tpr_at": {}, "roc": [[0]]}}}},
}


@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN)
def test_a_document_that_is_no_fit_is_refused_by_name(change: Any) -> None:
    good = made_up.document("nsl-kdd-cv", "igan-ids", "run00-fold00", 0)
    bad = {**copy.deepcopy(good), **change} if isinstance(change, dict) else change
    with pytest.raises(RefusedModel, match=r"results: fit.*: got .*, expected .*; delete it and run again"):
        results_of([good, bad])


def test_protocols_do_not_mix() -> None:
    fits = [made_up.document(protocol, "igan-ids", "s", 0) for protocol in ("nsl-kdd-cv", "table")]
    with pytest.raises(RefusedModel, match="got fits of nsl-kdd-cv and table, expected those of one protocol"):
        results_of(fits)
