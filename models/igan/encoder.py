"""Training of encoder and classifier together: many small steps, the names of attacks as targets."""

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from models.igan.adamw import AdamW, warm_then_cosine
from models.igan.config import IganConfig
from models.igan.network import IganNetwork, margin_of
from models.igan.tick import Tick, ignore

WARM_UP = 0.1  # of the steps
LARGE_ROWS = 60_000  # from so many rows on a batch is twice as large: half the time a row, no figure moved
LEAST_EPOCHS, MAX_EPOCHS = 8, 120  # a small table is gone over more often, though not for ever


class Teacher(Protocol):
    """A stronger classifier that made-up rows can be shown to; it is never part of the model."""

    def perturbed(self, z: Tensor, rows: int, random: torch.Generator) -> Tensor:
        """(n, F) → (rows, F) made of pairs of them."""
        ...

    def margin(self, z: Tensor) -> Tensor:
        """(n, F) → (n,) its log-odds of an attack."""
        ...


def schedule(rows: int, config: IganConfig) -> tuple[int, int]:
    """Batch size and epochs for so many rows: about `config.steps` steps in all."""
    batch = min(config.batch * (2 if rows >= LARGE_ROWS else 1), rows)
    each = max(1, rows // batch)
    return batch, min(max(LEAST_EPOCHS, round(config.steps / each)), MAX_EPOCHS)


def train_network(
    network: IganNetwork,
    z: Tensor,
    y: Tensor,
    config: IganConfig,
    random: torch.Generator,
    teacher: Teacher | None = None,
    tick: Tick = ignore,
) -> None:
    """Train the whole network on z (n, F), y (n,) by cross-entropy: no class weights, no masking, no smoothing.

    With a teacher every epoch has `config.teacher_rows` times as many perturbed rows besides. Whether a row is an
    attack is then learnt from the teacher's log-odds alone, and y says which attack, or which kind of benign.
    """
    optimiser = AdamW(network.parameters(), config.learning_rate, config.weight_decay)
    batch, epochs = schedule(len(z), config)
    each = max(1, len(z) // batch)
    taught = teacher.margin(z) if teacher is not None else None
    network.train()
    for epoch in range(epochs):
        order = torch.randperm(len(z), generator=random)
        made, made_margin = z[:0], z[:0, 0]
        if teacher is not None:
            made = teacher.perturbed(z, config.teacher_rows * each * batch, random)
            made_margin = teacher.margin(made)
        for number in range(each):
            rows = order[number * batch : (number + 1) * batch]
            if taught is None:
                loss = functional.cross_entropy(network.classify(network.encode(z[rows])), y[rows])
            else:
                extra = slice(number * batch * config.teacher_rows, (number + 1) * batch * config.teacher_rows)
                logits = network.classify(network.encode(torch.cat([z[rows], made[extra]])))
                target = torch.cat([taught[rows], made_margin[extra]])
                loss = distilled(logits, y[rows], target, config.benign)
            done = epoch * each + number
            optimiser.descend(loss, warm_then_cosine(done / (epochs * each), WARM_UP))
            tick((done + 1) / (epochs * each))
    network.freeze()


def distilled(logits: Tensor, y: Tensor, taught: Tensor, benign: int) -> Tensor:
    """Loss of logits (m, K) by a teacher's log-odds (m,), and by the classes y (n,) of the first n of them.

    Cross-entropy falls apart into "attack or not", which is learnt from the teacher, and "which of them".
    Source: Hinton et al. 2015, "Distilling the knowledge in a neural network", section 2.
    """
    margin = margin_of(logits, benign)
    loss = functional.binary_cross_entropy_with_logits(margin, torch.sigmoid(taught))
    real = logits[: len(y)]
    sides = ((y >= benign, real[:, benign:], y - benign), (y < benign, real[:, :benign], y))
    for chosen, names, target in sides:
        if names.shape[1] > 1 and bool(chosen.any()):
            loss = loss + functional.cross_entropy(names[chosen], target[chosen], reduction="sum") / len(y)
    return loss
