"""How the networks among the comparators learn: AdamW on shuffled batches, one seed for all that is random."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from models.igan.adamw import AdamW, warm_then_cosine
from models.lab.detectors.predictions import Numbers
from models.rows import Floats

LEAST_STEPS = 400  # few records are gone through more often
TILE = 4096  # records scored at a time


@contextmanager
def seeded(seed: int) -> Iterator[torch.Generator]:
    """What torch draws inside (first weights, dropout) comes from the seed; outside, nothing has changed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield torch.Generator().manual_seed(seed)


def descend(
    parameters: Iterable[Tensor],
    loss_of: Callable[[Tensor], Tensor],
    rows: int,
    random: torch.Generator,
    *,
    epochs: int,
    batch: int = 256,
    rate: float = 1e-3,
    decay: float = 1e-2,
) -> None:
    """Go down the loss of batches of record positions, each record once an epoch; the rate rises, then falls."""
    optimiser = AdamW(parameters, rate, decay)
    each = max(1, rows // batch)  # a last, smaller batch is left to the next shuffle
    epochs = max(epochs, -(-LEAST_STEPS // each))
    for epoch in range(epochs):
        order = torch.randperm(rows, generator=random)
        for step in range(each):
            share = warm_then_cosine((epoch * each + step) / (epochs * each))
            optimiser.descend(loss_of(order[step * batch : (step + 1) * batch]), share)


def in_tiles(function: Callable[[Tensor], Tensor], matrix: Floats) -> Numbers:
    """A function of (n, F) records, some thousands at a time and without gradients."""
    with torch.no_grad():
        starts = range(0, max(len(matrix), 1), TILE)
        return np.concatenate([function(torch.from_numpy(matrix[i : i + TILE])).numpy() for i in starts])


def numbers(*modules: nn.Module) -> int:
    """How many numbers modules learnt."""
    return sum(parameter.numel() for module in modules for parameter in module.parameters())
