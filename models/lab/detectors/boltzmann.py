"""Boltzmann machines: restricted, stacked as a deep belief network, and deep with both layers learnt together."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.igan.adamw import warm_then_cosine
from models.lab.detectors.descent import in_tiles, numbers, seeded
from models.lab.detectors.detector import Family, Fitted, Prediction, Size, TrainingSet
from models.lab.detectors.linear import Logistic
from models.lab.detectors.networks import FittedNetwork, learn_classes
from models.lab.detectors.predictions import of_several_classes
from models.rows import Floats

BATCH = 128
CHAINS = 128  # fantasy particles of the deep machine
MEAN_FIELD = 8  # updates of each hidden layer
GIBBS = 2  # steps of the chains a batch
EPOCHS = 5
DEEP_RATE = 0.05


class UnitScale(nn.Module):
    """(n, F) prepared records → between 0 and 1 by training's range: how likely a unit is on."""

    low: Tensor
    width: Tensor

    def __init__(self, matrix: Floats) -> None:
        super().__init__()
        low, high = matrix.min(axis=0), matrix.max(axis=0)
        self.register_buffer("low", torch.from_numpy(low))
        self.register_buffer("width", torch.from_numpy(np.where(high > low, high - low, 1).astype(np.float32)))

    def forward(self, x: Tensor) -> Tensor:
        """(n, F) → (n, F)."""
        return ((x - self.low) / self.width).clamp(0, 1)


class Hidden(nn.Module):
    """(n, in) → (n, out): chances that the hidden units are on."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight.clone()), nn.Parameter(bias.clone())

    def forward(self, visible: Tensor) -> Tensor:
        """(n, in) → (n, out)."""
        return torch.sigmoid(visible @ self.weight.T + self.bias)


def restricted(visible: Floats, units: int, seed: int, rate: float) -> Hidden:
    """A restricted machine of visible chances (n, in), by persistent contrastive divergence (scikit-learn)."""
    from sklearn.neural_network import BernoulliRBM

    passes = max(EPOCHS, -(-400 * BATCH // len(visible)))
    machine = BernoulliRBM(units, learning_rate=rate, batch_size=BATCH, n_iter=passes, random_state=seed).fit(visible)
    weight, bias = (torch.from_numpy(np.asarray(each, dtype=np.float32)) for each in _learnt(machine))
    return Hidden(weight, bias)


def _learnt(machine: Any) -> tuple[Any, Any]:
    return machine.components_, machine.intercept_hidden_


@dataclass(frozen=True, slots=True)
class FittedFeatures:
    """Chances of hidden units, and a logistic regression on them."""

    features: nn.Module
    head: Fitted

    def predict(self, matrix: Floats) -> Prediction:
        """As the regression says."""
        return self.head.predict(in_tiles(self.features, matrix).astype(np.float32))

    def size(self) -> Size:
        """Machine and regression."""
        learnt, head = numbers(self.features), self.head.size()
        return Size(learnt + (head.parameters or 0), 4 * learnt + head.stored_bytes)


def _with_head(features: nn.Module, training: TrainingSet, seed: int) -> FittedFeatures:
    features.requires_grad_(False)
    hidden = in_tiles(features, training.matrix).astype(np.float32)
    names = tuple(f"h{number}" for number in range(hidden.shape[1]))
    head = Logistic(100.0).fit(
        TrainingSet(hidden, training.y, training.classes, training.attack, training.family, names), seed
    )
    return FittedFeatures(features, head)


@dataclass(frozen=True, slots=True)
class RestrictedBoltzmann:
    """A restricted Boltzmann machine, its hidden units named by logistic regression."""

    units: int = 64
    rate: float = 0.05

    def fit(self, training: TrainingSet, seed: int) -> FittedFeatures:
        """Learn from prepared records (n, F)."""
        of_several_classes(training)
        scale = UnitScale(training.matrix)
        machine = restricted(in_tiles(scale, training.matrix).astype(np.float32), self.units, seed, self.rate)
        return _with_head(nn.Sequential(scale, machine), training, seed)


@dataclass(frozen=True, slots=True)
class DeepBelief:
    """Two restricted machines, one on the other, then the whole descends as a network with a softmax on top.

    Source: Hinton, Osindero & Teh 2006, "A fast learning algorithm for deep belief nets".
    """

    units: tuple[int, int] = (64, 32)
    rate: float = 0.05
    epochs: int = 5

    def fit(self, training: TrainingSet, seed: int) -> FittedNetwork:
        """Learn from prepared records (n, F)."""
        of_several_classes(training)
        scale = UnitScale(training.matrix)
        first, second = _stack(scale, training.matrix, self.units, seed, self.rate)
        with seeded(seed) as random:
            network = nn.Sequential(scale, first, second, nn.Linear(self.units[1], len(training.classes)))
            learn_classes(network, training, random, self.epochs, 3e-3, balanced=False)
        return FittedNetwork(network)


def _stack(scale: nn.Module, matrix: Floats, units: tuple[int, int], seed: int, rate: float) -> tuple[Hidden, Hidden]:
    visible = in_tiles(scale, matrix).astype(np.float32)
    first = restricted(visible, units[0], seed, rate)
    with torch.no_grad():
        hidden = first(torch.from_numpy(visible)).numpy()
    return first, restricted(hidden, units[1], seed + 1, rate)


class DeepBoltzmann(nn.Module):
    """Visible F – hidden H₁ – hidden H₂, undirected; both hidden layers are inferred together, by mean field.

    Source: Salakhutdinov & Hinton 2009, "Deep Boltzmann machines".
    """

    def __init__(self, first: Hidden, second: Hidden) -> None:
        super().__init__()
        self.low, self.high = nn.Parameter(first.weight.detach().clone()), nn.Parameter(second.weight.detach().clone())
        self.visible = nn.Parameter(torch.zeros(self.low.shape[1]))
        self.middle, self.top = nn.Parameter(first.bias.detach().clone()), nn.Parameter(second.bias.detach().clone())

    def infer(self, visible: Tensor) -> tuple[Tensor, Tensor]:
        """(n, F) → chances (n, H₁), (n, H₂) that agree with each other."""
        bottom_up = visible @ self.low.T + self.middle
        middle = torch.sigmoid(bottom_up)
        for _ in range(MEAN_FIELD):
            top = torch.sigmoid(middle @ self.high.T + self.top)
            middle = torch.sigmoid(bottom_up + top @ self.high)
        return middle, top

    def forward(self, visible: Tensor) -> Tensor:
        """(n, F) → (n, H₁ + H₂)."""
        return torch.cat(self.infer(visible), dim=1)

    def learn(self, visible: Tensor, epochs: int, random: torch.Generator) -> None:
        """Stochastic approximation: data by mean field, the model by chains that continue from batch to batch."""
        chance = visible.mean(dim=0).clamp(0.01, 0.99)
        self.visible.copy_(torch.log(chance / (1 - chance)))
        middle = torch.bernoulli(torch.full((CHAINS, len(self.middle)), 0.5), generator=random)
        each = max(1, len(visible) // BATCH)
        epochs = max(epochs, -(-400 // each))
        for epoch in range(epochs):
            order = torch.randperm(len(visible), generator=random)
            for step in range(each):
                data = visible[order[step * BATCH : (step + 1) * BATCH]]
                data_middle, data_top = self.infer(data)
                for _ in range(GIBBS):
                    top = self._on(middle @ self.high.T + self.top, random)
                    fantasy = self._on(middle @ self.low + self.visible, random)
                    middle = self._on(fantasy @ self.low.T + self.middle + top @ self.high, random)
                rate = DEEP_RATE * warm_then_cosine((epoch * each + step) / (epochs * each))
                n = len(data)
                self.low.add_(rate * (data_middle.T @ data / n - middle.T @ fantasy / CHAINS))
                self.high.add_(rate * (data_top.T @ data_middle / n - top.T @ middle / CHAINS))
                self.visible.add_(rate * (data.mean(dim=0) - fantasy.mean(dim=0)))
                self.middle.add_(rate * (data_middle.mean(dim=0) - middle.mean(dim=0)))
                self.top.add_(rate * (data_top.mean(dim=0) - top.mean(dim=0)))

    @staticmethod
    def _on(logit: Tensor, random: torch.Generator) -> Tensor:
        return torch.bernoulli(torch.sigmoid(logit), generator=random)


@dataclass(frozen=True, slots=True)
class DeepBoltzmannMachine:
    """Started from stacked restricted machines, then learnt as one; logistic regression on both hidden layers."""

    units: tuple[int, int] = (64, 32)
    rate: float = 0.05
    epochs: int = EPOCHS

    def fit(self, training: TrainingSet, seed: int) -> FittedFeatures:
        """Learn from prepared records (n, F)."""
        of_several_classes(training)
        scale = UnitScale(training.matrix)
        machine = DeepBoltzmann(*_stack(scale, training.matrix, self.units, seed, self.rate))
        with torch.no_grad():
            visible = scale(torch.from_numpy(training.matrix))
            machine.learn(visible, self.epochs, torch.Generator().manual_seed(seed))
        return _with_head(nn.Sequential(scale, machine), training, seed)


RBM = Family(
    "rbm", "RBM", (RestrictedBoltzmann(), RestrictedBoltzmann(128), RestrictedBoltzmann(64, 0.01)), runs=1, seeds=3
)
DBN = Family("dbn", "DBN", (DeepBelief(), DeepBelief((128, 64)), DeepBelief((64, 32), 0.01)), runs=1, seeds=3)
DBM = Family(
    "dbm",
    "DBM",
    (DeepBoltzmannMachine(), DeepBoltzmannMachine((128, 64)), DeepBoltzmannMachine((64, 32), 0.01)),
    runs=1,
    seeds=3,
)
