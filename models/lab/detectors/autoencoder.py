"""Deep autoencoder of normal records: what it cannot rebuild is unusual."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn

from models.lab.detectors.descent import descend, in_tiles, numbers, seeded
from models.lab.detectors.detector import Family, Prediction, Size, TrainingSet
from models.lab.detectors.predictions import normals
from models.rows import Floats


@dataclass(frozen=True, slots=True)
class FittedAutoencoder:
    """Encoder and decoder in one."""

    network: nn.Sequential

    def predict(self, matrix: Floats) -> Prediction:
        """Root of the mean squared error of rebuilding, over columns."""
        return Prediction(
            in_tiles(lambda x: (self.network(x) - x).square().mean(dim=1).sqrt(), matrix).astype("float32"), None
        )

    def size(self) -> Size:
        """Its weights, in 32 bits."""
        return Size(numbers(self.network), 4 * numbers(self.network))


@dataclass(frozen=True, slots=True)
class Autoencoder:
    """F → 64 → 32 → bottleneck → 32 → 64 → F, squared error on normal records alone."""

    bottleneck: int = 8
    epochs: int = 15
    rate: float = 2e-3

    def fit(self, training: TrainingSet, seed: int) -> FittedAutoencoder:
        """Learn from the normal ones of prepared records (n, F)."""
        x = torch.from_numpy(normals(training))
        sizes = (x.shape[1], 64, 32, self.bottleneck, 32, 64, x.shape[1])
        with seeded(seed) as random:
            layers: list[nn.Module] = []
            for inside, outside in pairwise(sizes):
                layers += [nn.Linear(inside, outside), nn.SiLU()]
            network = nn.Sequential(*layers[:-1])
            descend(
                network.parameters(),
                lambda rows: (network(x[rows]) - x[rows]).square().mean(),
                len(x),
                random,
                epochs=self.epochs,
                rate=self.rate,
                decay=1e-4,
            )
        return FittedAutoencoder(network.requires_grad_(False))


AUTOENCODER = Family(
    "autoencoder",
    "Deep autoencoder",
    (Autoencoder(), Autoencoder(4), Autoencoder(16)),
    multiclass=False,
    runs=1,
    seeds=3,
)
