"""The temperature of the classifier: its confidence made true on rows it was not fitted to."""

import numpy as np
from torch import Tensor
from torch.nn import functional


def fit_temperature(logits: Tensor, y: Tensor) -> float:
    """The temperature that makes the classifier's confidence true on untouched rows (n, K), (n,).

    Golden section on its logarithm: the same steps on every machine.
    Source: Guo et al. 2017, "On calibration of modern neural networks", section 4.2.
    """

    def loss(log_temperature: float) -> float:
        return float(functional.cross_entropy(logits.double() / float(np.exp(log_temperature)), y))

    low, high, golden = -2.0, 2.5, (5**0.5 - 1) / 2
    for _ in range(40):
        left, right = high - golden * (high - low), low + golden * (high - low)
        if loss(left) < loss(right):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))
