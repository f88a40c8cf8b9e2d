import math

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.igan.preprocess import LEAST_DEVIATION, Preprocess

VALUES = st.floats(-1e6, 1e6, width=32)


@given(st.lists(st.tuples(VALUES, VALUES), min_size=2, max_size=30))
def test_agrees_with_a_scalar_oracle(cells: list[tuple[float, float]]) -> None:
    matrix = np.array(cells, dtype=np.float32)
    z = Preprocess.fit(matrix, (True, False), 6.0)(torch.from_numpy(matrix)).numpy()
    for column, log in enumerate((True, False)):
        column_values = [float(value) for value in matrix[:, column]]
        scaled = [math.copysign(math.log1p(abs(value)), value) if log else value for value in column_values]
        mean = sum(scaled) / len(scaled)
        spread = max(math.sqrt(sum((value - mean) ** 2 for value in scaled) / len(scaled)), LEAST_DEVIATION)
        for row, value in enumerate(scaled):
            expected = max(-6.0, min(6.0, (value - mean) / spread))
            # Rounding to single precision moves a value by at most this many deviations.
            slack = 1e-3 + 1e-6 * max(abs(value), abs(mean)) / spread
            assert abs(z[row, column] - expected) <= slack


def test_what_is_no_number_is_usual() -> None:
    preprocess = Preprocess.fit(np.array([[0.0], [2.0]], dtype=np.float32), (False,), 6.0)
    z = preprocess(torch.tensor([[float("nan")], [float("inf")], [-float("inf")]]))
    assert z.squeeze(1).tolist() == [0.0, 6.0, -6.0]
