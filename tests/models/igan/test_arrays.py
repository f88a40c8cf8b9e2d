"""A network's arrays: as the tensors say, and refused where they are no network."""

from typing import Any

import numpy as np
import pytest

from models.errors import RefusedModel
from models.igan.arrays import NetworkArrays
from models.rows import Floats
from tests.models.igan.random_network import tensors


def arrays(weights: dict[str, Floats], benign: int = 1, clip: float = 6.0) -> NetworkArrays:
    return NetworkArrays.from_tensors(weights, benign, clip)


def test_matrices_are_input_by_output_and_contiguous() -> None:
    weights = tensors(9, 5, knots=6, classes=3, widths=(8, 7, 4))
    network = arrays(weights)
    assert (network.features, network.classes) == (9, 3)
    assert network.middle.shape == (8, 7) and network.top.shape == (7, 4) and network.last.shape == (4, 3)
    assert all(value.flags.c_contiguous for value in (network.middle, network.top, network.last))
    assert np.array_equal(network.middle, weights["middle.weight"].T)
    assert network.count.dtype == network.first.dtype == network.column.dtype == np.int64
    assert network.first.tolist() == [0, *np.cumsum(network.count)[:-1]]


@pytest.mark.parametrize("numeric", [0, 9])
def test_all_columns_or_none_may_be_looked_up(numeric: int) -> None:
    network = arrays(tensors(9, numeric, knots=4))
    assert (len(network.column), len(network.plain)) == (numeric, 9 - numeric)


def changed(name: str, index: int, value: float) -> dict[str, Floats]:
    weights = tensors(9, 5, knots=6, classes=3, widths=(8, 7, 4))
    weights[name] = weights[name].copy()
    weights[name].reshape(-1)[index] = value
    return weights


def scaled(scale: float, entry: int = 1) -> dict[str, Any]:
    """An int8 table of ones but its last entry; the last column has another scale."""
    weights = tensors(9, 5, knots=6, classes=3, widths=(8, 7, 4))
    table = np.ones(weights["lookup.table"].shape, np.int8)
    table[-1, -1] = entry
    return {**weights, "lookup.table": table, "lookup.scale": np.array([1, 1, 1, 1, scale], np.float32)}


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (changed("knots.column", 0, 9), r"each of 9 columns once"),
        (changed("knots.column", 0, 0.5), r"knots\.column: got .* expected whole numbers"),
        (changed("knots.column", 0, -1), r"expected whole numbers"),
        (changed("knots.plain", 0, float("nan")), r"knots\.plain: got .* expected whole numbers"),
        (changed("knots.count", 0, 1), r"expected two a column"),
        (changed("knots.count", 0, 7), r"expected two a column"),
        (changed("knots.edge", 0, 99), r"do not ascend"),
        (changed("preprocess.deviation", 3, 0), r"deviation of column 3: got 0\.0, expected one above 0"),
        (changed("lookup.table", 5, float("inf")), r"table: got values that are not finite"),
        (scaled(0.0), r"scale: got 0\.0 to 1\.0, expected numbers above 0"),
        (scaled(-1.0), r"scale: got -1\.0 to 1\.0"),
        (scaled(3e36), r"127 times is finite"),
        (scaled(1.0, -128), r"got -128 in an int8 table"),
        (changed("top.bias", 1, float("nan")), r"top_bias: got values that are not finite"),
        (tensors(9, 5, widths=(8, 7, 4)) | {"middle.weight": np.zeros((7, 9), np.float32)}, r"got shape \(9, 7\)"),
        (tensors(9, 5, widths=(8, 7, 4)) | {"lookup.row": np.zeros((3, 8), np.float32)}, r"row: got shape \(3, 8\)"),
    ],
)
def test_what_is_no_network_is_refused(weights: dict[str, Floats], message: str) -> None:
    with pytest.raises(RefusedModel, match=message) as refusal:
        arrays(weights)
    assert str(refusal.value).endswith("train the model anew")


def test_a_missing_tensor_is_named() -> None:
    weights = tensors(9, 5)
    del weights["top.bias"]
    with pytest.raises(RefusedModel, match=r"no tensor top\.bias"):
        arrays(weights)


@pytest.mark.parametrize(("benign", "clip"), [(0, 6.0), (7, 6.0), (1, 0.0), (1, float("inf")), (1, float("nan"))])
def test_benign_classes_and_clip_are_checked(benign: int, clip: float) -> None:
    with pytest.raises(RefusedModel, match="expected"):
        arrays(tensors(9, 5), benign, clip)
