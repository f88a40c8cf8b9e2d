"""The same arrays by torch's operations: what scoring runs where there is a CUDA device. Nothing else imports this."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.igan.arrays import NetworkArrays
from models.igan.distances import Closeness, Distance
from models.igan.lookup import bins, side_by_side
from models.rows import Floats, Ints, Mask


class TorchForward:
    """Raw rows x (n, F) → z (n, F), logits (n, K), distance (n,), as tensors on a device.

    Its numbers agree with the kernel's within 1e-4, not bit by bit; with `half`, the three layers after the look-up in
    bfloat16, not even that (models/serving/parity.py).
    """

    def __init__(self, arrays: NetworkArrays, view: Distance | Closeness, device: str, half: bool = False) -> None:
        def on_device(values: Floats | Ints | Mask) -> Tensor:
            return torch.tensor(values, device=device)

        edge = side_by_side(arrays.edge, arrays.first, arrays.count)
        self._clip = arrays.clip
        self._heavy, self._mean = on_device(arrays.log > 0), on_device(arrays.mean)
        self._deviation = on_device(arrays.deviation)
        self._column, self._first = on_device(arrays.column), on_device(arrays.first[:, None])
        self._last, self._plain = on_device(arrays.count[:, None] - 2), on_device(arrays.plain)
        self._edge, self._row = on_device(edge), on_device(arrays.row)
        self._table = on_device(arrays.table * np.repeat(arrays.scale, arrays.count)[:, None])
        self._bias = on_device(arrays.bias)
        self._kind = torch.bfloat16 if half else torch.float32
        self._layers = [
            (on_device(weight).to(self._kind), on_device(bias).to(self._kind))
            for weight, bias in (
                (arrays.middle, arrays.middle_bias),
                (arrays.top, arrays.top_bias),
                (arrays.last, arrays.last_bias),
            )
        ]
        self._view = {name: on_device(value) for name, value in view.tensors().items()}

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(n, F) → (n, F), (n, K), (n,)."""
        z = self.prepared(x)
        return z, self.logits(self.wide(z)), self._distance(z)

    def prepared(self, x: Tensor) -> Tensor:
        """Raw rows (n, F) → z (n, F)."""
        compressed = torch.sign(x) * torch.log1p(torch.abs(x))
        z = (torch.where(self._heavy, compressed, x) - self._mean) / self._deviation
        return torch.nan_to_num(z, nan=0.0).clamp(-self._clip, self._clip)

    def wide(self, z: Tensor) -> Tensor:
        """Prepared rows (n, F) → (n, H), what the look-up layer makes of them."""
        wide = torch.addmm(self._bias, z[:, self._plain], self._row)
        if not len(self._column):
            return wide
        index, weight = self._looked_up(z)
        return wide + functional.embedding_bag(index, self._table, mode="sum", per_sample_weights=weight)

    def by_feature(self, z: Tensor) -> Tensor:
        """Prepared rows (n, F) → (n, F, H), what each feature adds to the look-up layer; with the bias its sum."""
        added = torch.zeros((*z.shape, len(self._bias)))
        added[:, self._plain] = z[:, self._plain, None] * self._row
        if len(self._column):
            index, weight = self._looked_up(z)
            low, high = (self._table[index] * weight[:, :, None]).chunk(2, dim=1)
            added[:, self._column] = low + high
        return added

    def logits(self, wide: Tensor) -> Tensor:
        """What the look-up layer made of rows (n, H) → (n, K)."""
        value = wide.to(self._kind)
        for weight, bias in self._layers:
            value = torch.addmm(bias, functional.relu(value), weight)
        return value.float()

    def _looked_up(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """(n, 2C) the knots below and above each number, and their weights."""
        bin_of, share = bins(z[:, self._column].T.contiguous(), self._edge, self._last)
        knot = self._first + bin_of
        return torch.cat([knot, knot + 1]).T, torch.cat([1 - share, share]).T

    def _distance(self, z: Tensor) -> Tensor:
        if "prototypes" in self._view:
            prototypes = self._view["prototypes"]
            squares = torch.addmm(prototypes.square().sum(dim=1), z, prototypes.T, alpha=-2.0)
            # Measured again: of two large squares' difference little is left where a row lies on a prototype.
            return (z - prototypes[squares.argmin(dim=1)]).square().sum(dim=1).sqrt()
        white = (z - self._view["centre"]) @ self._view["whitening"].T
        return torch.sqrt(white.square().mean(dim=1))
