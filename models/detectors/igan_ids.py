"""IGAN-IDS as the protocols meet it: fitted to a lesson, it says how unlike normal a record is and names its class."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from models.detectors.detector import Family, Lesson, Opinion, Size
from models.fit import deterministic, fit_network
from models.igan.calibrate import fit_temperature
from models.igan.config import IganConfig
from models.igan.network import Fusion, IganNetwork, fuse
from models.igan.novelty import Mahalanobis
from models.igan.origin import units
from models.rows import Floats

HELD = 10  # one training record in so many is kept from the network: for temperature and units
TILE = 4096  # rows scored at a time


@dataclass(frozen=True, slots=True)
class FittedIgan:
    """A network with its distance and the units of its views."""

    network: IganNetwork
    distance: Mahalanobis
    fusion: Fusion
    temperature: float

    def opine(self, matrix: Floats) -> Opinion:
        """(n, F) prepared records → score (n,), probability (n, K)."""
        scores, probabilities = [], []
        with torch.no_grad():
            for start in range(0, max(len(matrix), 1), TILE):
                views, logits = self.network.views(torch.from_numpy(matrix[start : start + TILE]), self.distance)
                scores.append(fuse(views, self.fusion)[0].numpy())
                probabilities.append(torch.softmax(logits / self.temperature, dim=1).numpy())
        return Opinion(np.concatenate(scores), np.concatenate(probabilities))

    def size(self) -> Size:
        """The network's weights, and the distance's tensors beside them."""
        weights = sum(parameter.numel() for parameter in self.network.parameters())
        tensors = [*self.network.state_dict().values(), *self.distance.state_dict().values()]
        return Size(weights, sum(tensor.numel() * tensor.element_size() for tensor in tensors))


@dataclass(frozen=True, slots=True)
class Igan:
    """IGAN-IDS with a configuration; its classes are the lesson's."""

    config: IganConfig

    def fit(self, lesson: Lesson, seed: int) -> FittedIgan:
        """Learn from prepared records (n, F)."""
        config = replace(self.config, classes=lesson.classes, benign=1, coarse=(), seed=seed)
        random = deterministic(config)
        held = torch.randperm(len(lesson.y), generator=random).numpy() % HELD == 0
        matrix, y = lesson.matrix[~held], lesson.y[~held]
        network = fit_network(matrix, y, (False,) * matrix.shape[1], config, random)
        with torch.no_grad():
            normal = network.preprocess(torch.from_numpy(matrix[y == 0]))
            distance = Mahalanobis.fit(normal, config.shrinkage)
            views, logits = network.views(torch.from_numpy(lesson.matrix[held]), distance)
            truth = torch.from_numpy(lesson.y[held])
            temperature = fit_temperature(logits, truth)
            fusion = units(views[truth == 0], (1.0, 0.5, 1.0))
        return FittedIgan(network, distance, fusion, temperature)


CONFIG = IganConfig(classes=("normal", "attack"), benign=1, coarse=(), augmentation="none")
FAMILY = Family("igan-ids", "IGAN-IDS", (Igan(CONFIG),))
ABLATIONS: tuple[Family, ...] = ()
