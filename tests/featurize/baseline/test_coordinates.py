"""Features on the grid: whole numbers that plain arithmetic gives too, in order, whatever a feature is."""

import math
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.featurize.baseline.coordinates import MOST_STEPS, STEPS, WIDTH, grid, points_of
from pipeline.featurize.feature_set import FEATURE_SET
from pipeline.featurize.flow_features import LARGEST
from tests.examples import examples
from tests.featurize.flows import flow_rows, matrix_of

LOG = [bool(is_log) for is_log in grid().is_log]
FEATURES = FEATURE_SET.width


def _plain(value: float, column: int) -> int:
    """The same in whole numbers of any length: a float's bits grow as its logarithm does."""
    _, centre, factor = (int(array[column]) for array in grid())
    if LOG[column]:
        mantissa, exponent = math.frexp(float(np.float32(1.0) + np.abs(np.float32(value))))
        fixed = round((exponent - 1 + (2 * mantissa - 1)) * 2**23)
        fixed = -fixed if value < 0 else fixed
    else:
        fixed = round(Fraction(min(max(value, -32768.0), 32767.0)) * 65536)
    steps = ((fixed - centre) * factor + 2**31) >> 32
    return min(max(steps, -MOST_STEPS), MOST_STEPS)


def _rows(*rows: npt.ArrayLike) -> npt.NDArray[np.int8]:
    return points_of(np.array(rows, np.float32).reshape(len(rows), FEATURES))


@settings(max_examples=examples(60))
@given(st.lists(st.floats(-(2.0**60), 2.0**60, width=32, allow_subnormal=False), min_size=FEATURES, max_size=FEATURES))
def test_steps_are_those_of_plain_arithmetic(values: list[float]) -> None:
    [point] = _rows(values)
    assert point[:FEATURES].tolist() == [_plain(value, column) for column, value in enumerate(values)]
    assert not point[FEATURES:].any() and len(point) == WIDTH


@settings(max_examples=examples(40))
@given(
    st.floats(width=32, allow_nan=False, allow_subnormal=False),
    st.floats(width=32, allow_nan=False, allow_subnormal=False),
)
def test_a_larger_feature_is_no_fewer_steps(one: float, other: float) -> None:
    lower, upper = _rows([min(one, other)] * FEATURES, [max(one, other)] * FEATURES)
    assert (lower <= upper).all()


@pytest.mark.parametrize("value", [math.nan, -math.nan, math.inf, -math.inf, 3.4e38, -3.4e38, 1e-45])
def test_whatever_a_feature_is_its_steps_are_within_six_deviations(value: float) -> None:
    point = _rows([value] * FEATURES)[0, :FEATURES]
    assert np.abs(point).max() <= MOST_STEPS
    if not math.isfinite(value):
        assert set(np.abs(point).tolist()) == {MOST_STEPS}, "not a number is the lowest or the highest, everywhere"


@settings(max_examples=examples(15), deadline=None)
@given(flow_rows())
def test_a_point_does_not_depend_on_the_rows_beside_it(rows: list[dict[str, object]]) -> None:
    from pipeline.featurize.sensor import featurize_file_rows
    from tests.featurize.flows import batch

    matrix = matrix_of(featurize_file_rows(batch(rows), 1_000_000))
    together = points_of(matrix)
    for number in range(0, len(rows), 7):
        assert points_of(matrix[number : number + 1])[0].tolist() == together[number].tolist()


def test_a_deviation_is_twenty_steps_and_the_usual_is_near_the_middle() -> None:
    linear = next(column for column, is_log in enumerate(LOG) if not is_log)
    _, centre, factor = grid()
    deviation = STEPS * 2.0**32 / factor[linear] / 65_536
    middle = centre[linear] / 65_536
    low, high = (_rows([middle + by] * FEATURES)[0, linear] for by in (0.0, deviation))
    assert (low, high) in ((0, STEPS), (0, STEPS - 1), (0, STEPS + 1))


def test_no_product_leaves_64_bits() -> None:
    is_log, centre, factor = grid()
    most = np.where(is_log, 2**31, 32_768 * 65_536)
    assert all((int(a) + int(b)) * int(c) < 2**63 for a, b, c in zip(most, np.abs(centre), factor, strict=True))
    assert (factor > 0).all() and np.float32(LARGEST) < 2**127
