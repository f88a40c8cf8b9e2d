import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from models.igan.forward import TileForward
from models.igan.network import fuse
from models.serving import registry
from models.serving.model import Model
from models.serving.score import TILE
from tests.models import tiny

BITS = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-42, -1e30, 3.4e38]  # what features never are, and a forward may meet


def layer_by_layer(model: Model, tile: torch.Tensor, key: str) -> torch.Tensor:
    views, logits = model.network().views(tile, model.origins[key].distance)
    score, novelty = fuse(views, model.origins[key].fusion)
    likeliest = torch.softmax(logits, dim=1).max(dim=1)
    return torch.stack([score, likeliest.indices.to(torch.float32), novelty, likeliest.values], dim=1)


def same_bits(result: torch.Tensor, expected: torch.Tensor) -> bool:
    return bool(np.array_equal(result.numpy().view(np.int32), expected.numpy().view(np.int32)))


@pytest.fixture(scope="module", params=["tiny", "shipped"])
def model(request: pytest.FixtureRequest) -> Model:
    return tiny.model() if request.param == "tiny" else registry.load()


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e6), st.integers(0, 40))
def test_a_tile_in_buffers_has_the_bits_of_the_layers(model: Model, seed: int, scale: float, odd: int) -> None:
    random = np.random.default_rng(seed)
    values = random.standard_normal((TILE, len(model.features))).astype(np.float32) * np.float32(scale)
    values[random.random(values.shape) < 0.3] = 0.0
    positions = random.integers(0, values.size, odd)
    values.reshape(-1)[positions] = random.choice(BITS, odd)
    tile = torch.from_numpy(values)
    with torch.inference_mode():
        forward = TileForward(model.network(), TILE)
        for key in (*model.origins, *model.origins):  # the second time over what the first has left in the buffers
            got = forward(tile, model.origins[key].distance, model.origins[key].fusion)
            assert same_bits(got, layer_by_layer(model, tile, key))
    assert np.array_equal(tile.numpy(), values, equal_nan=True)


def test_an_unknown_layer_is_refused() -> None:
    model = tiny.model()
    network = model.network()
    network.encoder.layers[2] = nn.GELU()
    origin = next(iter(model.origins.values()))
    with torch.inference_mode(), pytest.raises(TypeError, match="GELU"):
        TileForward(network, TILE)(torch.zeros(TILE, len(model.features)), origin.distance, origin.fusion)
