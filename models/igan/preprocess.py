"""From raw features to what the network sees: log1p where heavy-tailed, z-score, clip."""

import numpy as np
import torch
from torch import Tensor, nn

from models.rows import Doubles, Floats

LEAST_DEVIATION = 0.05  # a feature that never moved in training must not turn rounding into six deviations


class Preprocess(nn.Module):
    """x (n, F) → clip((log(x) − mean) / deviation, ±clip), with constants from training rows only.

    A value that is not a number becomes 0, that is: the usual value.
    """

    log: Tensor
    mean: Tensor
    deviation: Tensor

    def __init__(self, features: int, clip: float) -> None:
        super().__init__()
        self.clip = clip
        self.register_buffer("log", torch.zeros(features))
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(features))

    @classmethod
    def fit(cls, matrix: Floats, log: tuple[bool, ...], clip: float) -> "Preprocess":
        """Constants from training rows (n, F); `log` says which columns are heavy-tailed."""
        self = cls(matrix.shape[1], clip)
        self.log = torch.tensor(log, dtype=torch.float32)
        scaled = np.where(log, signed_log1p(matrix.astype(np.float64)), matrix)
        self.mean = torch.tensor(scaled.mean(axis=0), dtype=torch.float32)
        self.deviation = torch.tensor(np.maximum(scaled.std(axis=0), LEAST_DEVIATION), dtype=torch.float32)
        return self

    def forward(self, x: Tensor) -> Tensor:
        """(n, F) raw features → (n, F) within ±clip."""
        compressed = torch.sign(x) * torch.log1p(torch.abs(x))
        scaled = torch.where(self.log > 0, compressed, x)
        z = (scaled - self.mean) / self.deviation
        return torch.nan_to_num(z, nan=0.0).clamp(-self.clip, self.clip)


def signed_log1p(values: Doubles) -> Doubles:
    """sign(x) · log(1 + |x|)."""
    result: Doubles = np.sign(values) * np.log1p(np.abs(values))
    return result
