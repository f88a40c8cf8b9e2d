"""A plant of six features and a network of a few hundred weights: trains in about a second."""

from dataclasses import replace
from functools import cache

import numpy as np

from models.igan.config import IganConfig
from models.rows import Feature, FeatureSet, Floats, Ints, Rows, Strings
from models.serving.model import Model
from models.training.train import train

CONFIG = IganConfig(
    width=16,
    latent=12,
    top=8,
    bins=8,
    steps=150,
    batch=64,
    gan_steps=5,
    gan_batch=32,
    noise=4,
    class_embedding=4,
    classifier_epochs=2,
    trial_steps=30,
    block_us=10_000_000,
    embargo_us=200_000,
    alert_level=0.01,
)
FEATURES = FeatureSet(
    "tiny-1", "ab" * 32, tuple(Feature(f"f{i}", f"feature {i}", "bytes", "flow", i % 2 == 0) for i in range(6))
)
CENTRE = {"normal": 0.0, "login": 1.5, "mitm": 4.0, "portscan": -4.0, "ssh_bruteforce": 3.0, "misconf": 6.0}


def rows(seed: int = 0, count: int = 2400) -> Rows:
    """Rows of two sensors over four minutes; every attack lies elsewhere than normal traffic."""
    random = np.random.default_rng(seed)
    names = random.choice(list(CENTRE), size=count, p=[0.8, 0.02, 0.06, 0.05, 0.05, 0.02])
    end = np.sort(random.integers(0, 240_000_000, size=count)) + 1_600_000_000_000_000
    # Faults come in one stretch, as they do: normal rows near it are nobody's.
    names = np.where((names == "misconf") & (np.arange(count) % (count // 4) > 40), "normal", names)
    matrix = random.normal(size=(count, 6)) + np.array([CENTRE[name] for name in names])[:, None]
    return labelled(matrix.astype(np.float32), names, random.choice(["a", "b"], size=count), end)


def labelled(matrix: Floats, label: Strings, sensor: Strings, end_ts_us: Ints) -> Rows:
    """Rows (n, F) of one run through the plant's records, in their order."""
    count = len(label)
    return Rows(
        matrix=matrix,
        label=label,
        site=np.full(count, "plant"),
        sensor=sensor,
        start_ts_us=end_ts_us - 1000,
        end_ts_us=end_ts_us,
        source_record=np.arange(count, dtype=np.int64),
        replay=np.zeros(count, dtype=np.int64),
    )


@cache
def model() -> Model:
    """The tiny model, trained once a session."""
    return train(rows(), FEATURES, CONFIG, [{"name": "tiny", "sha256": "0" * 64}], "test")


@cache
def small_model() -> Model:
    """The same plant's model with an int8 table, as small models have it."""
    return train(rows(), FEATURES, replace(CONFIG, table="int8"), [{"name": "tiny", "sha256": "0" * 64}], "test")
