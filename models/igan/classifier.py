"""The classifier on the frozen latent, trained on with synthetic latents of rare classes."""

import torch
from torch import Tensor
from torch.nn import functional

from models.igan.adamw import AdamW
from models.igan.config import IganConfig
from models.igan.network import IganNetwork


def train_on(
    network: IganNetwork,
    latent: Tensor,
    y: Tensor,
    fake: Tensor,
    fake_y: Tensor,
    config: IganConfig,
    random: torch.Generator,
) -> None:
    """Train the classifier on real and synthetic latents (n, L), then the last layer on real ones alone."""
    layers = [*network.top.parameters(), *network.last.parameters()]
    both, both_y = torch.cat([latent, fake]), torch.cat([y, fake_y])
    _descend(network, layers, both, both_y, config.classifier_epochs, config.classifier_rate, config, random)
    last = list(network.last.parameters())
    _descend(network, last, latent, y, config.fine_tune_epochs, config.fine_tune_rate, config, random)
    network.freeze()


def _descend(
    network: IganNetwork,
    parameters: list[torch.nn.Parameter],
    latent: Tensor,
    y: Tensor,
    epochs: int,
    rate: float,
    config: IganConfig,
    random: torch.Generator,
) -> None:
    optimiser = AdamW(parameters, rate, config.weight_decay)
    for parameter in parameters:
        parameter.requires_grad_(True)
    network.train()
    for _ in range(epochs):
        order = torch.randperm(len(latent), generator=random)
        for start in range(0, len(order), config.batch):
            rows = order[start : start + config.batch]
            optimiser.descend(functional.cross_entropy(network.classify(latent[rows]), y[rows]))
