"""Fitting a network to labelled rows: preprocess → knots → encode and classify → (GAN → balance → classify again)."""

import copy
import os
import platform
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from models.igan.classifier import train_on
from models.igan.config import IganConfig
from models.igan.conv import networks
from models.igan.encoder import Teacher, train_network
from models.igan.forward import Forward
from models.igan.gan import Discriminator, Generator, synthesise, train_gan
from models.igan.imbalance import class_filter
from models.igan.knots import Knots
from models.igan.network import IganNetwork
from models.igan.preprocess import Preprocess
from models.igan.temperature import fit_temperature
from models.rows import Floats, Ints
from models.training.stages import Stages

LEAST_DEVIATION = 1e-3  # a latent dimension that hardly moves is not blown up

TeacherOf = Callable[[Tensor, Tensor], Teacher]
"""Preprocessed rows (n, F), which of them are attacks (n,) → a teacher fitted to them."""


def deterministic(config: IganConfig, device: str = "cpu") -> torch.Generator:
    """One seeded source of randomness, deterministic kernels, a fixed number of threads.

    Networks are trained on the device of the generator.
    """
    if device == "cuda":
        os.putenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS has no deterministic kernels
    torch.manual_seed(config.seed)
    torch.set_deterministic_debug_mode("error")  # an operation that could vary raises
    torch.set_num_threads(config.threads)
    return torch.Generator(device).manual_seed(config.seed)


def cpu_type() -> str:
    """What the bits of a training depend on: the processor's architecture, make and vector instructions."""
    make = ""
    facts = Path("/proc/cpuinfo")
    if facts.is_file():
        lines = [line.partition(":") for line in facts.read_text("utf-8", "replace").splitlines()]
        known = {name.strip(): value.strip() for name, _, value in reversed(lines)}
        make = " ".join(known[name] for name in ("vendor_id", "cpu family", "model") if name in known)
    return " ".join(part for part in (platform.machine(), make, torch.backends.cpu.get_cpu_capability()) if part)


@dataclass(frozen=True, slots=True)
class Latents:
    """The frozen encoder's latents (n, L), in deviations of their dimensions, and back."""

    centre: Tensor
    scale: Tensor
    latent: Tensor

    @classmethod
    def of(cls, raw: Tensor) -> "Latents":
        """From latents as the encoder gives them."""
        centre, scale = raw.mean(dim=0), raw.std(dim=0).clamp(min=LEAST_DEVIATION)
        return cls(centre, scale, (raw - centre) / scale)

    def restored(self, latent: Tensor) -> Tensor:
        """As the encoder gives them."""
        return latent * self.scale + self.centre


@dataclass(frozen=True, slots=True)
class Foundation:
    """What all variants of a classifier share: the network as trained without synthetic rows, latents, and the GAN."""

    network: IganNetwork
    latents: Latents
    y: Tensor  # (n,)
    gan: tuple[Generator, Discriminator] | None
    held_out: Tensor | None = None  # (n,) rows the GAN never saw

    def classify(self, latent: Tensor) -> Tensor:
        """Latents (n, L) in deviations → logits (n, K)."""
        return self.network.classify(self.latents.restored(latent))


def lay_foundation(
    matrix: Floats,
    y: Ints,
    log: tuple[bool, ...],
    config: IganConfig,
    random: torch.Generator,
    adversarial: bool,
    stages: Stages | None = None,
    preprocess: Preprocess | None = None,
    teacher_of: TeacherOf | None = None,
) -> Foundation:
    """The network trained without synthetic rows and, if asked for, the GAN, from rows (n, F) and classes (n,).

    A `preprocess` that is given is taken as it is; the rows of an evaluation come prepared.
    """
    stages = stages or Stages()
    preprocess = preprocess or Preprocess.fit(matrix, log, config.clip)
    z = preprocess(torch.from_numpy(matrix).to(random.device))
    labels = torch.from_numpy(y).to(random.device)
    knots = Knots.fit(z.cpu().numpy(), config.bins)
    untrained = IganNetwork(preprocess, knots, config)
    teacher = teacher_of(z, labels >= config.benign) if teacher_of is not None else None

    def trained(tick: Callable[[float], None]) -> tuple[IganNetwork]:
        train_network(untrained, z, labels, config, random, teacher, tick)
        return (untrained,)

    (network,) = stages.run("encoder", trained, lambda: (untrained,), random)
    with torch.no_grad():
        latents = Latents.of(network.encode(z))
    base = Foundation(network, latents, labels, None)
    return with_gan(base, config, random, stages) if adversarial else base


def with_gan(base: Foundation, config: IganConfig, random: torch.Generator, stages: Stages | None = None) -> Foundation:
    """A foundation with a generator and a discriminator of the configured kind, trained on its latents."""
    held_out = torch.rand(len(base.y), generator=random) < config.filter_held_out
    latent, y = base.latents.latent[~held_out], base.y[~held_out]
    gan = (stages or Stages()).run(
        "gan",
        lambda tick: train_gan(latent, y, base.classify, config, random, tick, networks(config)),
        lambda: networks(config),
        random,
    )
    return replace(base, gan=gan, held_out=held_out)


def assemble(base: Foundation, config: IganConfig, random: torch.Generator) -> IganNetwork:
    """A network on a foundation: its classifier trained on with the configured synthetic rows; none leave it as is."""
    network = copy.deepcopy(base.network)
    if config.augmentation == "none":
        return network
    fake, fake_y = synthesise(
        class_filter(base.y, config),
        base.latents.latent,
        base.y,
        base.gan if config.augmentation == "gan" else None,
        base.classify,
        random,
        base.held_out,
        config.augmentation,
        config.sample_filter,
    )
    real = base.latents.restored(base.latents.latent)
    train_on(network, real, base.y, base.latents.restored(fake), fake_y, config, random)
    return network


def fit_network(
    matrix: Floats,
    y: Ints,
    log: tuple[bool, ...],
    config: IganConfig,
    random: torch.Generator,
    stages: Stages | None = None,
    preprocess: Preprocess | None = None,
    teacher_of: TeacherOf | None = None,
) -> IganNetwork:
    """A network on the CPU from rows (n, F) and classes (n,), in the stages encoder, and gan and network if asked."""
    stages = stages or Stages()
    with _made_on(random.device):
        adversarial = config.augmentation == "gan"
        base = lay_foundation(matrix, y, log, config, random, adversarial, stages, preprocess, teacher_of)
        network = base.network
        if config.augmentation != "none":
            (network,) = stages.run(
                "network",
                lambda _: (assemble(base, config, random),),
                lambda: (copy.deepcopy(base.network),),
                random,
            )
    return network.cpu()


def trial_config(config: IganConfig, names: int) -> IganConfig:
    """The configuration of a short training that only serves a choice, with so many classes, the first benign."""
    classes = tuple(f"name {number}" for number in range(names))
    return replace(
        config, classes=classes, benign=1, coarse=(), steps=config.trial_steps, augmentation="none", teacher="none"
    )


def temperature_of(forward: Forward, matrix: Floats, y: Ints) -> float:
    """The temperature that makes the classifier's confidence true on untouched rows (n, F), (n,); 1 without any.

    It belongs to probabilities alone. The margin that the odds are made of stays as trained: divided by it, what the
    classifier is sure of would drown among the odds of unknown attacks.
    """
    return fit_temperature(torch.from_numpy(forward(matrix)[1]), torch.from_numpy(y)) if len(y) else 1.0


def _made_on(device: torch.device) -> AbstractContextManager[object]:
    """Tensors and networks are made on this device; on the CPU they are anyway, without the context's cost."""
    return nullcontext() if device.type == "cpu" else device
