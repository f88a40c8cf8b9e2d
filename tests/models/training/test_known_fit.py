from dataclasses import replace

import numpy as np
import pytest

from models.igan.known_classes import MAX_PROTOTYPES, nearest
from models.rows import Floats
from models.training.known_fit import KNOWN, LEAST_ROWS, WRONG_SHARE, NamedRows, figures, fit_known_classes, prototypes

WIDTH = 6


def cloud(centre: float, count: int, seed: int) -> Floats:
    return np.random.default_rng(seed).normal(centre, 1.0, (count, WIDTH)).astype(np.float32)


def case(seed: int = 0, wrong_at: float = 5.0, wrong: int = 40) -> NamedRows:
    """Two attacks, classes 1 and 2, at 0 and 10, named rightly; and normal rows that are called 1, at `wrong_at`."""
    judged = np.concatenate([cloud(0, 200, seed + 2), cloud(10, 200, seed + 3), cloud(wrong_at, wrong, seed + 4)])
    return NamedRows(
        np.concatenate([cloud(0, 300, seed), cloud(10, 300, seed + 1)]),
        np.repeat([1, 2], 300),
        judged,
        np.repeat([1, 2, 1], [200, 200, wrong]),
        np.full(len(judged), 0.9, np.float32),
        np.repeat([1, 2, 0], [200, 200, wrong]),
    )


def test_names_stay_where_they_were_learnt_and_go_where_they_were_wrong() -> None:
    cases = {KNOWN: case(), "family x": case(10)}
    known = fit_known_classes(cases, 3, 1)
    assert [len(part) for part in np.split(known.centre, known.first[1:-1])] == [0, MAX_PROTOTYPES, MAX_PROTOTYPES]
    for share in figures(known, cases, 1).values():
        assert share["right"] > 0.98 * share["right_before"]
        assert share["wrong"] <= WRONG_SHARE
        assert (share["right_before"], share["wrong_before"]) == (400 / 440, 40 / 440)
    far = np.full((1, WIDTH), 5, np.float32)
    for number in (1, 2):
        assert not known.known(far, np.ones(1, np.float32), np.array([number])).any()


def test_a_case_that_was_left_out_shrinks_the_radius() -> None:
    alone = fit_known_classes({KNOWN: case(wrong=0)}, 3, 1)
    beside = fit_known_classes({KNOWN: case(wrong=0), "sensor x": case(10, wrong_at=1.0, wrong=100)}, 3, 1)
    assert beside.radius[1] < alone.radius[1]
    assert beside.radius[2] == alone.radius[2]


def test_wrong_names_of_little_probability_cost_no_radius() -> None:
    near = case(wrong_at=0.0)
    doubtful = replace(near, probability=np.where(near.truth == 0, 0.6, 0.9).astype(np.float32))
    known = fit_known_classes({KNOWN: doubtful}, 3, 1)
    assert 0.6 < known.probability[1] <= 0.9
    assert figures(known, {KNOWN: doubtful}, 1)[KNOWN]["right"] > 0.9


def test_a_class_that_was_never_right_or_hardly_learnt_is_known_nowhere() -> None:
    never = case()
    never = replace(never, class_index=np.where(never.class_index == 2, 0, never.class_index))
    assert np.diff(fit_known_classes({KNOWN: never}, 3, 1).first)[2] == 0
    few = case()
    kept = np.r_[:300, 300 : 300 + LEAST_ROWS - 1]
    few = replace(few, learnt_z=few.learnt_z[kept], learnt_y=few.learnt_y[kept])
    assert np.diff(fit_known_classes({KNOWN: few}, 3, 1).first).tolist() == [0, MAX_PROTOTYPES, 0]


def test_prototypes_cover_rare_corners_and_depend_on_no_chance() -> None:
    z = np.concatenate([cloud(0, 2000, 1), cloud(30, 12, 2)])
    centre = prototypes(z)
    assert len(centre) == MAX_PROTOTYPES
    assert nearest(z[-12:], centre).max() < 10
    assert np.array_equal(centre, prototypes(z))
    assert len(prototypes(np.ones((50, 3), np.float32))) == 1
    assert len(prototypes(z[: LEAST_ROWS - 1])) == 0


def test_without_held_out_time_nothing_is_chosen() -> None:
    with pytest.raises(KeyError, match=KNOWN):
        fit_known_classes({"family x": case()}, 3, 1)
