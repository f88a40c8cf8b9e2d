"""Gradient-boosted trees as a teacher: they cut tables better than a network learns to by itself; training only.

Where LightGBM is not installed a model trains alone, and its manifest says so.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.errors import RefusedModel
from models.igan.config import IganConfig
from models.igan.forward import Forward
from models.igan.network import IganNetwork
from models.igan.views import z_and_margin
from models.rows import Doubles, Floats, Ints, Mask
from models.training.fit import TeacherOf
from models.training.measures.binary import auroc, recall_at

TREES, LEAVES, RATE = 300, 31, 0.1
MAX_ROWS, HELD_OUT_EVERY, FEW = 40_000, 5, 50  # of the rows that decide whether there is a teacher
WORTH_AUROC, WORTH_RECALL, RATE_JUDGED = 0.0005, 0.01, 0.01  # trees are ahead by more than luck of the draw
MOST_ODDS = 15.0  # a teacher's log-odds beyond it are noise of its last leaves

FitNetwork = Callable[[Floats, Ints, IganConfig], IganNetwork]
"""Rows (n, F), numbers of their names (n,) without gaps, 0 normal → a network of them."""


def is_installed() -> bool:
    """Whether LightGBM is there."""
    return importlib.util.find_spec("lightgbm") is not None


class TreeTeacher:
    """LightGBM fitted to the rows that the network learns from; it labels made-up neighbours of theirs."""

    def __init__(self, z: Tensor, attack: Tensor, config: IganConfig, group: Ints | None = None) -> None:
        """From rows (n, F) and which are attacks (n,); `group` (F,) numbers the columns that change together."""
        groups = np.arange(z.shape[1]) if group is None else group
        self._group = torch.from_numpy(groups).to(z.device)
        self._groups = int(groups.max()) + 1
        self._swap = config.teacher_swap
        self._margin = BoostedTrees(z.cpu().numpy(), attack.cpu().numpy(), config)

    def perturbed(self, z: Tensor, rows: int, random: torch.Generator) -> Tensor:
        """(rows, F): a row each with a share, uniform up to `teacher_swap`, of its columns from another row."""
        first = z[torch.randint(len(z), (rows,), generator=random)]
        second = z[torch.randint(len(z), (rows,), generator=random)]
        share = self._swap * torch.rand((rows, 1), generator=random)
        from_second = torch.rand((rows, self._groups), generator=random) < share
        return torch.where(from_second[:, self._group], second, first)

    def margin(self, z: Tensor) -> Tensor:
        """(n, F) → (n,) log-odds of an attack."""
        odds = self._margin(z.cpu().numpy())
        return torch.from_numpy(np.clip(odds, -MOST_ODDS, MOST_ODDS).astype(np.float32)).to(z.device)


class BoostedTrees:
    """LightGBM's log-odds of an attack, fitted to rows (n, F) and which are attacks (n,)."""

    def __init__(self, z: Floats, attack: Mask, config: IganConfig) -> None:
        import lightgbm

        settings = {
            "objective": "binary",
            "num_leaves": LEAVES,
            "learning_rate": RATE,
            "num_threads": config.threads,
            "seed": config.seed % 2**31,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }
        table = lightgbm.Dataset(z.astype(np.float64), label=attack.astype(np.int32))
        self._trees = lightgbm.train(settings, table, num_boost_round=TREES)

    def __call__(self, z: Floats) -> Doubles:
        """(n, F) → (n,)."""
        result: Doubles = np.asarray(self._trees.predict(z, raw_score=True, num_threads=1), dtype=np.float64)
        return result


def teacher_of(config: IganConfig, group: Ints | None = None) -> TeacherOf | None:
    """What fits the configured teacher, None where there is none; RefusedModel where its library is not installed.

    `group` (F,) numbers the columns that change together.
    """
    if config.teacher == "none":
        return None
    if not is_installed():
        raise RefusedModel("teacher lightgbm: LightGBM is not installed; install it, or train without a teacher")
    return lambda z, attack: TreeTeacher(z, attack, config, group)


@dataclass(frozen=True, slots=True)
class Lesson:
    """Whether trees rank held-out training rows so much better that the network should learn from them."""

    worth: bool
    auroc: tuple[float, float] | None = None  # of the network and of the trees
    recall: tuple[float, float] | None = None

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"worth": self.worth, "auroc": self.auroc, "recall": self.recall}


def is_worth_teaching(matrix: Floats, name: Ints, fit: FitNetwork, config: IganConfig) -> Lesson:
    """Whether LightGBM beats the network on held-out training rows (n, F), names (n,), 0 normal.

    Where both rank alike there is nothing to learn, and training with a teacher takes three times as long.
    """
    if not is_installed():
        return Lesson(False)
    random = np.random.default_rng(config.seed)
    order = random.permutation(len(name))[:MAX_ROWS]
    judged, fitted = order[: len(order) // HELD_OUT_EVERY], order[len(order) // HELD_OUT_EVERY :]
    attack = name[judged] > 0
    _, dense = np.unique(name[fitted], return_inverse=True)
    if min(attack.sum(), (~attack).sum()) < FEW or dense.max() < 1 or not (name[fitted] == 0).any():
        return Lesson(False)
    network = fit(matrix[fitted], dense.astype(np.int64), replace(config, teacher="none"))
    own = z_and_margin(Forward(network.arrays()), matrix[judged], 1)[1]
    trees = BoostedTrees(matrix[fitted], name[fitted] > 0, config)(matrix[judged])
    areas = float(auroc(own, attack)), float(auroc(trees, attack))
    recalls = float(recall_at(own, attack, ~attack, RATE_JUDGED)), float(recall_at(trees, attack, ~attack, RATE_JUDGED))
    worth = areas[1] > areas[0] + WORTH_AUROC or recalls[1] > recalls[0] + WORTH_RECALL
    return Lesson(worth, areas, recalls)
