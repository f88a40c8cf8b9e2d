"""The network while it learns: preprocessing, look-up layer and three plain layers; a logit a class.

    x (n, F) → z → look-up (n, H) → relu, middle (n, L): the latent → relu, top (n, T) → relu, last (n, K): the logits

The encoder is the look-up layer and `middle`, the classifier what follows. What scores is `NetworkArrays`, made of
this network's tensors.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.igan.arrays import Int8s, NetworkArrays
from models.igan.config import IganConfig
from models.igan.knots import Knots
from models.igan.lookup import LookUp
from models.igan.preprocess import Preprocess
from models.igan.quantise import quantised
from models.rows import Floats


class IganNetwork(nn.Module):
    """x (n, F) → logits (n, K); the first `benign` classes are benign."""

    def __init__(self, preprocess: Preprocess, knots: Knots, config: IganConfig) -> None:
        super().__init__()
        self.benign = config.benign
        self.clip = config.clip
        self.eight_bits = config.table == "int8"
        self.preprocess = preprocess
        self.lookup = LookUp(knots, config.width)
        self.middle = nn.Linear(config.width, config.latent)
        self.top = nn.Linear(config.latent, config.top)
        self.last = nn.Linear(config.top, len(config.classes))
        self.dropout = nn.Dropout(config.dropout)

    def encode(self, z: Tensor) -> Tensor:
        """Preprocessed (n, F) → latent (n, L)."""
        latent: Tensor = self.middle(self.dropout(functional.relu(self.lookup(z))))
        return latent

    def classify(self, latent: Tensor) -> Tensor:
        """(n, L) → logits (n, K)."""
        narrow = self.top(self.dropout(functional.relu(latent)))
        logits: Tensor = self.last(self.dropout(functional.relu(narrow)))
        return logits

    def forward(self, x: Tensor) -> Tensor:
        """(n, F) raw features → logits (n, K)."""
        return self.classify(self.encode(self.preprocess(x)))

    def freeze(self) -> None:
        """Evaluation mode, and no gradients."""
        self.eval()
        for parameter in self.parameters():
            parameter.requires_grad_(False)

    def tensors(self) -> dict[str, Floats | Int8s]:
        """All that scoring needs, by the names of `NetworkArrays.from_tensors`; the table int8 if configured."""
        knots = self.lookup.knots
        layers = {"middle": self.middle, "top": self.top, "last": self.last}
        tensors = {
            "preprocess.log": self.preprocess.log,
            "preprocess.mean": self.preprocess.mean,
            "preprocess.deviation": self.preprocess.deviation,
            "lookup.table": self.lookup.table(),
            "lookup.row": self.lookup.row,
            "lookup.bias": self.lookup.bias,
            **{f"{name}.weight": layer.weight for name, layer in layers.items()},
            **{f"{name}.bias": layer.bias for name, layer in layers.items()},
        }
        arrays = {name: tensor.detach().cpu().numpy().copy() for name, tensor in tensors.items()}
        for name in ("column", "count", "edge", "plain"):
            arrays[f"knots.{name}"] = getattr(knots, name).astype(np.float32)
        return quantised(arrays) if self.eight_bits else {**arrays}

    def arrays(self) -> NetworkArrays:
        """The network as scoring reads it."""
        return NetworkArrays.from_tensors(self.tensors(), self.benign, self.clip)


def margin_of(logits: Tensor, benign: int) -> Tensor:
    """(n, K) → (n,) log-odds of any attack against all that is benign."""
    return torch.logsumexp(logits[:, benign:], dim=1) - torch.logsumexp(logits[:, :benign], dim=1)
