import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.igan.known_classes import CHUNK, MAX_PROTOTYPES, KnownClasses, nearest
from models.rows import Floats

CLASSES = ("normal", "scan", "flood", "never")


def known_classes(width: int = 2 * CHUNK + 3, seed: int = 0) -> KnownClasses:
    """Two classes with prototypes, and two without."""
    source = np.random.default_rng(seed)
    return KnownClasses(
        source.normal(size=(7, width)).astype(np.float32),
        np.array([0, 0, 5, 7, 7]),
        np.array([0, 4, 6, 9], np.float32),
        np.array([1, 0.5, 0.9, 0], np.float32),
    )


def rows_of(count: int, width: int, seed: int) -> Floats:
    return np.random.default_rng(seed).normal(0, 0.7, (count, width)).astype(np.float32)


@settings(deadline=None)
@given(st.integers(1, 80), st.integers(0, 40), st.integers(0, 99))
def test_it_is_the_distance_from_the_nearest_prototype(width: int, count: int, seed: int) -> None:
    known, z = known_classes(width, seed), rows_of(count, width, seed)
    source = np.random.default_rng(seed)
    index, probability = source.integers(0, 4, count), source.random(count).astype(np.float32)
    got = known.known(z, probability, index)
    for row, number in enumerate(index):
        distance = float(known.distance(z[row : row + 1], int(number))[0])
        near, sure = distance <= known.radius[number], probability[row] >= known.probability[number]
        if abs(distance - known.radius[number]) > 1e-4:
            assert got[row] == (near and sure)


def test_a_class_without_prototypes_is_known_nowhere() -> None:
    known = known_classes()
    z = rows_of(5, known.centre.shape[1], 1)
    assert not known.known(z, np.ones(5, np.float32), np.full(5, 3)).any()
    assert np.isinf(nearest(z, known.centre[:0])).all()


def test_a_row_gets_the_same_answer_for_any_split() -> None:
    known = known_classes()
    z, probability = rows_of(300, known.centre.shape[1], 2), np.ones(300, np.float32)
    index = np.arange(300) % 3
    whole = known.known(z, probability, index)
    parts = [known.known(z[at : at + 7], probability[at : at + 7], index[at : at + 7]) for at in range(0, 300, 7)]
    assert np.array_equal(whole, np.concatenate(parts))
    assert 0 < whole.sum() < 300


def test_what_is_no_number_is_known_nowhere() -> None:
    known = known_classes()
    z = np.tile(known.centre[0], (3, 1))
    z[0, 0], z[1, -1] = np.nan, np.inf
    assert known.known(z, np.ones(3, np.float32), np.ones(3, np.int64)).tolist() == [False, False, True]
    assert not known.known(z, np.full(3, np.nan, np.float32), np.ones(3, np.int64)).any()


def test_document_and_tensors_make_it_again() -> None:
    known = known_classes()
    again = KnownClasses.from_document(known.document(CLASSES), known.tensors, CLASSES)
    for name in ("centre", "first", "radius", "probability"):
        assert np.array_equal(getattr(again, name), getattr(known, name))
    with pytest.raises(ValueError, match="expected"):
        KnownClasses.from_document(known.document(CLASSES), known.tensors, CLASSES[:3])


@pytest.mark.parametrize(
    ("first", "radius", "probability"),
    [
        ([0, 5, 8], [1, 1], [1, 1]),
        ([1, 5, 7], [1, 1], [1, 1]),
        ([0, 9, 7], [1, 1], [1, 1]),
        ([0, 5, 7], [1], [1, 1]),
        ([0, 5, 7], [-1, 1], [1, 1]),
        ([0, 5, 7], [1, np.nan], [1, 1]),
        ([0, 5, 7], [1, 1], [1, 1.5]),
    ],
)
def test_what_does_not_fit_is_refused(first: list[int], radius: list[float], probability: list[float]) -> None:
    with pytest.raises(ValueError, match="known classes"):
        KnownClasses(
            np.zeros((7, 3), np.float32),
            np.array(first),
            np.array(radius, np.float32),
            np.array(probability, np.float32),
        )


def test_too_many_prototypes_are_refused() -> None:
    count = MAX_PROTOTYPES + 1
    with pytest.raises(ValueError, match="prototypes of a class"):
        KnownClasses(
            np.zeros((count, 3), np.float32), np.array([0, count]), np.ones(1, np.float32), np.ones(1, np.float32)
        )
