"""torch's operations on the same arrays say what the kernel says; the CUDA engine captures these."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.igan.distances import Closeness, Distance
from models.serving.torch_forward import TorchForward
from tests.examples import examples
from tests.models.igan.test_kernel import SHAPES, SIZES, forward, network, rows

ATOL = 1e-4


def view_of(kind: str, features: int, seed: int) -> Distance | Closeness:
    random = np.random.default_rng(seed)
    if kind == "closeness":
        return Closeness(rows(140, features, seed, odd=0.0))
    return Distance(
        random.normal(size=features).astype(np.float32),
        np.tril(random.normal(size=(features, features))).astype(np.float32),
    )


@settings(max_examples=examples(40), deadline=None)
@given(
    st.sampled_from(sorted(SHAPES)),
    st.sampled_from(["distance", "closeness"]),
    st.integers(0, 2**32 - 1),
    st.floats(1e-3, 1e6),
    st.sampled_from(SIZES),
)
def test_torch_says_what_the_kernel_says(shape: str, kind: str, seed: int, scale: float, count: int) -> None:
    arrays = network(shape)
    x, view = rows(count, arrays.features, seed, scale), view_of(kind, arrays.features, seed)
    z, logits = forward(arrays, x)
    with torch.inference_mode():
        got = TorchForward(arrays, view, "cpu")(torch.from_numpy(x))
    for result, expected in zip(got, (z, logits, view(z)), strict=True):
        torch.testing.assert_close(result, torch.from_numpy(expected), atol=ATOL, rtol=ATOL)
