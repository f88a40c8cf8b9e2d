import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.igan.calibration import EXACT, ConformalTable, unit_scale
from models.igan.temperature import fit_temperature

SCORES = st.lists(st.floats(0, 1, width=32), min_size=1, max_size=60)


def exact_p(calibration: list[float], score: float) -> float:
    return (1 + sum(value >= score for value in calibration)) / (len(calibration) + 1)


@pytest.mark.slow
@given(SCORES, SCORES)
def test_small_tables_are_exact(calibration: list[float], scores: list[float]) -> None:
    table = ConformalTable.fit(np.array(calibration, dtype=np.float32))
    got = table.p_value(np.array(scores, dtype=np.float32))
    assert got.tolist() == [np.float32(exact_p(calibration, score)) for score in scores]


@pytest.mark.slow
def test_a_large_table_is_exact_at_the_top_and_never_too_small() -> None:
    random = np.random.default_rng(0)
    calibration = random.random(4_000).astype(np.float32)
    scores = np.concatenate([random.random(500).astype(np.float32), calibration[:500]])
    table = ConformalTable.fit(calibration)
    exact = np.array([exact_p(calibration.tolist(), score) for score in scores.tolist()])
    got = table.p_value(scores)
    assert (got >= exact.astype(np.float32)).all()
    assert (got <= exact * 1.03 + 1e-6).all()
    rare = exact < EXACT / 4_001
    assert rare.any() and np.array_equal(got[rare], exact[rare].astype(np.float32))
    assert len(table.score) < 700
    assert table.smallest_p == 1 / 4_001


@given(SCORES)
def test_p_values_fall_as_scores_rise(calibration: list[float]) -> None:
    table = ConformalTable.fit(np.array(calibration, dtype=np.float32))
    p = table.p_value(np.linspace(-0.1, 1.1, 50, dtype=np.float32))
    assert (np.diff(p) <= 0).all() and p[0] == 1 and p[-1] == np.float32(table.smallest_p)


@given(SCORES)
def test_tables_survive_json(calibration: list[float]) -> None:
    table = ConformalTable.fit(np.array(calibration, dtype=np.float32))
    again = ConformalTable.from_document(table.document(0.01))
    assert again.n == table.n
    assert np.array_equal(again.score, table.score) and np.array_equal(again.above, table.above)


@pytest.mark.parametrize(
    "change",
    [
        {"score": [0.2, 0.1]},
        {"above": [0, 1]},
        {"above": [1, 1]},
        {"score": [0.1]},
        {"score": [], "above": []},
        {"score": [0.1, float("nan")]},
        {"n": 1},
    ],
)
def test_tables_that_are_none_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="calibration table"):
        ConformalTable.from_document({"n": 2, "score": [0.1, 0.2], "above": [1, 0], **change})


@pytest.mark.slow
def test_temperature_is_the_one_the_rows_were_made_with() -> None:
    random = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn((4000, 3), generator=random)
    y = torch.multinomial(torch.softmax(logits / 2.5, dim=1), 1, generator=random).squeeze(1)
    assert fit_temperature(logits, y) == pytest.approx(2.5, rel=0.1)


def test_units_put_the_median_at_zero_and_the_tail_at_one() -> None:
    view = np.arange(101, dtype=np.float64)
    centre, scale = unit_scale(view)
    assert ((50 - centre) / scale, (99 - centre) / scale) == (0, 1)
    assert unit_scale(np.zeros(5))[1] > 0
