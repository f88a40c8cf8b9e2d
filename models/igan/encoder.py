"""The encoder: features to a 64-dimensional latent in which the classes lie apart. Trained first, then frozen."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.igan.adamw import AdamW, warm_then_cosine
from models.igan.config import IganConfig
from models.igan.steps import Steps
from models.igan.synthetic_negatives import SyntheticNegatives
from models.igan.tick import Tick, ignore


class Encoder(nn.Module):
    """z (n, F) → latent (n, 64), normalised without learnt scale so that no dimension can dominate a distance."""

    def __init__(self, features: int, config: IganConfig, steps: Steps | None = None) -> None:
        super().__init__()
        wide, middle = config.hidden
        self.steps = steps
        self.layers = nn.Sequential(
            nn.Linear(features if steps is None else features + len(steps.edge), wide),
            nn.LayerNorm(wide),
            nn.SiLU(),
            nn.Dropout(config.dropout),
            nn.Linear(wide, middle),
            nn.LayerNorm(middle),
            nn.SiLU(),
            nn.Dropout(config.dropout),
            nn.Linear(middle, config.latent),
            nn.LayerNorm(config.latent, elementwise_affine=False),
        )

    def forward(self, z: Tensor) -> Tensor:
        """(n, F) → (n, latent)."""
        latent: Tensor = self.layers(z if self.steps is None else self.steps(z))
        return latent


def train_encoder(
    z: Tensor,
    y: Tensor,
    config: IganConfig,
    random: torch.Generator,
    tick: Tick = ignore,
    steps_of: Steps | None = None,
    synthetic: SyntheticNegatives | None = None,
) -> tuple[Encoder, nn.Linear]:
    """Train the encoder and its linear head on z (n, F), y (n,) by cross-entropy and supervised contrast.

    With synthetic negatives, so many a row are drawn for every batch; they are the last class of the configuration.
    """
    encoder = Encoder(z.shape[1], config, steps_of)
    head = nn.Linear(config.latent, len(config.classes))
    parameters = [*encoder.parameters(), *head.parameters()]
    optimiser = AdamW(parameters, config.learning_rate, config.weight_decay)
    steps, step = config.epochs * max(1, len(z) // config.batch), 0
    prior = log_prior(y, len(config.classes))
    if synthetic is not None:
        prior[-1] = math.log(config.strangers)
    encoder.train()
    for _ in range(config.epochs):
        order = torch.randperm(len(z), generator=random)
        for start in range(0, max(1, len(z) // config.batch) * config.batch, config.batch):
            rows = order[start : start + config.batch]
            seen, targets = z[rows], y[rows]
            if synthetic is not None:
                seen = torch.cat([seen, synthetic.draw(int(config.strangers * config.batch), random)])
                targets = torch.cat([targets, targets.new_full((len(seen) - len(rows),), len(config.classes) - 1)])
            mask = torch.rand(seen.shape, generator=random) >= config.feature_masking
            latent = encoder(seen * mask)  # (batch, latent)
            loss = functional.cross_entropy(head(latent) + prior, targets)
            if config.supervised_contrastive:
                loss = loss + config.supervised_contrastive * supervised_contrast(
                    latent[: len(rows)], y[rows], config.contrastive_temperature
                )
            optimiser.descend(loss, warm_then_cosine(step / steps))
            step += 1
            tick(step / steps)
    encoder.eval()
    for parameter in parameters:
        parameter.requires_grad_(False)
    return encoder, head


def log_prior(y: Tensor, classes: int) -> Tensor:
    """Log share of every class among labels y; added to logits in training, it makes the logits prior-free.

    Source: Menon et al. 2021, "Long-tail learning via logit adjustment", section 4.2.
    """
    counts = torch.bincount(y, minlength=classes).to(torch.float32)
    return torch.log(counts.clamp(min=1.0) / counts.sum())


def supervised_contrast(latent: Tensor, y: Tensor, temperature: float) -> Tensor:
    """How much closer a row lies to others than to its own class, mean over rows with company.

    Source: Khosla et al. 2020, "Supervised contrastive learning", equation 2.
    """
    unit = functional.normalize(latent, dim=1)
    alike = unit @ unit.T / temperature  # (batch, batch)
    itself = torch.eye(len(y), dtype=torch.bool)
    log_share = alike - torch.logsumexp(alike.masked_fill(itself, float("-inf")), dim=1, keepdim=True)
    positive = (y[:, None] == y[None, :]) & ~itself
    company = positive.sum(dim=1)
    per_row = -(log_share * positive).sum(dim=1) / company.clamp(min=1)
    return per_row[company > 0].mean() if bool((company > 0).any()) else per_row.sum() * 0.0
