"""Steps: every number once more as the training quantiles it exceeds, so that a network can cut like a tree."""

import numpy as np
import torch
from torch import Tensor, nn

from models.rows import Floats, Mask


class Steps(nn.Module):
    """z (n, F) → (n, F + steps): the numbers themselves, then 1 for every quantile a number lies above.

    Columns of two values (flags, one-hot) get none: they are steps already.
    Source: the piecewise embeddings of Gorishniy et al. 2022, "On embeddings for numerical features", with hard steps.
    """

    column: Tensor
    edge: Tensor

    def __init__(self, column: Tensor, edge: Tensor) -> None:
        super().__init__()
        self.register_buffer("column", column)
        self.register_buffer("edge", edge)

    @classmethod
    def fit(cls, z: Floats, bins: int) -> "Steps":
        """Edges at the quantiles of training rows (n, F) that cut a number into `bins`."""
        columns, edges = [], []
        inner = np.linspace(0, 1, bins + 1)[1:-1]
        for index in np.flatnonzero(numeric(z)):
            cuts = np.unique(np.quantile(z[:, index], inner))
            columns.append(np.full(len(cuts), index))
            edges.append(cuts)
        column = np.concatenate([np.empty(0), *columns]).astype(np.int64)
        edge = np.concatenate([np.empty(0), *edges]).astype(np.float32)
        return cls(torch.from_numpy(column), torch.from_numpy(edge))

    def forward(self, z: Tensor) -> Tensor:
        """(n, F) → (n, F + steps)."""
        return torch.cat([z, (z[:, self.column] > self.edge).to(z.dtype)], dim=1)


def numeric(z: Floats) -> Mask:
    """(F,) which columns take more than two values."""
    low, high = z.min(axis=0), z.max(axis=0)
    between = (z > low) & (z < high)
    result: Mask = between.any(axis=0)
    return result
