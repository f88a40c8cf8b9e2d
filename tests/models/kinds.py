"""A model of each kind that engines and exports must take."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

from models.serving import registry
from models.serving.model import Model
from models.training.train import train
from tests.models import tiny


@cache
def close_model() -> Model:
    """The tiny plant's model with prototypes instead of a centre."""
    return train(tiny.rows(), tiny.FEATURES, replace(tiny.CONFIG, view="closeness", prototypes=40), [], "test")


MODELS: dict[str, Callable[[], Model]] = {
    "tiny": tiny.model,
    "small": tiny.small_model,
    "closeness": close_model,
    "shipped": registry.load,
}
