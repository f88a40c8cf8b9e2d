"""IGAN-IDS as the protocols meet it: fitted to a lesson, it says how unlike normal a record is and names its class."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from models.detectors.detector import Family, Lesson, Opinion, Size
from models.fit import deterministic, fit_network
from models.igan.calibrate import ConformalTable, fit_temperature
from models.igan.config import IganConfig
from models.igan.evidence import Evidence, Weights
from models.igan.network import IganNetwork
from models.igan.novelty import Mahalanobis
from models.igan.preprocess import Preprocess
from models.igan.prototypes import Prototypes
from models.igan.reading import Reading
from models.rows import Floats, Ints, Mask

HELD = 10  # one training record in so many stays untouched: temperature, ranks and p-values are theirs
TILE = 4096  # rows scored at a time
STRANGER = "stranger"

# Weights (attack, head, distance, closeness), adjustment and doubt were chosen on KDDTrain+ alone, attack families and
# names left out in turn; docs/experiments.md has what else was tried. Augmentation is off: it has not won.
CONFIG = IganConfig(
    classes=("normal", "attack"),
    benign=1,
    coarse=(),
    hidden=(128, 96),
    epochs=4,
    feature_masking=0.3,
    bins=16,
    strangers=0.5,
    augmentation="none",
    gan_steps=0,
    classifier_epochs=3,
    novelty_steps=400,
    filter_held_out=0.1,
)
WEIGHTS: Weights = (0.25, 0.0, 0.5, 1.0)
CERTAINTY = 0.25


@dataclass(frozen=True, slots=True)
class FittedIgan:
    """A network, its distances to normal traffic, and what calibrates them."""

    network: IganNetwork
    distance: Mahalanobis
    prototypes: Prototypes
    evidence: Evidence
    table: ConformalTable
    reading: Reading

    def opine(self, matrix: Floats) -> Opinion:
        """(n, F) prepared records → score (n,), probability (n, K)."""
        views, logits = look(self.network, self.distance, self.prototypes, matrix)
        score = self.evidence.score(views).astype(np.float32)
        return Opinion(score, self.reading.probability(logits, self.table.p_value(score)))

    def size(self) -> Size:
        """The network's weights; stored, also the distances' tensors and the calibration's numbers."""
        weights = sum(parameter.numel() for parameter in self.network.parameters())
        parts = (self.network, self.distance, self.prototypes)
        tensors = [tensor for part in parts for tensor in part.state_dict().values()]
        stored = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        return Size(weights, stored + self.evidence.normal.nbytes + 12 * len(self.table.score))


@dataclass(frozen=True, slots=True)
class Igan:
    """IGAN-IDS with a configuration; its classes are the names of the lesson's attacks.

    Attributes
    ----------
    weight, certainty : how much each view counts, see `Evidence`
    adjustment, doubt : see `Reading`
    prototypes : how many centres of normal traffic
    """

    config: IganConfig = CONFIG
    weight: Weights = WEIGHTS
    adjustment: float = 0.5
    doubt: float = 0.05
    certainty: float = CERTAINTY
    prototypes: int = 2048

    def fit(self, lesson: Lesson, seed: int) -> FittedIgan:
        """Learn from prepared records (n, F)."""
        name, task = attack_names(lesson)
        names = tuple(f"name {number}" for number in range(len(task)))
        strange = (STRANGER,) if self.config.strangers else ()
        config = replace(self.config, classes=(*names, *strange), benign=1, coarse=(), seed=seed)
        random = deterministic(config)
        held = held_out(name, random)
        matrix, y = np.ascontiguousarray(lesson.matrix[~held]), name[~held]
        identity = Preprocess(matrix.shape[1], config.clip)
        network = fit_network(matrix, y, (False,) * matrix.shape[1], config, random, preprocess=identity)
        with torch.no_grad():
            normal = torch.from_numpy(matrix[y == 0])
            distance = Mahalanobis.fit(normal, config.shrinkage)
            prototypes = Prototypes.fit(normal, self.prototypes, random)
        views, logits = look(network, distance, prototypes, np.ascontiguousarray(lesson.matrix[held]))
        untouched = name[held]
        log_prior = np.log(np.maximum(np.bincount(y, minlength=len(names)), 1) / len(y))
        temperature = 1.0
        if config.use_temperature:
            posterior = torch.from_numpy(logits[:, : len(names)].astype(np.float64) + log_prior)
            temperature = fit_temperature(posterior, torch.from_numpy(untouched))
        evidence = Evidence.fit(views[untouched == 0], self.weight, self.certainty)
        table = ConformalTable.fit(evidence.score(views[untouched == 0]).astype(np.float32))
        reading = Reading(len(lesson.classes), log_prior, task, temperature, self.adjustment, self.doubt)
        return FittedIgan(network, distance, prototypes, evidence, table, reading)


def look(network: IganNetwork, distance: Mahalanobis, prototypes: Prototypes, matrix: Floats) -> tuple[Floats, Floats]:
    """(n, F) prepared records → the four views (n, 4) in the order of `evidence.VIEWS`, logits (n, M)."""
    views, logits = [], []
    with torch.no_grad():
        for start in range(0, max(len(matrix), 1), TILE):
            z = torch.from_numpy(matrix[start : start + TILE])
            own, named = network.views(z, distance)
            views.append(torch.cat([own, prototypes(z)[:, None]], dim=1).numpy())
            logits.append(named.numpy())
    return np.concatenate(views), np.concatenate(logits)


def attack_names(lesson: Lesson) -> tuple[Ints, Ints]:
    """Every record's attack name, numbered without gaps, 0 normal, (n,); the task's class of every name, (M,).

    A lesson without normal records, or without attacks, is refused with ValueError: nothing can be told apart.
    """
    if not bool((lesson.y == 0).any()) or bool((lesson.y == 0).all()):
        raise ValueError("igan-ids: got a lesson of one side only, expected normal records and attacks")
    # A name that stands for several classes is as many names.
    pair = np.where(lesson.y > 0, lesson.attack * len(lesson.classes) + lesson.y, 0)
    found, name = np.unique(pair, return_inverse=True)
    return name.astype(np.int64), (found % len(lesson.classes)).astype(np.int64)


def held_out(name: Ints, random: torch.Generator) -> Mask:
    """(n,) one record in HELD of every name, none of a name with fewer, but of normal at least one."""
    held = np.zeros(len(name), dtype=np.bool_)
    order = torch.randperm(len(name), generator=random).numpy()
    for number in range(int(name.max()) + 1):
        own = order[name[order] == number]
        held[own[: max(len(own) // HELD, int(number == 0))]] = True
    return held


def _variant(name: str, title: str, weight: Weights = WEIGHTS, **changes: Any) -> Family:
    certainty = CERTAINTY if weight == WEIGHTS else 0.0
    igan = Igan(replace(CONFIG, **changes), weight, certainty=certainty)
    return Family(f"igan-{name}", f"IGAN-IDS, {title}", (igan,))


FAMILY = Family("igan-ids", "IGAN-IDS", (Igan(),))
GAN: dict[str, Any] = {"augmentation": "gan", "gan_steps": 1500}
ABLATIONS: tuple[Family, ...] = (
    _variant("no-augmentation", "no synthetic rows"),
    _variant("random-oversampling", "rare names repeated", augmentation="random"),
    _variant("smote", "SMOTE in the latent", augmentation="smote"),
    _variant("gan", "GAN without its sample filter", sample_filter=False, **GAN),
    _variant("gan-filter", "GAN with its sample filter", **GAN),
    _variant("gan-conv", "convolutional GAN with its sample filter", gan_kind="conv", **GAN),
    _variant("classifier-alone", "the attack view alone", (1.0, 0.0, 0.0, 0.0)),
    _variant("head-alone", "the novelty head alone", (0.0, 1.0, 0.0, 0.0)),
    _variant("mahalanobis-alone", "Mahalanobis alone", (0.0, 0.0, 1.0, 0.0)),
    _variant("closeness-alone", "closeness to prototypes alone", (0.0, 0.0, 0.0, 1.0)),
    _variant("all-views", "all four views alike", (1.0, 1.0, 1.0, 1.0)),
    _variant("no-contrast", "no supervised contrast", supervised_contrastive=0.0),
    _variant("no-masking", "no feature masking", feature_masking=0.0),
    _variant("no-strangers", "no strangers", strangers=0.0),
    _variant("no-steps", "no steps", bins=0, hidden=(256, 128)),
    _variant("no-temperature", "no temperature scaling", use_temperature=False),
)
