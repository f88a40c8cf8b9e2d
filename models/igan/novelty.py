"""Novelty: how far a flow lies from normal traffic, by a discriminator head and by Mahalanobis distance on inputs."""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from models.igan.adamw import AdamW
from models.igan.config import IganConfig
from models.igan.gan import Discriminator, Generator


class NoveltyHead(nn.Module):
    """latent (n, 64) → (n,), higher the less normal."""

    def __init__(self, config: IganConfig) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(config.latent, 128),
            nn.LeakyReLU(0.2),
            nn.Linear(128, 64),
            nn.LeakyReLU(0.2),
            nn.Linear(64, 1),
        )

    def forward(self, latent: Tensor) -> Tensor:
        """(n, latent) → (n,)."""
        unusual: Tensor = self.layers(latent).squeeze(1)
        return unusual


def train_novelty(
    normal: Tensor, gan: tuple[Generator, Discriminator] | None, config: IganConfig, random: torch.Generator
) -> NoveltyHead:
    """Train on normal latents (n, 64) against half fakes, half boundary negatives.

    A discriminator that saw only reals and fakes says nothing about points off both; boundary negatives (normals
    moved by 1-4 deviations and normalised again) show it the outside. With a GAN, its trunk is where it starts.
    Source: Kliger & Fleishman 2018, "Novelty detection with GAN".
    """
    head = NoveltyHead(config)
    linear = [layer for layer in head.layers if isinstance(layer, nn.Linear)]
    if gan is not None:
        with torch.no_grad():  # a convolutional discriminator has no such layers to start from
            for layer, start in zip(linear, gan[1].linear(), strict=False):
                layer.weight.copy_(start.weight)
                layer.bias.copy_(start.bias)
    for layer in linear:
        spectral_norm(layer)
    deviation = normal.std(dim=0)
    optimiser = AdamW(head.parameters(), 1e-3, config.weight_decay)
    half = config.gan_batch // 2
    for _ in range(config.novelty_steps):
        inside = normal[torch.randint(len(normal), (config.gan_batch,), generator=random)]
        outside = boundary(normal[torch.randint(len(normal), (2 * half,), generator=random)], deviation, random)
        if gan is not None:
            made = len(config.classes) - (config.strangers > 0)  # the GAN makes no strangers
            asked = torch.randint(1, made, (half,), generator=random)
            with torch.no_grad():
                outside = torch.cat([outside[:half], gan[0].draw(asked, random)])
        loss = functional.softplus(head(inside)).mean() + functional.softplus(-head(outside)).mean()
        optimiser.descend(loss)
    head.eval()
    for layer in linear:
        nn.utils.parametrize.remove_parametrizations(layer, "weight")
    for parameter in head.parameters():
        parameter.requires_grad_(False)
    return head


def boundary(latent: Tensor, deviation: Tensor, random: torch.Generator) -> Tensor:
    """Normal latents moved by 1-4 deviations in a random direction, on the encoder's normalisation again."""
    strength = 1 + 3 * torch.rand((len(latent), 1), generator=random)
    moved = latent + strength * deviation * torch.randn(latent.shape, generator=random)
    return functional.layer_norm(moved, (latent.shape[1],))


class Mahalanobis(nn.Module):
    """z (n, F) → (n,) distance to normal traffic's centre, in its own deviations per feature."""

    centre: Tensor
    whitening: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(features))
        self.register_buffer("whitening", torch.eye(features))

    @classmethod
    def fit(cls, z: Tensor, shrinkage: float) -> "Mahalanobis":
        """From normal rows z (n, F); the covariance is shrunk towards the identity."""
        self = cls(z.shape[1])
        double = z.to(torch.float64)
        covariance = torch.cov(double.T)
        shrunk = (1 - shrinkage) * covariance + shrinkage * torch.eye(len(covariance), dtype=torch.float64)
        self.centre = double.mean(dim=0).to(torch.float32)
        # distance² = |W (z − centre)|² with W = L⁻¹, covariance = L Lᵀ
        lower = torch.linalg.cholesky(shrunk)
        identity = torch.eye(len(covariance), dtype=torch.float64)
        self.whitening = torch.linalg.solve_triangular(lower, identity, upper=False).to(torch.float32)
        return self

    def forward(self, z: Tensor) -> Tensor:
        """(n, F) → (n,)."""
        white = (z - self.centre) @ self.whitening.T
        return torch.sqrt(white.square().mean(dim=1))
