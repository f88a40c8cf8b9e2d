"""A plain GAN on prepared records: its discriminator as a novelty score, its generator as a source of records."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.igan.adamw import AdamW
from models.lab.detectors.descent import in_tiles, numbers, seeded
from models.lab.detectors.detector import Family, Prediction, Size, TrainingSet
from models.lab.detectors.predictions import normals
from models.rows import Floats

NOISE = 32
BATCH = 256
RATE = 2e-4
BETAS = (0.5, 0.999)


class Generator(nn.Module):
    """noise (n, 32) and class (n,) → record (n, F)."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(classes, 16)
        self.layers = nn.Sequential(
            nn.Linear(NOISE + 16, 128),
            nn.LeakyReLU(0.2),
            nn.Linear(128, 128),
            nn.LeakyReLU(0.2),
            nn.Linear(128, features),
        )

    def draw(self, y: Tensor, random: torch.Generator) -> Tensor:
        """One record for each class asked for."""
        noise = torch.randn((len(y), NOISE), generator=random)
        record: Tensor = self.layers(torch.cat([noise, self.embedding(y)], dim=1))
        return record


class Discriminator(nn.Module):
    """record (n, F) and class (n,) → (n,) log-odds that it is real."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(classes, 16)
        self.layers = nn.Sequential(
            nn.Linear(features + 16, 128),
            nn.LeakyReLU(0.2),
            nn.Linear(128, 64),
            nn.LeakyReLU(0.2),
            nn.Linear(64, 1),
        )

    def forward(self, record: Tensor, y: Tensor) -> Tensor:
        """(n, F), (n,) → (n,)."""
        real: Tensor = self.layers(torch.cat([record, self.embedding(y)], dim=1)).squeeze(1)
        return real


def train_gan(
    x: Tensor, y: Tensor, classes: int, steps: int, random: torch.Generator
) -> tuple[Generator, Discriminator]:
    """Non-saturating loss, as many records of each class in a batch; with one class it is the plain GAN.

    Sources: Goodfellow et al. 2014, "Generative adversarial nets"; Mirza & Osindero 2014, "Conditional generative
    adversarial nets".
    """
    generator, discriminator = Generator(x.shape[1], classes), Discriminator(x.shape[1], classes)
    forger = AdamW(generator.parameters(), RATE, betas=BETAS)
    judge = AdamW(discriminator.parameters(), RATE, betas=BETAS)
    rows_by_class = [torch.nonzero(y == number).squeeze(1) for number in range(classes)]
    present = torch.tensor([number for number, rows in enumerate(rows_by_class) if len(rows)])
    counts = torch.tensor([len(rows) for rows in rows_by_class])
    starts = torch.cumsum(counts, 0) - counts
    by_class = torch.cat(rows_by_class)
    for _ in range(steps):
        asked = present[torch.randint(len(present), (BATCH,), generator=random)]
        within = (torch.rand(BATCH, generator=random, dtype=torch.float64) * counts[asked]).long()
        real = x[by_class[starts[asked] + within]]
        with torch.no_grad():
            fake = generator.draw(asked, random)
        judge.descend(
            functional.softplus(-discriminator(real, asked)).mean()
            + functional.softplus(discriminator(fake, asked)).mean()
        )
        forger.descend(functional.softplus(-discriminator(generator.draw(asked, random), asked)).mean())
    return generator.requires_grad_(False), discriminator.requires_grad_(False)


@dataclass(frozen=True, slots=True)
class FittedDiscriminator:
    """The discriminator alone."""

    discriminator: Discriminator

    def predict(self, matrix: Floats) -> Prediction:
        """Log-odds that a record is no normal one."""
        score = in_tiles(lambda x: -self.discriminator(x, torch.zeros(len(x), dtype=torch.int64)), matrix)
        return Prediction(score.astype("float32"), None)

    def size(self) -> Size:
        """Its weights, in 32 bits."""
        return Size(numbers(self.discriminator), 4 * numbers(self.discriminator))


@dataclass(frozen=True, slots=True)
class GanDiscriminator:
    """A GAN of normal records; what its discriminator takes for no real one counts as unusual."""

    steps: int = 1000

    def fit(self, training: TrainingSet, seed: int) -> FittedDiscriminator:
        """Learn from the normal ones of prepared records (n, F)."""
        x = torch.from_numpy(normals(training))
        with seeded(seed) as random:
            _, discriminator = train_gan(x, torch.zeros(len(x), dtype=torch.int64), 1, self.steps, random)
        return FittedDiscriminator(discriminator)


GAN_DISCRIMINATOR = Family(
    "gan-discriminator",
    "GAN discriminator",
    (GanDiscriminator(), GanDiscriminator(500), GanDiscriminator(2000)),
    multiclass=False,
    runs=1,
    seeds=3,
)
