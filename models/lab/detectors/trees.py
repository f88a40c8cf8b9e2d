"""Decision tree, random forest, LightGBM and XGBoost: libraries' own, one thread."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch  # noqa: F401  brings libgomp.so.1, which LightGBM needs, where the system has none

from models.lab.detectors.detector import Family, Prediction, Size, TrainingSet
from models.lab.detectors.predictions import (
    balanced_weight,
    from_logits,
    from_margin,
    from_probability,
    of_several_classes,
)
from models.rows import Floats, Ints

ROUNDS = 300  # of boosting, two classes
ROUNDS_EACH = 150  # of boosting, several classes: so many trees for each
MAX_TREES = 1500  # of boosting, with very many classes


def rounds(classes: int, binary: int = ROUNDS) -> int:
    """Rounds of boosting; each grows a tree a class."""
    return binary if classes == 2 else max(20, min(ROUNDS_EACH, MAX_TREES // classes))


@dataclass(frozen=True, slots=True)
class FittedTrees:
    """A tree or a forest of scikit-learn."""

    model: Any
    seen: Ints
    classes: int

    def predict(self, matrix: Floats) -> Prediction:
        """Shares of the leaves' training records; the score is the chance of any attack."""
        return from_probability(self.model.predict_proba(matrix), self.seen, self.classes)

    def size(self) -> Size:
        """A node is a feature, a threshold and two children, or the classes' shares."""
        trees = [each.tree_ for each in getattr(self.model, "estimators_", [self.model])]
        states = [tree.__getstate__() for tree in trees]
        stored = sum(state["nodes"].nbytes + state["values"].nbytes for state in states)
        return Size(sum(tree.node_count for tree in trees), stored)


@dataclass(frozen=True, slots=True)
class Trees:
    """One tree, or a random forest.

    Classes weigh the same in the several-class task, as in the boosters: without that, eleven records of a class are
    not seen at all.
    """

    kind: Literal["tree", "forest"]
    trees: int = 100
    least_leaf: int = 1
    features: float | Literal["sqrt"] | None = None

    def fit(self, training: TrainingSet, seed: int) -> FittedTrees:
        """Learn from prepared records (n, F)."""
        from sklearn.ensemble import RandomForestClassifier
        from sklearn.tree import DecisionTreeClassifier

        seen, classes = of_several_classes(training), len(training.classes)
        shared = {
            "min_samples_leaf": self.least_leaf,
            "max_features": self.features,
            "class_weight": "balanced" if classes > 2 else None,
            "random_state": seed,
        }
        model = (
            DecisionTreeClassifier(**shared)
            if self.kind == "tree"
            else RandomForestClassifier(self.trees, n_jobs=1, **shared)
        )
        return FittedTrees(model.fit(training.matrix, training.y), seen, classes)


@dataclass(frozen=True, slots=True)
class FittedBooster:
    """LightGBM's or XGBoost's booster."""

    booster: Any
    classes: int

    def predict(self, matrix: Floats) -> Prediction:
        """From the sums of the leaves, before any squashing."""
        if hasattr(self.booster, "save_raw"):
            raw = self.booster.inplace_predict(matrix, predict_type="margin")
        else:
            raw = self.booster.predict(matrix, raw_score=True, num_threads=1)
        raw = np.asarray(raw, dtype=np.float64)
        return from_margin(raw.reshape(-1)) if self.classes == 2 else from_logits(raw.reshape(len(matrix), -1))

    def size(self) -> Size:
        """Thresholds and leaves; bytes of the library's own file."""
        if hasattr(self.booster, "save_raw"):
            nodes = sum(tree.count("\n") for tree in self.booster.get_dump())
            return Size(nodes, len(self.booster.save_raw("ubj")))
        text: str = self.booster.model_to_string()
        leaves = sum(int(line.partition("=")[2]) for line in text.splitlines() if line.startswith("num_leaves="))
        return Size(2 * leaves - self.booster.num_trees(), len(text.encode()))


@dataclass(frozen=True, slots=True)
class LightGbm:
    """Gradient boosting of leaf-wise trees; balanced weights where there are several classes.

    Unweighted, it diverges on a class of eleven records.
    """

    leaves: int = 31
    rate: float = 0.1
    least_leaf: int = 20
    least_hessian: float = 1e-3
    rounds: int = ROUNDS  # with two classes
    balanced: bool = True

    def fit(self, training: TrainingSet, seed: int) -> FittedBooster:
        """Learn from prepared records (n, F)."""
        import lightgbm

        of_several_classes(training)
        classes = len(training.classes)
        settings = {
            "objective": "binary" if classes == 2 else "multiclass",
            "num_class": 1 if classes == 2 else classes,
            "num_leaves": self.leaves,
            "learning_rate": self.rate,
            "min_data_in_leaf": self.least_leaf,
            "seed": seed,
            # Columns are drawn anew for each tree, so that a seed makes a difference at all. Not rows: where few of a
            # class are drawn, their heavy weights make the next trees diverge.
            "feature_fraction": 0.9,
            "min_sum_hessian_in_leaf": self.least_hessian,
            "deterministic": True,
            "force_col_wise": True,
            "num_threads": 1,
            "verbosity": -1,
        }
        weight = balanced_weight(training.y) if self.balanced and classes > 2 else None
        data = lightgbm.Dataset(
            training.matrix, training.y, weight=weight, params={"verbosity": -1}, free_raw_data=True
        )
        return FittedBooster(lightgbm.train(settings, data, rounds(classes, self.rounds)), classes)


@dataclass(frozen=True, slots=True)
class XgBoost:
    """Gradient boosting of depth-wise trees on histograms; unweighted, it does not diverge."""

    depth: int = 6
    rate: float = 0.1
    least_weight: float = 1.0

    def fit(self, training: TrainingSet, seed: int) -> FittedBooster:
        """Learn from prepared records (n, F)."""
        import xgboost

        of_several_classes(training)
        classes = len(training.classes)
        settings: dict[str, Any] = {
            "objective": "binary:logistic" if classes == 2 else "multi:softprob",
            "tree_method": "hist",
            "max_depth": self.depth,
            "learning_rate": self.rate,
            "min_child_weight": self.least_weight,
            "subsample": 0.9,
            "colsample_bytree": 0.9,
            "seed": seed,
            "nthread": 1,
            "verbosity": 0,
        }
        if classes > 2:
            settings["num_class"] = classes
        data = xgboost.QuantileDMatrix(training.matrix, training.y, nthread=1)
        return FittedBooster(xgboost.train(settings, data, rounds(classes)), classes)


DECISION_TREE = Family(
    "decision-tree", "Decision tree", (Trees("tree"), Trees("tree", least_leaf=5), Trees("tree", least_leaf=20))
)
RANDOM_FOREST = Family(
    "random-forest",
    "Random forest",
    (Trees("forest", features="sqrt"), Trees("forest", features=0.3), Trees("forest", features="sqrt", least_leaf=3)),
)
LIGHTGBM = Family("lightgbm", "LightGBM", (LightGbm(), LightGbm(leaves=63, rate=0.05), LightGbm(least_hessian=1.0)))
XGBOOST = Family("xgboost", "XGBoost", (XgBoost(), XgBoost(depth=4), XgBoost(depth=8, rate=0.05)))
