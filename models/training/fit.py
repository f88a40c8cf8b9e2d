"""Fitting a network to labelled rows: preprocess → encode → (GAN) → balance → classify → novelty."""

import os
import platform
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from models.igan.classifier import train_classifier
from models.igan.config import IganConfig
from models.igan.conv import networks
from models.igan.encoder import Encoder, train_encoder
from models.igan.gan import Discriminator, Generator, synthesise, train_gan
from models.igan.imbalance import class_filter
from models.igan.network import IganNetwork
from models.igan.novelty import train_novelty
from models.igan.preprocess import Preprocess
from models.igan.steps import Steps, numeric
from models.igan.synthetic_negatives import SyntheticNegatives
from models.rows import Floats, Ints
from models.training.stages import Stages


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
class Foundation:
    """What all variants of a classifier share: preprocessing, the frozen encoder, its head, latents, and the GAN."""

    preprocess: Preprocess
    encoder: Encoder
    head: torch.nn.Linear
    latent: Tensor  # (n, latent)
    y: Tensor  # (n,)
    gan: tuple[Generator, Discriminator] | None
    held_out: Tensor | None = None  # (n,) rows the GAN never saw
    strange: Tensor | None = None  # (m, latent) of synthetic negatives, the last class


def lay_foundation(
    matrix: Floats,
    y: Ints,
    log: tuple[bool, ...],
    config: IganConfig,
    random: torch.Generator,
    with_gan: bool,
    stages: Stages | None = None,
    preprocess: Preprocess | None = None,
) -> Foundation:
    """Preprocessing, encoder and, if asked for, the GAN, from rows (n, F) and classes (n,).

    A `preprocess` that is given is taken as it is; the rows of an evaluation come prepared.
    """
    stages = stages or Stages()
    preprocess = preprocess or Preprocess.fit(matrix, log, config.clip)
    z = preprocess(torch.from_numpy(matrix).to(random.device))
    labels = torch.from_numpy(y).to(random.device)
    steps = Steps.fit(z.cpu().numpy(), config.bins).to(random.device) if config.bins else None
    synthetic = None
    if config.strangers:
        numbers = torch.from_numpy(numeric(z.cpu().numpy())).to(z.device)
        synthetic = SyntheticNegatives(z[labels < config.benign], numbers, config)
    encoder, head = stages.run(
        "encoder",
        lambda tick: train_encoder(z, labels, config, random, tick, steps, synthetic),
        lambda: (Encoder(z.shape[1], config, steps), torch.nn.Linear(config.latent, len(config.classes))),
        random,
    )
    with torch.no_grad():
        latent = encoder(z)
        strange = encoder(synthetic.draw(int(config.strangers * len(z)), random)) if synthetic else None
    gan, held_out = None, None
    if with_gan and config.filter_held_out:
        held_out = torch.rand(len(z), generator=random) < config.filter_held_out
    shown = slice(None) if held_out is None else ~held_out
    if with_gan:
        gan = stages.run(
            "gan",
            lambda tick: train_gan(latent[shown], labels[shown], head, config, random, tick, networks(config)),
            lambda: networks(config),
            random,
        )
    return Foundation(preprocess, encoder, head, latent, labels, gan, held_out, strange)


def assemble(base: Foundation, config: IganConfig, random: torch.Generator) -> IganNetwork:
    """The whole network on a foundation: classifier with the configured augmentation, and the novelty head."""
    fake, fake_y = base.latent[:0], base.y[:0]
    if config.augmentation != "none":
        gan = base.gan if config.augmentation == "gan" else None
        wanted = class_filter(base.y, config)
        fake, fake_y = synthesise(
            wanted,
            base.latent,
            base.y,
            gan,
            base.head,
            random,
            base.held_out,
            config.augmentation,
            config.sample_filter,
        )
    network = IganNetwork(len(base.preprocess.mean), config)
    network.preprocess, network.encoder = base.preprocess, base.encoder
    real, real_y = base.latent, base.y
    if base.strange is not None:
        real = torch.cat([real, base.strange])
        real_y = torch.cat([real_y, real_y.new_full((len(base.strange),), len(config.classes) - 1)])
    network.classifier = train_classifier(real, real_y, fake, fake_y, config, random)
    network.novelty = train_novelty(base.latent[base.y == 0], base.gan, config, random)
    network.eval()
    return network


def fit_network(
    matrix: Floats,
    y: Ints,
    log: tuple[bool, ...],
    config: IganConfig,
    random: torch.Generator,
    stages: Stages | None = None,
    preprocess: Preprocess | None = None,
) -> IganNetwork:
    """A network on the CPU from rows (n, F) and classes (n,), in the stages encoder, gan and network."""
    stages = stages or Stages()
    with _made_on(random.device):
        base = lay_foundation(matrix, y, log, config, random, config.gan_steps > 0, stages, preprocess)
        (network,) = stages.run(
            "network",
            lambda _: (assemble(base, config, random),),
            lambda: (IganNetwork(matrix.shape[1], config).eval(),),
            random,
        )
    return network.cpu()


def _made_on(device: torch.device) -> AbstractContextManager[object]:
    """Tensors and networks are made on this device; on the CPU they are anyway, without the context's cost."""
    return nullcontext() if device.type == "cpu" else device
