"""The whole network as it scores: raw features in, score, class and novelty out."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from models.igan.classifier import Classifier
from models.igan.config import IganConfig
from models.igan.encoder import Encoder
from models.igan.novelty import Mahalanobis, NoveltyHead
from models.igan.preprocess import Preprocess

VIEWS = ("attack", "head", "distance")
CEILING = 50.0  # a view says "very unusual" at most this loudly, so that a score stays short of 1

Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Fusion:
    """How the three views become one score.

    attack: log-odds of any attack against benign; head: the discriminator head; distance: Mahalanobis. Each is
    measured in units where an origin's normal rows have median 0 and 99th percentile 1, then weighted and added.
    """

    centre: Triple
    scale: Triple
    weight: Triple

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            name: {"centre": centre, "scale": scale, "weight": weight}
            for name, centre, scale, weight in zip(VIEWS, self.centre, self.scale, self.weight, strict=True)
        }

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> "Fusion":
        """From a manifest's `fusion`; ValueError where a scale is not positive or a weight negative."""

        def triple(key: str) -> Triple:
            attack, head, distance = (float(document[name][key]) for name in VIEWS)
            return attack, head, distance

        fusion = cls(triple("centre"), triple("scale"), triple("weight"))
        if min(fusion.scale) <= 0 or min(fusion.weight) < 0 or sum(fusion.weight) <= 0:
            raise ValueError(f"fusion: got scale {fusion.scale} and weight {fusion.weight}, expected positive ones")
        return fusion


class IganNetwork(nn.Module):
    """raw (n, F) → z (n, F), and from it latent, logits and the head's view: all that does not depend on the origin."""

    def __init__(self, features: int, config: IganConfig) -> None:
        super().__init__()
        self.benign = config.benign
        self.preprocess = Preprocess(features, config.clip)
        self.encoder = Encoder(features, config)
        self.classifier = Classifier(config)
        self.novelty = NoveltyHead(config)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Preprocessed z (n, F), logits (n, K), head's view (n,)."""
        z = self.preprocess(x)  # (n, F)
        latent = self.encoder(z)  # (n, latent)
        return z, self.classifier(latent), self.novelty(latent)

    def views(self, x: Tensor, distance: Mahalanobis) -> tuple[Tensor, Tensor]:
        """Views (n, 3) in the order of VIEWS, and logits (n, K)."""
        z, logits, head = self(x)
        attack = torch.logsumexp(logits[:, self.benign :], dim=1) - torch.logsumexp(logits[:, : self.benign], dim=1)
        return torch.stack([attack, head, distance(z)], dim=1), logits


def fuse(views: Tensor, fusion: Fusion) -> tuple[Tensor, Tensor]:
    """Views (n, 3) → score (n,) in [0, 1), novelty (n,); both monotone in each view."""
    units = [(views[:, index] - fusion.centre[index]) / fusion.scale[index] for index in range(len(VIEWS))]
    _, w_head, w_distance = fusion.weight
    novelty = (w_head * units[1] + w_distance * units[2]) / max(w_head + w_distance, 1e-9)
    unusual = torch.zeros_like(novelty)
    for weight, unit in zip(fusion.weight, units, strict=True):
        unusual = unusual + weight * unit.clamp(0.0, CEILING)
    return unusual / (1.0 + unusual), novelty
