"""Every detector of the evaluation by name, in the order of the tables; libraries are imported when one is fitted."""

from models.lab.detectors import (
    autoencoder,
    boltzmann,
    controls,
    fusion,
    gan,
    igan_ids,
    linear,
    neighbours,
    networks,
    oversampling,
    trees,
)
from models.lab.detectors.detector import Family


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
    networks.DNN,
    networks.CNN,
    networks.LSTM,
    networks.GRU,
    autoencoder.AUTOENCODER,
    boltzmann.RBM,
    boltzmann.DBN,
    boltzmann.DBM,
    gan.GAN_DISCRIMINATOR,
    neighbours.KNN_NORMAL,
    neighbours.MAHALANOBIS,
    oversampling.CGAN,
    oversampling.SMOTE_FAMILY,
    oversampling.RANDOM,
    fusion.LIGHTGBM_AVERAGE,
    fusion.LIGHTGBM_MAHALANOBIS,
    fusion.LIGHTGBM_KNN_NORMAL,
)
CONTROLS: dict[str, Family] = _by_name(controls.MAJORITY, controls.STUMP, controls.SHUFFLED_LABELS)
