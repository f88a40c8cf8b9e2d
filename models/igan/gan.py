"""The GAN in the latent space: a conditional generator, a spectral-norm discriminator with two heads, hinge loss."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from models.igan.adamw import AdamW
from models.igan.config import IganConfig
from models.igan.imbalance import Wanted, sample_filter, smote
from models.igan.tick import Tick, ignore

Classify = Callable[[Tensor], Tensor]
"""Latents (n, L), in deviations, to logits (n, K) by the classifier that was trained with the encoder."""


class Generator(nn.Module):
    """noise (n, 32) and class (n,) → latent (n, L), each dimension in deviations of the real ones.

    What the layers make is in deviations of the class around its mean, so that they have the shape of a class to learn
    and not where it lies: real latents fill few of their dimensions, and a class a small part of those.
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, config: IganConfig) -> None:
        super().__init__()
        self.noise = config.noise
        self.embedding = nn.Embedding(len(config.classes), config.class_embedding)
        self.layers = nn.Sequential(
            nn.Linear(config.noise + config.class_embedding, 128),
            nn.LeakyReLU(0.2),
            nn.Linear(128, 128),
            nn.LeakyReLU(0.2),
            nn.Linear(128, config.latent),
        )
        self.register_buffer("centre", torch.zeros(len(config.classes), config.latent))
        self.register_buffer("spread", torch.ones(len(config.classes), config.latent))

    def settle(self, latent: Tensor, y: Tensor) -> None:
        """Take over where the classes of real latents (n, L), (n,) lie, and how far each spreads."""
        for label in range(len(self.centre)):
            members = latent[y == label]
            if len(members):
                self.centre[label] = members.mean(dim=0)
                self.spread[label] = members.std(dim=0, correction=0)

    def draw(self, y: Tensor, random: torch.Generator) -> Tensor:
        """One latent for each class asked for."""
        noise = torch.randn((len(y), self.noise), generator=random)
        latent: Tensor = self.layers(torch.cat([noise, self.embedding(y)], dim=1))
        return self.centre[y] + self.spread[y] * latent


class Discriminator(nn.Module):
    """latent (n, L) → how real it looks: by itself, and as a member of a class (projection)."""

    def __init__(self, config: IganConfig) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            spectral_norm(nn.Linear(config.latent, 128)),
            nn.LeakyReLU(0.2),
            spectral_norm(nn.Linear(128, 64)),
            nn.LeakyReLU(0.2),
        )
        self.unconditional = spectral_norm(nn.Linear(64, 1))
        self.classes = nn.Embedding(len(config.classes), 64)

    def forward(self, latent: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """(n,) realness as class y, and the trunk's features (n, 64).

        Source: Miyato & Koyama 2018, "cGANs with projection discriminator".
        """
        features = self.trunk(latent)
        realness = self.unconditional(features).squeeze(1) + (self.classes(y) * features).sum(dim=1)
        return realness, features


def train_gan(
    latent: Tensor,
    y: Tensor,
    classify: Classify,
    config: IganConfig,
    random: torch.Generator,
    tick: Tick = ignore,
    untrained: tuple[Generator, Discriminator] | None = None,
) -> tuple[Generator, Discriminator]:
    """Train on frozen latents, class-balanced batches; the generator returned is the running average."""
    generator, discriminator = untrained or (Generator(config), Discriminator(config))
    generator.settle(latent, y)
    average = copy.deepcopy(generator)
    present = [label for label in range(len(config.classes)) if bool((y == label).any())]
    members = {label: torch.nonzero(y == label).squeeze(1) for label in present}
    labels = torch.tensor(present)
    slow = AdamW(generator.parameters(), config.generator_rate, betas=(0.0, 0.9))
    fast = AdamW(discriminator.parameters(), config.discriminator_rate, betas=(0.0, 0.9))
    for step in range(config.gan_steps):
        tick(step / config.gan_steps)
        asked = labels[torch.randint(len(labels), (config.gan_batch,), generator=random)].sort().values
        real = latent[_one_of_each(asked, members, random)]
        fake = generator.draw(asked, random)
        on_real, _ = discriminator(real, asked)
        on_fake, _ = discriminator(fake.detach(), asked)
        loss = functional.relu(1 - on_real).mean() + functional.relu(1 + on_fake).mean()
        fast.descend(loss)

        realness, features = discriminator(fake, asked)
        with torch.no_grad():
            _, real_features = discriminator(real, asked)
        loss = -realness.mean() + config.generator_ce * functional.cross_entropy(classify(fake), asked)
        loss = loss + functional.mse_loss(features.mean(dim=0), real_features.mean(dim=0))
        slow.descend(loss)
        with torch.no_grad():
            for mean, current in zip(average.parameters(), generator.parameters(), strict=True):
                mean.lerp_(current, 1 - config.average_decay)
    discriminator.eval()
    return average, discriminator


def _one_of_each(asked: Tensor, members: dict[int, Tensor], random: torch.Generator) -> Tensor:
    """The index of a random row of every class asked for (classes sorted, so that each is drawn in one go)."""
    drawn = []
    for label, count in enumerate(torch.bincount(asked).tolist()):
        if not count:
            continue
        rows = members[label]
        drawn.append(rows[torch.randint(len(rows), (count,), generator=random)])
    return torch.cat(drawn)


def synthesise(
    wanted: list[Wanted],
    latent: Tensor,
    y: Tensor,
    gan: tuple[Generator, Discriminator] | None,
    classify: Classify,
    random: torch.Generator,
    held_out: Tensor | None = None,
    kind: str = "gan",
    filtered: bool = True,
) -> tuple[Tensor, Tensor]:
    """Synthetic latents and their classes: from the GAN through the sample filter where it may, else SMOTE.

    Parameters
    ----------
    held_out : (n,) rows the GAN never saw; where a class has some, the filter's percentile is theirs
    kind : "random" repeats real rows instead
    filtered : False returns the generator's output unfiltered
    """
    fakes, labels = [latent[:0]], [y[:0]]
    for want in wanted:
        members = y == want.label
        real = latent[members]
        if kind == "random":
            made = real[torch.randint(len(real), (want.rows,), generator=random)]
        elif gan is None or not want.gan:
            made = smote(real, want.rows, random)
        else:
            generator, discriminator = gan
            asked = torch.full((3 * want.rows,), want.label)
            judges = real if held_out is None or not bool((members & held_out).any()) else latent[members & held_out]
            with torch.no_grad():
                drawn = generator.draw(asked, random)
                fake_score, _ = discriminator(drawn, asked)
                real_score, _ = discriminator(judges, asked[:1].expand(len(judges)))
            agrees = classify(drawn).argmax(dim=1) == want.label
            chosen = sample_filter(drawn, fake_score, real_score, agrees, real) if filtered else torch.ones_like(agrees)
            made = drawn[chosen][: want.rows]
        fakes.append(made)
        labels.append(torch.full((len(made),), want.label))
    return torch.cat(fakes), torch.cat(labels)
