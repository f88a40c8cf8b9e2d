"""The GAN of the paper: convolutions along the latent, instead of the linear layers of models/igan/gan.py."""

from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from models.igan.config import IganConfig
from models.igan.gan import Discriminator, Generator

CHANNELS = 16
STRIDES = 4  # two halvings of the latent's length


class ConvGenerator(Generator):
    """noise (n, 32) and class (n,) → latent (n, L), by two transposed convolutions.

    Source: Huang & Lei 2020, "IGAN-IDS", which makes latents by a convolutional generator; sizes are ours.
    """

    def __init__(self, config: IganConfig) -> None:
        super().__init__(config)
        short = _short(config)
        self.layers = nn.Sequential(
            nn.Linear(config.noise + config.class_embedding, 2 * CHANNELS * short),
            nn.LeakyReLU(0.2),
            nn.Unflatten(1, (2 * CHANNELS, short)),
            nn.ConvTranspose1d(2 * CHANNELS, CHANNELS, kernel_size=4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.ConvTranspose1d(CHANNELS, 1, kernel_size=4, stride=2, padding=1),
            nn.Flatten(),
        )


class ConvDiscriminator(Discriminator):
    """latent (n, L) → how real it looks, by two convolutions; the two heads are the same."""

    def __init__(self, config: IganConfig) -> None:
        super().__init__(config)
        self.trunk = nn.Sequential(
            nn.Unflatten(1, (1, config.latent)),
            spectral_norm(nn.Conv1d(1, CHANNELS, kernel_size=4, stride=2, padding=1)),
            nn.LeakyReLU(0.2),
            spectral_norm(nn.Conv1d(CHANNELS, 2 * CHANNELS, kernel_size=4, stride=2, padding=1)),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            spectral_norm(nn.Linear(2 * CHANNELS * _short(config), 64)),
            nn.LeakyReLU(0.2),
        )


def _short(config: IganConfig) -> int:
    if config.latent % STRIDES:
        raise ValueError(f"gan_kind conv: got a latent of {config.latent}, expected a multiple of {STRIDES}")
    return config.latent // STRIDES


def networks(config: IganConfig) -> tuple[Generator, Discriminator]:
    """The generator and the discriminator a configuration asks for, untrained."""
    if config.gan_kind == "conv":
        return ConvGenerator(config), ConvDiscriminator(config)
    if config.gan_kind == "linear":
        return Generator(config), Discriminator(config)
    raise ValueError(f"gan_kind: got {config.gan_kind!r}, expected 'linear' or 'conv'")
