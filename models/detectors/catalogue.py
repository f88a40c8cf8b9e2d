"""Every detector of the evaluation by name, in the order of the tables; libraries are imported when one is fitted."""

from models.detectors import controls, igan_ids, linear, neighbours, trees
from models.detectors.detector import Family


def _by_name(*families: Family) -> dict[str, Family]:
    return {family.name: family for family in families}


FAMILIES: dict[str, Family] = _by_name(
    igan_ids.FAMILY,
    linear.SVM_RBF,
    linear.SVM_LINEAR,
    trees.DECISION_TREE,
    trees.RANDOM_FOREST,
    trees.LIGHTGBM,
    trees.XGBOOST,
    linear.LOGISTIC_REGRESSION,
    neighbours.KNN,
    neighbours.KNN_NORMAL,
    neighbours.MAHALANOBIS,
)
CONTROLS: dict[str, Family] = _by_name(controls.MAJORITY, controls.STUMP, controls.SHUFFLED_LABELS)
