"""The first layer: numbers as piecewise linear functions, looked up; here a network learns to cut like a tree."""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.igan.knots import Knots
from models.rows import Floats, Ints


class LookUp(nn.Module):
    """z (n, F) → (n, H): the piecewise linear encoding of every number followed by a linear layer, as two look-ups.

    A number in bin j, at share t of the way to the next knot, adds (1 - t) V[j] + t V[j + 1]; V are the knots' rows,
    the running sums of what is learnt. Other columns add their value times a row of their own.
    Source: Gorishniy et al. 2022, "On embeddings for numerical features in tabular deep learning", equation 1.
    """

    column: Tensor
    plain: Tensor
    edge: Tensor
    first: Tensor
    last: Tensor

    def __init__(self, knots: Knots, width: int) -> None:
        super().__init__()
        edge = side_by_side(knots.edge, knots.first, knots.count)
        columns, longest = edge.shape
        self.knots = knots
        self.register_buffer("column", torch.tensor(knots.column))
        self.register_buffer("plain", torch.tensor(knots.plain))
        self.register_buffer("edge", torch.tensor(edge))
        self.register_buffer("first", torch.arange(columns) * longest)
        self.register_buffer("last", torch.tensor(knots.count - 2))
        reach = 1 / math.sqrt(len(knots.edge) + len(knots.plain) + 1)
        self.step = nn.Parameter(torch.empty(columns, longest, width).uniform_(-reach, reach))
        self.row = nn.Parameter(torch.empty(len(knots.plain), width).uniform_(-3 * reach, 3 * reach))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, z: Tensor) -> Tensor:
        """(n, F) → (n, H)."""
        others = torch.addmm(self.bias, z[:, self.plain], self.row)
        if not len(self.column):
            return others
        bin_of, share = self.position(z)
        rows = self.step.cumsum(dim=1).flatten(0, 1)
        index = torch.cat([bin_of, bin_of + 1], dim=1)
        weight = torch.cat([1 - share, share], dim=1)
        looked_up = functional.embedding_bag(index, rows, mode="sum", per_sample_weights=weight)
        return looked_up + others

    def position(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """(n, C) which row of all knots each number lies at or above, and how far on to the next, 0 to 1."""
        bin_of, share = bins(z[:, self.column].T.contiguous(), self.edge, self.last[:, None])
        return (bin_of + self.first[:, None]).T, share.T

    def table(self) -> Tensor:
        """(E, H) the rows of all knots, as they are looked up when the layer is not learning any more."""
        rows = self.step.detach().cumsum(dim=1)
        return torch.cat(
            [rows[number, :count] for number, count in enumerate(self.knots.count)] or [rows.flatten(0, 1)]
        )


def side_by_side(edge: Floats, first: Ints, count: Ints) -> Floats:
    """Knots (E,) of columns (C,) → (C, M), for one search over all; what a column has too few of is infinite."""
    whole = np.full((len(count), int(count.max(initial=1))), np.inf, dtype=np.float32)
    for row, (start, size) in enumerate(zip(first, count, strict=True)):
        whole[row, :size] = edge[start : start + size]
    return whole


def bins(numbers: Tensor, edge: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
    """Numbers (C, n), knots (C, M), last bins (C, 1) → (C, n) the bin of each, and how far on it lies, 0 to 1."""
    bin_of = torch.searchsorted(edge, numbers, right=True) - 1
    bin_of = torch.minimum(bin_of.clamp(min=0), last)
    low, high = torch.gather(edge, 1, bin_of), torch.gather(edge, 1, bin_of + 1)
    return bin_of, ((numbers - low) / (high - low)).clamp(0.0, 1.0)
