"""Logistic regression and support vector machines: linear on all records, with an RBF kernel on some."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.lab.detectors.detector import Family, Prediction, Size, TrainingSet
from models.lab.detectors.predictions import Numbers, from_logits, from_margin, of_several_classes, spread, stratified
from models.rows import Floats, Ints

KERNEL_ROWS = 10_000
LEAST_OF_CLASS = 50  # records of a rare class the kernel keeps
TEMPERATURES = np.geomspace(0.05, 20.0, 40)
CALIBRATION_ROWS = 2_000


@dataclass(frozen=True, slots=True)
class FittedLinear:
    """A model of scikit-learn with a decision function; `sharpness` turns its margins into log-odds."""

    model: Any
    seen: Ints
    classes: int
    sharpness: float

    def predict(self, matrix: Floats) -> Prediction:
        """Softmax of the margins."""
        return prediction(self.model.decision_function(matrix), self.sharpness, self.seen, self.classes)

    def size(self) -> Size:
        """Weights, or support vectors with theirs."""
        learnt = ("support_vectors_", "dual_coef_") if hasattr(self.model, "support_vectors_") else ("coef_",)
        arrays = [np.asarray(getattr(self.model, name)) for name in (*learnt, "intercept_")]
        return Size(sum(array.size for array in arrays), sum(array.nbytes for array in arrays))


def prediction(margin: Numbers, sharpness: float, seen: Ints, classes: int) -> Prediction:
    """(n,) or (n, classes seen) margins → prediction."""
    sharp = np.asarray(margin, dtype=np.float64) * sharpness
    if sharp.ndim == 1:
        if classes == 2:
            return from_margin(sharp)
        sharp = np.column_stack([np.zeros(len(sharp)), sharp])
    return from_logits(spread(sharp, seen, classes))


def sharpness(margin: Numbers, training: TrainingSet, rows: Ints, seen: Ints) -> float:
    """The factor on margins under which the truth of records held out is likeliest."""
    truth, at = training.y[rows], np.arange(len(rows))
    losses = []
    for factor in TEMPERATURES:
        probability = prediction(margin, float(factor), seen, len(training.classes)).probability
        assert probability is not None  # noqa: S101  from_logits always gives one
        losses.append(-float(np.log(np.maximum(probability[at, truth], 1e-7)).mean()))
    return float(TEMPERATURES[int(np.argmin(losses))])


def _fit(model: Any, matrix: Floats, y: Ints) -> Any:
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        # The iterations are part of the settings: where they end early, that is the model.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(matrix, y)


@dataclass(frozen=True, slots=True)
class Logistic:
    """Multinomial logistic regression with an L2 penalty; classes weigh the same where there are several."""

    strength: float = 1.0
    iterations: int = 500

    def fit(self, training: TrainingSet, seed: int) -> FittedLinear:
        """Learn from prepared records (n, F)."""
        from sklearn.linear_model import LogisticRegression

        seen, classes = of_several_classes(training), len(training.classes)
        weight = "balanced" if classes > 2 else None
        model = LogisticRegression(C=self.strength, max_iter=self.iterations, class_weight=weight, random_state=seed)
        return FittedLinear(_fit(model, training.matrix, training.y), seen, classes, 1.0)


@dataclass(frozen=True, slots=True)
class LinearSvm:
    """Squared hinge on all records, one class against the rest, in the primal."""

    strength: float = 0.1
    iterations: int = 100

    def fit(self, training: TrainingSet, seed: int) -> FittedLinear:
        """Learn from prepared records (n, F)."""
        from sklearn.svm import LinearSVC

        classes = len(training.classes)
        weight = "balanced" if classes > 2 else None
        model = LinearSVC(
            C=self.strength, dual=False, max_iter=self.iterations, tol=1e-3, class_weight=weight, random_state=seed
        )
        return _fit_margin(model, training, np.arange(len(training.y)), seed)


@dataclass(frozen=True, slots=True)
class KernelSvm:
    """RBF kernel on 10,000 records at most, drawn by class; rare classes keep up to 50."""

    strength: float = 10.0
    gamma: float = 0.02
    rows: int = KERNEL_ROWS

    def fit(self, training: TrainingSet, seed: int) -> FittedLinear:
        """Learn from prepared records (n, F)."""
        from sklearn.svm import SVC

        weight = "balanced" if len(training.classes) > 2 else None
        model = SVC(C=self.strength, gamma=self.gamma, class_weight=weight, cache_size=500, random_state=seed)
        return _fit_margin(model, training, stratified(training.y, self.rows, LEAST_OF_CLASS, seed), seed)


def _fit_margin(model: Any, training: TrainingSet, rows: Ints, seed: int) -> FittedLinear:
    """Fit to nine tenths, find the margins' sharpness on the rest; then fit to all."""
    seen, classes = of_several_classes(training), len(training.classes)
    held_out = rows[np.random.default_rng(seed).permutation(len(rows))[: min(CALIBRATION_ROWS, len(rows) // 10)]]
    rest = np.setdiff1d(rows, held_out)
    factor = 1.0
    if len(held_out) and len(np.unique(training.y[rest])) == len(seen):
        part = rest[stratified(training.y[rest], KERNEL_ROWS, LEAST_OF_CLASS, seed)]
        early = _fit(model, training.matrix[part], training.y[part])
        factor = sharpness(early.decision_function(training.matrix[held_out]), training, held_out, seen)
    return FittedLinear(_fit(model, training.matrix[rows], training.y[rows]), seen, classes, factor)


SVM_RBF = Family(
    "svm-rbf",
    "SVM (RBF)",
    (KernelSvm(), KernelSvm(strength=1.0), KernelSvm(strength=100.0, gamma=0.005)),
    reduction=f"learns from {KERNEL_ROWS:,} training records drawn by class",
)
SVM_LINEAR = Family("svm-linear", "SVM (linear)", (LinearSvm(), LinearSvm(1.0), LinearSvm(0.01)))
LOGISTIC_REGRESSION = Family("logistic-regression", "Logistic regression", (Logistic(), Logistic(0.1), Logistic(10.0)))
