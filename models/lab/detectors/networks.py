"""Networks that name classes: dense, convolutional, LSTM, GRU; cross-entropy on prepared records."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.lab.detectors.descent import descend, in_tiles, numbers, seeded
from models.lab.detectors.detector import Family, Prediction, Size, TrainingSet
from models.lab.detectors.predictions import from_logits, of_several_classes
from models.rows import Floats

STEPS = 8  # a record goes into a recurrent network in so many pieces

Kind = Literal["dnn", "cnn", "lstm", "gru"]


class Convolutional(nn.Module):
    """(n, F) → (n, K): two convolutions along the columns, then a dense layer."""

    def __init__(self, features: int, classes: int, width: int) -> None:
        super().__init__()
        length = (((features - 1) // 2 + 1) - 1) // 4 + 1  # what two strides leave
        self.layers = nn.Sequential(
            nn.Conv1d(1, width // 4, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv1d(width // 4, width // 2, 5, stride=4, padding=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(width // 2 * length, width),
            nn.ReLU(),
            nn.Linear(width, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(n, F) → (n, K) logits."""
        logits: Tensor = self.layers(x[:, None, :])
        return logits


class Recurrent(nn.Module):
    """(n, F) → (n, K): the columns in eight pieces, one after the other, through one recurrent layer."""

    def __init__(self, features: int, classes: int, width: int, kind: Literal["lstm", "gru"]) -> None:
        super().__init__()
        self.piece = -(-features // STEPS)
        self.recurrent = (nn.LSTM if kind == "lstm" else nn.GRU)(self.piece, width, batch_first=True)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(n, F) → (n, K) logits, from the state after the last piece."""
        padded = functional.pad(x, (0, self.piece * STEPS - x.shape[1]))
        states, _ = self.recurrent(padded.reshape(len(x), STEPS, self.piece))
        logits: Tensor = self.head(states[:, -1])
        return logits


def dense(features: int, classes: int, width: int, dropout: float) -> nn.Sequential:
    """(n, F) → (n, K): two hidden layers, the second half as wide."""
    return nn.Sequential(
        nn.Linear(features, width),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(width, width // 2),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(width // 2, classes),
    )


@dataclass(frozen=True, slots=True)
class FittedNetwork:
    """A trained network."""

    network: nn.Module

    def predict(self, matrix: Floats) -> Prediction:
        """Softmax; the score is the log-odds of any attack."""
        return from_logits(in_tiles(self.network, matrix))

    def size(self) -> Size:
        """Its weights, in 32 bits."""
        return Size(numbers(self.network), 4 * numbers(self.network))


@dataclass(frozen=True, slots=True)
class Network:
    """A network and its training; `balanced` weighs classes the same."""

    kind: Kind
    width: int = 128
    epochs: int = 10
    rate: float = 1e-3
    dropout: float = 0.1
    balanced: bool = False

    def fit(self, training: TrainingSet, seed: int) -> FittedNetwork:
        """Learn from prepared records (n, F)."""
        of_several_classes(training)
        with seeded(seed) as random:
            network = self._network(training.matrix.shape[1], len(training.classes))
            learn_classes(network, training, random, self.epochs, self.rate, self.balanced)
        return FittedNetwork(network)

    def _network(self, features: int, classes: int) -> nn.Module:
        if self.kind == "dnn":
            return dense(features, classes, self.width, self.dropout)
        if self.kind == "cnn":
            return Convolutional(features, classes, self.width)
        return Recurrent(features, classes, self.width // 2, self.kind)


def learn_classes(
    network: nn.Module, training: TrainingSet, random: torch.Generator, epochs: int, rate: float, balanced: bool
) -> None:
    """Cross-entropy descent; balanced weights are damped (square root), or rare classes are all it sees."""
    x, y = torch.from_numpy(training.matrix), torch.from_numpy(training.y)
    counts = torch.bincount(y, minlength=len(training.classes)).clamp(min=1).float()
    weight = (counts.max() / counts).sqrt() if balanced else None
    network.train()
    descend(
        network.parameters(),
        lambda rows: functional.cross_entropy(network(x[rows]), y[rows], weight),
        len(y),
        random,
        epochs=epochs,
        rate=rate,
    )
    network.eval()
    for parameter in network.parameters():
        parameter.requires_grad_(False)


DNN = Family(
    "dnn", "DNN", (Network("dnn"), Network("dnn", width=256, dropout=0.3), Network("dnn", balanced=True)), runs=1
)
CNN = Family(
    "cnn",
    "CNN",
    (Network("cnn", epochs=5), Network("cnn", epochs=5, rate=3e-3), Network("cnn", epochs=5, balanced=True)),
    runs=1,
    seeds=3,
)


def _recurrent(kind: Literal["lstm", "gru"]) -> Family:
    """LSTM or GRU, with the same settings tried for both."""
    usual = Network(kind, epochs=5, rate=2e-3)
    candidates = (usual, replace(usual, rate=5e-3), replace(usual, balanced=True))
    return Family(kind, kind.upper(), candidates, runs=1, seeds=3)


LSTM = _recurrent("lstm")
GRU = _recurrent("gru")
