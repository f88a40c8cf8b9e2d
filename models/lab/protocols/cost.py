"""Protocol `cost`: what a detector costs to train, to store and to query, by batch size, on one core."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.lab.detectors.detector import Family, Fitted
from models.lab.protocols.fit import Unit
from models.lab.protocols.plan import nsl_kdd_table
from models.lab.protocols.trial import Trial
from models.lab.tables.nsl_kdd import TEST, TRAIN
from models.rows import Floats

BATCHES = (1, 64, 1024, 4096, 16384)
LEAST_SECONDS = 0.5  # of asking, a batch size
MAX_SECONDS = 20.0  # one size that takes longer is the last: larger ones would only take longer still


@dataclass(frozen=True, slots=True)
class Cost:
    """Every family's default settings, fitted once to all of KDDTrain+ (binary)."""

    data: Path
    families: tuple[Family, ...]
    name: str = "cost"

    def units(self) -> list[Unit]:
        """One unit per family."""
        return [Unit(self.name, "cost", family, 0, calibrated=False) for family in self.families]

    def document(self, unit: Unit) -> dict[str, Any]:
        """Seconds to fit, numbers learnt, bytes stored, rows a second; best of several rounds at each batch size."""
        train, test = nsl_kdd_table(self.data, TRAIN), nsl_kdd_table(self.data, TEST)
        trial = Trial(train, [test], "binary")
        start = time.perf_counter()
        student = trial.fit(unit.family.candidates[0], unit.seed)
        seconds = time.perf_counter() - start
        matrix = student.prepared.matrix(test.unlabelled())
        size = student.fitted.size()
        return {
            "protocol": self.name,
            "model": unit.family.name,
            "title": unit.family.title,
            "reduction": unit.family.reduction,
            "split": unit.split,
            "seed": unit.seed,
            "task": unit.task,
            "rows": trial.sizes(),
            "train_seconds": seconds,
            "parameters": size.parameters,
            "stored_bytes": size.stored_bytes,
            "rows_per_second": {"cpu": rates(student.fitted, matrix)},
        }


def rates(fitted: Fitted, matrix: Floats) -> dict[str, float]:
    """Rows a second by batch size: the best of at least three rounds, after one to warm up."""
    rates_by_batch: dict[str, float] = {}
    for batch in BATCHES:
        rows = np.ascontiguousarray(matrix[np.arange(batch) % len(matrix)])
        start = time.perf_counter()
        fitted.predict(rows)
        first = time.perf_counter() - start
        best, spent, rounds = first, 0.0, 0
        while (spent < LEAST_SECONDS or rounds < 3) and first < MAX_SECONDS:
            start = time.perf_counter()
            fitted.predict(rows)
            took = time.perf_counter() - start
            best, spent, rounds = min(best, took), spent + took, rounds + 1
        rates_by_batch[str(batch)] = batch / best
        if first >= MAX_SECONDS:
            break
    return rates_by_batch
