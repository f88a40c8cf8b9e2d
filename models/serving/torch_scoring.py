"""All of scoring by torch's operations, for one calibration: raw rows in, a table of results out."""

import numpy as np
import torch
from torch import Tensor

from models.igan.odds import CEILING, LEAST_P
from models.serving.model import Model
from models.serving.scored import Scored
from models.serving.torch_forward import TorchForward

COLUMNS = ("score", "class_index", "probability", "known", "novelty", "p_value", "suspect")  # of `Scored`, its order


class TorchScoring:
    """Raw rows x (n, F) → (n, 7) float32, the columns of `Scored`: one block of memory to copy back from a device.

    Odds are worked out in double precision, as on the CPU. Its numbers agree with the kernel's within a tolerance.
    Nothing here copies from the CPU's memory: it must go into a CUDA graph.

    Parameters
    ----------
    model, key : the model and which of its calibrations
    device : "cpu" or "cuda"
    half : the three layers after the look-up in bfloat16
    """

    def __init__(self, model: Model, key: str, device: str, half: bool = False) -> None:
        origin, known = model.origins[key], model.known

        def doubles(values: object) -> Tensor:
            return torch.tensor(np.asarray(values, np.float64), device=device)

        self._forward = TorchForward(model.arrays(), origin.view, device, half)
        self._benign, self._temperature = model.config.benign, float(model.document["temperature"])
        self._odds, self._table = origin.odds, origin.table
        self._value, self._position = doubles(origin.odds.value), doubles(origin.odds.position)
        self._table_score = torch.tensor(origin.table.score, device=device)
        flows = 1 + np.concatenate([[origin.table.n], origin.table.above])
        self._p_value = torch.tensor((flows / (origin.table.n + 1)).astype(np.float32), device=device)
        self._alert_level = float(np.float32(origin.alert_level))
        self._centre = torch.tensor(known.centre, device=device)
        owner = np.repeat(np.arange(len(known.radius)), np.diff(known.first))
        self._owner = torch.tensor(owner, device=device)
        self._square = torch.tensor(np.square(known.radius), device=device)
        self._least = torch.tensor(known.probability, device=device)

    def __call__(self, x: Tensor) -> Tensor:
        """(n, F) → (n, 7)."""
        z, logits, distance = self._forward(x)
        benign, attack = logits[:, : self._benign], logits[:, self._benign :]
        margin = (torch.logsumexp(attack, dim=1) - torch.logsumexp(benign, dim=1)).double()
        p = self._p_unknown(self._unusual(distance.double(), margin))
        known_odds = margin - self._odds.shift
        surprise = torch.logaddexp(known_odds, np.log(self._odds.constants.pi) - torch.log(p))
        surprise = torch.logaddexp(torch.zeros_like(surprise), surprise)
        score = (surprise / (1 + surprise)).float()
        p_value = self._p_value[torch.searchsorted(self._table_score, score)]
        likeliest = logits.argmax(dim=1, keepdim=True)
        probability = torch.softmax(logits / self._temperature, dim=1).gather(1, likeliest)[:, 0]
        class_index = likeliest.masked_fill(likeliest < self._benign, 0)[:, 0]
        known = self._known(z, class_index, probability)
        suspect = p_value <= self._alert_level
        novelty = -torch.log10(p)
        columns = (score, class_index, probability, known, novelty, p_value, suspect)
        return torch.stack([column.float() for column in columns], dim=1)

    def _unusual(self, distance: Tensor, margin: Tensor) -> Tensor:
        odds = self._odds
        near, high = (
            ((view - centre) / scale).clamp(0.0, CEILING)
            for view, (centre, scale) in ((distance, odds.distance_unit), (margin, odds.margin_unit))
        )
        return near + odds.constants.margin_weight * high

    def _p_unknown(self, unusual: Tensor) -> Tensor:
        """As `Odds.p_unknown`."""
        n = self._odds.n
        first, last = float(self._odds.value[0]), float(self._odds.value[-1])
        position = self._interpolated(unusual).masked_fill(unusual > last, n - 1)
        spread = max(last - first, 1e-12)
        above, below = (unusual - last).clamp(min=0) / spread, (first - unusual).clamp(min=0) / spread
        rank = (position + above / (1 + above) - below / (1 + below) + 1) / (n + 1)
        return (1.0 - rank).clamp(min=LEAST_P)

    def _interpolated(self, unusual: Tensor) -> Tensor:
        """Positions between those of the retained values."""
        if len(self._value) == 1:
            return self._position.expand(len(unusual))
        inside = unusual.clamp(float(self._odds.value[0]), float(self._odds.value[-1]))
        right = torch.searchsorted(self._value, inside, right=True).clamp(1, len(self._value) - 1)
        low, high = self._value[right - 1], self._value[right]
        start = self._position[right - 1]
        return start + (inside - low) * ((self._position[right] - start) / (high - low))

    def _known(self, z: Tensor, class_index: Tensor, probability: Tensor) -> Tensor:
        """(n,) whether a row's class is an attack or fault that is known there."""
        sure = (class_index > 0) & (probability >= self._least[class_index])
        if not len(self._centre):
            return sure & False
        squares = torch.addmm(self._centre.square().sum(dim=1), z, self._centre.T, alpha=-2.0)
        other = self._owner[None, :] != class_index[:, None]
        nearest = squares.masked_fill(other, torch.inf).argmin(dim=1)
        # Measured again: of two large squares' difference little is left where a row lies on a prototype.
        square = (z - self._centre[nearest]).square().sum(dim=1)
        return sure & (self._owner[nearest] == class_index) & (square <= self._square[class_index])


def scored(table: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> Scored:
    """A table (n, 7) as `Scored`: its columns are copies."""
    column = {name: table[:, number].copy() for number, name in enumerate(COLUMNS)}
    return Scored(
        score=column["score"],
        class_index=column["class_index"].astype(np.int64),
        probability=column["probability"],
        known=column["known"] > 0,
        novelty=column["novelty"],
        p_value=column["p_value"],
        suspect=column["suspect"] > 0,
    )
