"""A table in eight bits: near the one it was made of, a quarter of its size, through the same kernel."""

import numpy as np
import pytest

from models.errors import RefusedModel
from models.igan.arrays import NetworkArrays
from models.igan.quantise import quantised
from tests.models.igan import oracle
from tests.models.igan.random_network import tensors
from tests.models.igan.test_kernel import forward, rows

WIDTHS = (32, 32, 32)


def test_an_entry_moves_by_half_a_step_at_most() -> None:
    exact = tensors(75, 60, knots=13, widths=WIDTHS)
    small = quantised(exact)
    count = exact["knots.count"].astype(np.int64)
    step = np.repeat(small["lookup.scale"].astype(np.float64), count)[:, None]
    table = small["lookup.table"]
    assert table.dtype == np.int8 and table.nbytes * 4 == exact["lookup.table"].nbytes
    assert (np.abs(table * step - exact["lookup.table"]) <= 0.5001 * step).all()
    assert np.abs(table).max() == 127 and np.array_equal(small["lookup.row"], exact["lookup.row"])


@pytest.mark.parametrize("widths", [WIDTHS, (40, 16, 9)])
def test_the_kernel_reads_it(widths: tuple[int, int, int]) -> None:
    small = NetworkArrays.from_tensors(quantised(tensors(75, 60, knots=13, widths=widths)), 2, 6.0)
    x = rows(40, 75, 3)
    z, logits = forward(small, x)
    expected = np.array([oracle.logits([float(value) for value in row], small) for row in z])
    assert np.abs(logits - expected).max() < 1e-4


def test_a_column_that_adds_nothing_and_no_columns() -> None:
    exact = tensors(9, 3, knots=5, widths=(8, 8, 8))
    exact["lookup.table"][:2] = 0.0
    small = quantised(exact)
    assert not small["lookup.table"][:2].any() and small["lookup.scale"][0] == 1.0
    exact["lookup.table"][:2] = np.float32(1e-44)  # too little to be divided by 127
    assert quantised(exact)["lookup.scale"][0] == 1.0
    none = NetworkArrays.from_tensors(quantised(tensors(9, 0, widths=(8, 8, 8))), 1, 6.0)
    assert np.isfinite(forward(none, rows(7, 9, 1))[1]).all()


def test_scales_of_other_columns_are_refused() -> None:
    small = quantised(tensors(9, 3, knots=5, widths=(8, 8, 8)))
    with pytest.raises(RefusedModel, match=r"scale: got shape \(2,\), expected \(3,\)"):
        NetworkArrays.from_tensors(small | {"lookup.scale": small["lookup.scale"][:2]}, 1, 6.0)
