"""Many calibrations at once give each row the bits that its own gives it alone."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.igan import ascending
from models.igan.calibration import ConformalTable
from models.igan.distances import Closeness, Distance
from models.igan.odds import Odds, OddsConfig
from models.igan.origin import Origin
from models.igan.origins import Origins
from models.rows import Doubles, Floats
from tests.examples import examples

FEATURES = 21


def origin(seed: int, closeness: bool = False) -> Origin:
    """One origin's calibration; no two have the same numbers, or as many of them."""
    random = np.random.default_rng(seed)
    count = int(random.integers(1, 400))
    z = (random.normal(size=(count + 30, FEATURES)) * 2).astype(np.float32)
    view = Closeness(z[: 1 + count // 9].copy()) if closeness else Distance.fit(z, 0.05)
    distance, margin = view(z), random.normal(-9, 2, len(z)).astype(np.float32)
    odds = Odds.fit(distance, margin, float(random.random()), OddsConfig(float(10 ** -random.uniform(2, 4)), 0.3))
    return Origin(view, odds, ConformalTable.fit(odds.score(distance, margin)[0]), float(random.random() / 9))


@cache
def side_by_side(closeness: bool) -> tuple[Origins, list[Origins]]:
    """Twelve calibrations at once, and each alone."""
    made = [origin(seed, closeness) for seed in range(12)]
    return Origins(made), [Origins([each]) for each in made]


def bits(origins: Origins, z: Floats, margin: Floats, number: list[int]) -> list[Floats]:
    of_row = np.array(number, np.int64)
    distance = origins.distance(z, of_row)
    score, novelty = origins.odds.score(distance, margin, of_row)
    p_value = origins.tables.p_value(score, of_row)
    return [distance, score, novelty, p_value, origins.alert_level[of_row]]


@pytest.mark.parametrize("closeness", [False, True])
@settings(max_examples=examples(15), deadline=None)
@given(number=st.lists(st.integers(0, 11), min_size=1, max_size=150), seed=st.integers(0, 2**32 - 1))
def test_a_row_gets_the_bits_of_its_own_calibration_whatever_others_stand_beside_it(
    closeness: bool, number: list[int], seed: int
) -> None:
    random = np.random.default_rng(seed)
    z = (random.normal(size=(len(number), FEATURES)) * 3).clip(-6, 6).astype(np.float32)
    margin = random.normal(-6, 6, len(number)).astype(np.float32)
    many, each_alone = side_by_side(closeness)
    at_once = bits(many, z, margin, number)
    for one in set(number):
        here = np.flatnonzero(np.array(number) == one)
        alone = bits(each_alone[one], z[here], margin[here], [0] * len(here))
        for got, wanted in zip(at_once, alone, strict=True):
            assert got[here].tobytes() == wanted.tobytes()


@st.composite
def ascending_parts(draw: st.DrawFn) -> list[list[float]]:
    numbers = st.floats(-1e9, 1e9, width=32)
    parts = draw(st.lists(st.sets(numbers, min_size=1, max_size=12), min_size=1, max_size=6))
    return [sorted(part) for part in parts]


@settings(max_examples=examples(40), deadline=None)
@given(ascending_parts(), st.lists(st.floats(width=32), max_size=20), st.integers(0, 2**32 - 1))
def test_looking_up_in_many_is_what_numpy_finds_in_each(parts: list[list[float]], more: list[float], seed: int) -> None:
    random = np.random.default_rng(seed)
    values = [np.array(part) for part in parts]
    heights = [np.sort(random.random(len(part))) * 100 for part in parts]
    x = np.array([*more, *(number for part in parts for number in part)], np.float64)
    of_row = random.integers(0, len(parts), len(x))
    first = ascending.firsts(values)
    got: Doubles = np.empty(len(x))
    ascending.interpolated(np.concatenate(values), np.concatenate(heights), first, of_row, x, got)
    below = np.empty(len(x), np.int64)
    in_float32 = [part.astype(np.float32) for part in values]
    ascending.below(np.concatenate(in_float32), first, of_row, x.astype(np.float32), below)
    for row, number in enumerate(of_row):
        wanted = np.interp(x[row : row + 1], values[number], heights[number])[0] if x[row] == x[row] else np.nan
        assert got[row] == wanted or (np.isnan(got[row]) and np.isnan(wanted))
        assert below[row] == np.searchsorted(in_float32[number], np.float32(x[row]), side="left")
