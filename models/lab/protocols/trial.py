"""The splitter: it hands out only what a stage may see.

A Trial holds a training table and test tables. What learns (preprocessing, tuning, threshold, detector) is given
training records; what scores is given test records without labels; test labels leave only as figures, by `judge`.
Detectors never hold a Trial.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from models.lab.detectors.detector import Detector, Family, Fitted, Prediction, Settling, TrainingSet
from models.lab.protocols.operations import NOWHERE, Operations
from models.lab.tables.prepare import Prepared
from models.lab.tables.table import NORMAL, Table, Unlabelled
from models.rows import Floats, Ints, Strings
from models.training.measures import binary, multiclass

Task = Literal["binary", "5-class", "attack"]
TUNING_ROWS = 6_000
FOLDS = 3  # of the out-of-fold scores that set the threshold


@dataclass(frozen=True, slots=True)
class Student:
    """A fitted detector with the preprocessing it was fitted behind."""

    prepared: Prepared
    fitted: Fitted

    def predict(self, records: Unlabelled) -> Prediction:
        """Its prediction of records."""
        return self.fitted.predict(self.prepared.matrix(records))


class Trial:
    """One training table and the tables it is judged on."""

    def __init__(
        self,
        train: Table,
        tests: Sequence[Table],
        task: Task,
        operations: Mapping[str, Operations] = NOWHERE,
    ) -> None:
        """`operations`: test name → the further figures that `judge` adds, where the test has times."""
        self._train, self._tests, self.task = train, {test.name: test for test in tests}, task
        self._operations = operations
        names = train.label if task == "attack" else train.family
        families = sorted(set(map(str, np.unique(names))) - {NORMAL})
        self.classes = (NORMAL, "attack") if task == "binary" else (NORMAL, *families)

    def as_task(self, task: Task) -> "Trial":
        """The same records with other classes to tell apart."""
        return Trial(self._train, tuple(self._tests.values()), task, self._operations)

    @property
    def tests(self) -> tuple[str, ...]:
        """Names of the tables to be judged on."""
        return tuple(self._tests)

    def sizes(self) -> dict[str, Any]:
        """How many records it trains on and is judged on."""
        return {"train": len(self._train), "tests": {name: len(test) for name, test in self._tests.items()}}

    def unseen(self, test: str) -> Unlabelled:
        """A test table's records, without labels."""
        return self._tests[test].unlabelled()

    def training_set(self, rows: Ints | None = None) -> tuple[Prepared, TrainingSet]:
        """What may be learnt from: all training records, or some of them; prepared by constants of just these."""
        part = self._train if rows is None else self._train.take(rows)
        prepared = Prepared.fit(part.unlabelled())
        return prepared, TrainingSet(
            prepared.matrix(part.unlabelled()),
            self._numbers(part),
            self.classes,
            _attacks(part, part.label),
            _attacks(part, part.family),
            prepared.names,
        )

    def fit(self, detector: Detector, seed: int, rows: Ints | None = None) -> Student:
        """A detector fitted to all training records, or to some of them."""
        prepared, training_set = self.training_set(rows)
        return Student(prepared, detector.fit(training_set, seed))

    def tune(self, family: Family, seed: int) -> int:
        """Which candidate to take: each fitted to 70 % of up to 6,000 training records, judged on the other 30 %.

        By macro-F1 where the task has classes, else by AUROC; the first of equals. One candidate needs no tuning.
        """
        if len(family.candidates) == 1:
            return 0
        chosen = self._sample(TUNING_ROWS, seed)
        cut = int(0.7 * len(chosen))
        fit, validation = chosen[:cut], self._train.take(chosen[cut:])
        merits = []
        for candidate in family.candidates:
            prediction = self.fit(candidate, seed, fit).predict(validation.unlabelled())
            merit = binary.auroc(prediction.score, validation.attack)
            if prediction.probability is not None and self.task != "binary":
                merit = multiclass.macro_f1(
                    self._numbers(validation), prediction.probability.argmax(axis=1), len(self.classes)
                )
            merits.append(-1.0 if np.isnan(merit) else round(merit, 4))
        return int(np.argmax(merits))

    def settle(self, detector: Detector, seed: int) -> tuple[Detector, dict[str, Any]]:
        """A detector with the settings it chooses on the training records, and those; itself where it has none."""
        return detector.settle(self.training_set()[1], seed) if isinstance(detector, Settling) else (detector, {})

    def out_of_fold(self, detector: Detector, seed: int) -> Floats:
        """Scores of the training normals, each by a detector that was fitted without it: (normals,).

        Groups stay together. The threshold for a nominal false positive rate is a quantile of these.
        """
        scores = np.full(len(self._train), np.nan)
        for fit, test in self._folds(seed):
            student = self.fit(detector, seed, fit)
            scores[test] = student.predict(self._train.take(test).unlabelled()).score
        result: Floats = scores[~self._train.attack]
        return result

    def judge(self, test: str, prediction: Prediction, thresholds: dict[float, float]) -> dict[str, Any]:
        """Figures of a prediction on a test table, one set per nominal false positive rate.

        `thresholds`: nominal rate → threshold, from training records.
        """
        table = self._tests[test]
        score = np.asarray(prediction.score, dtype=np.float64)
        if len(score) != len(table) or not np.isfinite(score).all():
            raise ValueError(f"{test}: got {len(score)} scores, expected {len(table)} finite ones")
        known = set(map(str, np.unique(self._train.label)))
        novel = table.attack & ~np.isin(table.label, list(known))
        decision: dict[str, Any] | None = None
        if thresholds:
            nominal = min(thresholds, key=lambda rate: abs(rate - 0.01))
            decision = binary.at_threshold(score, table.attack, thresholds[nominal])
        figures: dict[str, Any] = {
            "ranking": binary.ranking(score, table.attack),
            "at": {
                f"{nominal:g}": binary.at_threshold(score, table.attack, threshold)
                for nominal, threshold in thresholds.items()
            },
            "novel": binary.seen_and_novel(score, table.attack, novel, thresholds),
        }
        if prediction.probability is not None:
            figures["classes"] = multiclass.figures(
                self._numbers(table, strict=False), prediction.probability, self.classes, table.attack
            )
            decision = figures["classes"]["binary"]
        figures["decision"] = decision
        if test in self._operations and thresholds:
            figures["more"] = self._operations[test].figures(table, score, thresholds)
        return figures

    def _numbers(self, table: Table, strict: bool = True) -> Ints:
        """(n,) class numbers; an attack that is no class of the task is −1 (only in test tables)."""
        if self.task == "binary":
            return table.attack.astype(np.int64)
        names = table.label if self.task == "attack" else table.family
        present, inverse = np.unique(names, return_inverse=True)
        numbering = {name: number for number, name in enumerate(self.classes)}
        numbers = np.array([numbering.get(str(name), -1) for name in present], dtype=np.int64)[inverse]
        if strict and len(numbers) and numbers.min() < 0:
            raise ValueError(f"{table.name}: got classes {present.tolist()}, expected {list(self.classes)}")
        result: Ints = numbers
        return result

    def _sample(self, rows: int, seed: int) -> Ints:
        """Up to `rows` training records, in random order, of every label at least two where it has them."""
        random = np.random.default_rng(seed)
        order = random.permutation(len(self._train))
        if len(order) <= rows:
            return order
        label = self._train.label[order]
        first = np.sort(np.concatenate([np.flatnonzero(label == name)[:2] for name in np.unique(label)]))
        rest = np.setdiff1d(np.arange(len(order)), first)[: rows - len(first)]
        chosen: Ints = random.permutation(order[np.concatenate([first, rest])])
        return chosen

    def _folds(self, seed: int) -> Iterator[tuple[Ints, Ints]]:
        """(fit, test) record positions of each fold, whole groups, shuffled.

        Groups with attacks are dealt out first: where two groups have some, no fold holds all, for a detector that
        learns what attacks look like cannot learn from normals alone.
        """
        groups, inverse = np.unique(self._train.group, return_inverse=True)
        order = np.random.default_rng(seed).permutation(len(groups))
        quiet = np.bincount(inverse, self._train.attack, len(groups)) == 0
        fold = np.empty(len(groups), dtype=np.int64)
        fold[order[np.argsort(quiet[order], kind="stable")]] = np.arange(len(groups)) % FOLDS
        for number in range(FOLDS):
            test = fold[inverse] == number
            yield np.flatnonzero(~test), np.flatnonzero(test)


def _attacks(table: Table, name: Strings) -> Ints:
    """(n,) number of each record's attack by a name of it (n,), from 1 on; 0 for normal."""
    _, number = np.unique(np.where(table.attack, name, ""), return_inverse=True)
    result: Ints = number.astype(np.int64) + int(table.attack.all())
    return result
