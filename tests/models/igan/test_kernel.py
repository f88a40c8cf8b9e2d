"""The compiled network and distances: what a scalar oracle says, the same bits however rows are split."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.igan import kernel, packed
from models.igan.arrays import NetworkArrays
from models.igan.distances import Closeness, Distance
from models.igan.views import attack_odds, class_probability
from models.rows import Floats, Ints
from tests.examples import examples
from tests.models.igan import oracle
from tests.models.igan.random_network import tensors

# Rows of every kind a group of six, a block and its rest can have.
SIZES = (0, 1, 5, 6, 7, 95, 96, 97, 200)
ODD = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-42, 1.0, -1e30, 3.4e38], dtype=np.float32)
SHAPES = {
    "plant": tensors(75, 60),
    "table": tensors(122, 30, classes=23),
    "no numbers": tensors(9, 0, classes=3),
    "numbers only": tensors(20, 20, classes=2, widths=(40, 24, 10)),
    "two knots": tensors(5, 5, knots=2, classes=3, widths=(8, 7, 5)),
    "one column": tensors(1, 1, classes=2, widths=(1, 1, 1)),
    "small": tensors(75, 60, widths=(32, 32, 32)),
}


def network(shape: str) -> NetworkArrays:
    return NetworkArrays.from_tensors(SHAPES[shape], 1, 6.0)


def forward(arrays: NetworkArrays, x: Floats) -> tuple[Floats, Floats]:
    """z and logits of raw rows."""
    network = packed.pack_network(arrays)
    z = np.empty_like(x)
    logits = np.empty((len(x), arrays.classes), np.float32)
    kernel.forward(x, network, packed.network_space(network), z, logits)
    return z, logits


def both(closeness: Closeness, z: Floats) -> tuple[Floats, Ints]:
    return closeness(z), closeness.nearest(z)


def rows(count: int, features: int, seed: int, scale: float = 3.0, odd: float = 0.02) -> Floats:
    """Raw rows with zeros as flags have them, and a few values that features never are."""
    random = np.random.default_rng(seed)
    x = (random.normal(size=(count, features)) * scale).astype(np.float32)
    x[random.random(x.shape) < 0.3] = 0.0
    chosen = random.random(x.shape) < odd
    x[chosen] = random.choice(ODD, int(chosen.sum()))
    return x


@pytest.mark.parametrize("shape", SHAPES)
def test_z_and_logits_are_those_of_the_oracle(shape: str) -> None:
    arrays = network(shape)
    x = rows(40, arrays.features, 3)
    z, logits = forward(arrays, x)
    expected_z = [oracle.preprocessed(row, arrays) for row in x]
    assert np.abs(z - np.array(expected_z)).max() < 1e-5
    expected = np.array([oracle.logits([float(value) for value in row], arrays) for row in z])
    assert np.abs(logits - expected).max() < 1e-4


def test_numbers_without_logarithm_are_preprocessed_to_the_bit() -> None:
    """A knot that lies on a training value is met by that value, not by its neighbour."""
    arrays = network("plant")
    x = rows(500, arrays.features, 4, odd=0.0)
    z, _ = forward(arrays, x)
    expected = np.clip((x - arrays.mean) / arrays.deviation, np.float32(-6), np.float32(6))
    assert np.array_equal(z[:, arrays.log == 0], expected[:, arrays.log == 0])


@pytest.mark.parametrize(
    "value", [0.0, 1e-45, 1e-30, 1e-7, 0.1, 0.9999999, 1.0, 3.5, 255.0, 1e7, 16777217.0, 1e30, 3e38]
)
def test_the_logarithm_is_right_in_the_last_place_but_two(value: float) -> None:
    weights = tensors(1, 1, classes=2, widths=(1, 1, 1))
    weights["preprocess.log"], weights["preprocess.mean"] = np.ones(1, np.float32), np.zeros(1, np.float32)
    weights["preprocess.deviation"] = np.ones(1, np.float32)
    arrays = NetworkArrays.from_tensors(weights, 1, 100.0)
    near = np.array([value, -value, np.nextafter(np.float32(value), np.float32(1))], np.float32)[:, None]
    z, _ = forward(arrays, near)
    exact = np.sign(near) * np.log1p(np.abs(near.astype(np.float64)))
    assert (np.abs(z - exact) <= 2 * np.spacing(np.abs(exact).astype(np.float32))).all()


def test_a_value_on_a_knot_takes_that_knots_row() -> None:
    arrays = network("one column")
    mean, deviation = float(arrays.mean[0]), float(arrays.deviation[0])
    assert arrays.log[0] > 0
    for knot, row in zip(arrays.edge, arrays.table, strict=True):
        compressed = float(knot) * deviation + mean
        x = np.array([[np.sign(compressed) * np.expm1(abs(compressed))]], np.float32)
        _, logits = forward(arrays, x)
        wide = np.maximum(arrays.bias + row, 0)
        top = np.maximum(np.maximum(wide @ arrays.middle + arrays.middle_bias, 0) @ arrays.top + arrays.top_bias, 0)
        assert np.allclose(logits[0], top @ arrays.last + arrays.last_bias, atol=1e-4)


def splits(count: int) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(0, count), max_size=6).map(lambda cuts: sorted({0, count, *cuts}))


@settings(max_examples=examples(25), deadline=None)
@given(st.sampled_from(["plant", "table", "numbers only"]), st.integers(0, 2**32 - 1), splits(150))
def test_a_row_has_the_same_bits_however_rows_are_split(shape: str, seed: int, cuts: list[int]) -> None:
    arrays = network(shape)
    random = np.random.default_rng(seed)
    x = rows(150, arrays.features, seed)
    whitening = random.normal(size=(arrays.features, arrays.features)).astype(np.float32)
    prototypes = rows(130, arrays.features, seed + 1, odd=0.0)

    def all_of(part: Floats) -> list[Floats]:
        z, logits = forward(arrays, part)
        near, which = both(Closeness(prototypes), z)
        return [z, logits, Distance(prototypes[0].copy(), whitening)(z), near, which.astype(np.float32)]

    parts = [all_of(x[start:stop].copy()) for start, stop in pairwise(cuts)]
    for whole, pieces in zip(all_of(x), zip(*parts, strict=True), strict=True):
        assert np.array_equal(whole.view(np.int32), np.concatenate(pieces).view(np.int32))


@settings(max_examples=examples(20), deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_row_has_the_same_bits_whatever_its_neighbours(seed: int) -> None:
    arrays = network("table")
    x = rows(13, arrays.features, seed)
    order = np.random.default_rng(seed).permutation(13)
    z, logits = forward(arrays, x)
    moved_z, moved_logits = forward(arrays, x[order])
    assert np.array_equal(logits[order].view(np.int32), moved_logits.view(np.int32))
    near, which = both(Closeness(z[:5].copy()), z)
    moved_near, moved_which = both(Closeness(z[:5].copy()), moved_z)
    assert np.array_equal(near[order].view(np.int32), moved_near.view(np.int32))
    assert np.array_equal(which[order], moved_which)


@pytest.mark.parametrize("triangle", [True, False])
@pytest.mark.parametrize("features", [1, 16, 75])
def test_mahalanobis_is_the_oracles(features: int, triangle: bool) -> None:
    random = np.random.default_rng(features)
    z = np.clip(random.normal(size=(25, features)) * 3, -6, 6).astype(np.float32)
    centre = random.normal(size=features).astype(np.float32)
    whitening = random.normal(size=(features, features)).astype(np.float32)
    whitening = np.tril(whitening) if triangle else whitening
    expected = [oracle.mahalanobis([float(value) for value in row], centre, whitening) for row in z]
    assert np.abs(Distance(centre, whitening)(z) - expected).max() < 1e-4


@pytest.mark.parametrize(("features", "count"), [(1, 1), (9, 3), (30, 128), (122, 300)])
def test_closeness_is_the_oracles(features: int, count: int) -> None:
    random = np.random.default_rng(count)
    prototypes = random.normal(size=(count, features)).astype(np.float32)
    prototypes[:, features // 2 :] = random.random((count, features - features // 2)) < 0.1  # mostly one value
    z = np.concatenate([prototypes[:6] + np.float32(1e-3), random.normal(size=(25, features))]).astype(np.float32)
    got, nearest = both(Closeness(prototypes), z)
    expected = [oracle.closeness([float(value) for value in row], prototypes) for row in z]
    assert np.abs(got - [least for least, _ in expected]).max() < 1e-4
    assert all(each[which] - least < 1e-4 for which, (least, each) in zip(nearest, expected, strict=True))


def test_the_first_of_equal_prototypes_is_the_nearest() -> None:
    prototypes = np.repeat(rows(50, 8, 5, odd=0.0), 4, axis=0)
    nearest = Closeness(prototypes).nearest(prototypes[[2, 17, 199]])
    assert nearest.tolist() == [0, 16, 196]


@pytest.mark.parametrize("count", [0, 1, 97])
def test_prototypes_all_alike_are_one(count: int) -> None:
    prototypes = np.full((3, 5), 2.5, np.float32)
    got, nearest = both(Closeness(prototypes), np.zeros((count, 5), np.float32))
    assert np.allclose(got, 2.5 * np.sqrt(5)) and not nearest.any()


@pytest.mark.parametrize(("classes", "benign"), [(2, 1), (7, 2), (23, 1)])
@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_margin_likeliest_class_and_probability(classes: int, benign: int, temperature: float) -> None:
    random = np.random.default_rng(6)
    logits = (random.normal(size=(300, classes)) * 8).astype(np.float32)
    logits[0], logits[1, 0], logits[2, benign] = 0.0, 200.0, 200.0
    odds = attack_odds(logits, benign)
    share = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    exact = [math.log(math.fsum(row[benign:])) - math.log(math.fsum(row[:benign])) for row in share]
    assert np.allclose(odds.margin, exact, atol=1e-4)
    assert np.array_equal(odds.likeliest, logits.argmax(axis=1))
    index = random.integers(0, classes, 300)
    cooled = logits.astype(np.float64) / temperature
    share = np.exp(cooled - cooled.max(axis=1, keepdims=True))
    expected = share[np.arange(300), index] / share.sum(axis=1)
    assert np.allclose(class_probability(logits, index, temperature), expected, atol=1e-6)
