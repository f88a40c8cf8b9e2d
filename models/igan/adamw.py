"""AdamW in its plain form. torch's own imports its compiler first, seconds that every command and test would pay."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor


class AdamW:
    """Adam with decoupled weight decay.

    Source: Loshchilov & Hutter 2019, "Decoupled weight decay regularization", algorithm 2.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        rate: float,
        decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
    ) -> None:
        # One without entries, as of a look-up layer without numbers, takes no part in the loss.
        self.parameters = [parameter for parameter in parameters if parameter.numel()]
        self.rate, self.decay, self.betas, self.epsilon = rate, decay, betas, epsilon
        self._mean = [torch.zeros_like(parameter) for parameter in self.parameters]
        self._square = [torch.zeros_like(parameter) for parameter in self.parameters]
        self._steps = 0

    def descend(self, loss: Tensor, share_of_rate: float = 1.0) -> None:
        """One step down the gradient of a loss; `share_of_rate` is where a schedule stands, 0 to 1."""
        gradients = torch.autograd.grad(loss, self.parameters)
        self._steps += 1
        rate = self.rate * share_of_rate
        first, second = self.betas
        unbias = rate / (1 - first**self._steps)
        scale = math.sqrt(1 - second**self._steps)
        with torch.no_grad():
            for parameter, gradient, mean, square in zip(
                self.parameters, gradients, self._mean, self._square, strict=True
            ):
                mean.lerp_(gradient, 1 - first)
                square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
                parameter.mul_(1 - rate * self.decay)
                parameter.addcdiv_(mean, square.sqrt().div_(scale).add_(self.epsilon), value=-unbias)


def warm_then_cosine(done: float, warm_up: float = 0.3) -> float:
    """Share of the rate after `done` (0 to 1) of the steps: up in the first `warm_up` of them, then down a cosine."""
    if done < warm_up:
        return 0.04 + 0.96 * done / warm_up
    return 0.5 * (1 + math.cos(math.pi * (done - warm_up) / (1 - warm_up)))
