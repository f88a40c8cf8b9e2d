"""The classifier on the frozen latent: which class a flow looks like, free of how common the class is."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.igan.adamw import AdamW
from models.igan.config import IganConfig
from models.igan.encoder import log_prior


class Classifier(nn.Module):
    """latent (n, 64) → logits (n, K)."""

    def __init__(self, config: IganConfig) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(config.latent, 128),
            nn.SiLU(),
            nn.Dropout(config.dropout),
            nn.Linear(128, 64),
            nn.SiLU(),
        )
        self.last = nn.Linear(64, len(config.classes))

    def forward(self, latent: Tensor) -> Tensor:
        """(n, latent) → (n, K)."""
        logits: Tensor = self.last(self.layers(latent))
        return logits


def train_classifier(
    latent: Tensor, y: Tensor, fake: Tensor, fake_y: Tensor, config: IganConfig, random: torch.Generator
) -> Classifier:
    """Train on real and synthetic latents, then its last layer on the real ones alone."""
    classifier = Classifier(config)
    both, both_y = torch.cat([latent, fake]), torch.cat([y, fake_y])
    _descend(classifier, list(classifier.parameters()), both, both_y, config.classifier_epochs, 1e-3, config, random)
    _descend(classifier, list(classifier.last.parameters()), latent, y, config.fine_tune_epochs, 3e-4, config, random)
    classifier.eval()
    for parameter in classifier.parameters():
        parameter.requires_grad_(False)
    return classifier


def _descend(
    classifier: Classifier,
    parameters: list[nn.Parameter],
    latent: Tensor,
    y: Tensor,
    epochs: int,
    rate: float,
    config: IganConfig,
    random: torch.Generator,
) -> None:
    """Cross-entropy with the prior of these very labels added to the logits; no label smoothing."""
    prior = log_prior(y, len(config.classes))
    optimiser = AdamW(parameters, rate, config.weight_decay)
    classifier.train()
    for _ in range(epochs):
        order = torch.randperm(len(latent), generator=random)
        for start in range(0, len(order), config.batch):
            rows = order[start : start + config.batch]
            loss = functional.cross_entropy(classifier(latent[rows]) + prior, y[rows])
            optimiser.descend(loss)
