"""One fit, from tuning to figures: the only walk there is from a trial to a stored document."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.lab.detectors.detector import Family
from models.lab.protocols.trial import Task, Trial

NOMINAL = (0.001, 0.01, 0.05)  # false positive rates a threshold is set for, on out-of-fold training normals


@dataclass(frozen=True, slots=True)
class Unit:
    """A fit to do: a family on a trial.

    Attributes
    ----------
    split : which split of the protocol, for example `run03-fold07`
    calibrated : thresholds from out-of-fold training normals; else the one a detector would use untouched (p = 0.5)
    """

    protocol: str
    split: str
    family: Family
    seed: int
    task: Task = "binary"
    calibrated: bool = True

    @property
    def key(self) -> str:
        """Its name in a store."""
        return f"{self.protocol}/{self.family.name}/{self.split}-seed{self.seed}-{self.task}"


def fit(unit: Unit, trial: Trial) -> dict[str, Any]:
    """Tune → settle → thresholds → fit → score → figures, as a document for the store.

    A detector without classes needs a threshold from somewhere: it is calibrated in every protocol.
    """
    seconds: dict[str, Any] = {}
    start = time.perf_counter()
    candidate = trial.tune(unit.family, unit.seed)
    detector, settled = trial.settle(unit.family.candidates[candidate], unit.seed)
    seconds["tune"] = time.perf_counter() - start

    start = time.perf_counter()
    student = trial.fit(detector, unit.seed)
    seconds["fit"] = time.perf_counter() - start

    start = time.perf_counter()
    thresholds: dict[float, float] = {}
    if unit.calibrated or not unit.family.multiclass:
        normal = trial.out_of_fold(detector, unit.seed)
        thresholds = {rate: float(np.quantile(normal, 1 - rate, method="higher")) for rate in NOMINAL}
    seconds["out_of_fold"] = time.perf_counter() - start

    tests, seconds["score"] = {}, {}
    for test in trial.tests:
        start = time.perf_counter()
        prediction = student.predict(trial.unseen(test))
        seconds["score"][test] = time.perf_counter() - start
        tests[test] = trial.judge(test, prediction, thresholds)
    size = student.fitted.size()
    return {
        "protocol": unit.protocol,
        "model": unit.family.name,
        "title": unit.family.title,
        "split": unit.split,
        "seed": unit.seed,
        "task": unit.task,
        "candidate": candidate,
        "settled": settled,
        "reduction": unit.family.reduction,
        "rows": trial.sizes(),
        "seconds": seconds,
        "size": {"parameters": size.parameters, "stored_bytes": size.stored_bytes},
        "nominal": list(thresholds),
        "tests": tests,
    }
