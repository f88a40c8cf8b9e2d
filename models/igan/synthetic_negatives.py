"""Synthetic negatives: made-up inputs near normal traffic but not of it, a class of their own in training.

They are what boundary negatives are to the novelty head, one stage earlier: without them the encoder only learns what
separates known attacks from normal traffic and is free to map an unknown attack onto normal.
"""

import torch
from torch import Tensor

from models.igan.config import IganConfig


class SyntheticNegatives:
    """Normal rows of which some columns were swapped with another normal row's and some numbers moved."""

    def __init__(self, normal: Tensor, numeric: Tensor, config: IganConfig) -> None:
        """From normal inputs (m, F) and which of their columns are numbers (F,)."""
        self.normal, self.numeric, self.config = normal, numeric.to(normal.dtype), config

    def draw(self, rows: int, random: torch.Generator) -> Tensor:
        """(rows, F) synthetic negatives.

        A row's share of swapped columns is uniform up to `stranger_swap`; three in ten of its numbers are moved by a
        Gaussian of a scale uniform up to one deviation.
        """
        first = self.normal[torch.randint(len(self.normal), (rows,), generator=random)]
        second = self.normal[torch.randint(len(self.normal), (rows,), generator=random)]
        share = self.config.stranger_swap * torch.rand((rows, 1), generator=random)
        swapped = torch.where(torch.rand(first.shape, generator=random) < share, second, first)
        strength = torch.rand((rows, 1), generator=random) * self.numeric
        moved = (torch.rand(first.shape, generator=random) < 0.3) * torch.randn(first.shape, generator=random)
        return (swapped + strength * moved).clamp(-self.config.clip, self.config.clip)
