"""What two models say of the same rows, counted: the same counts however rows are cut into batches, in any order."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.runtime.wire.sensors import sensors_of
from pipeline.tools.shadow.examples import Examples
from pipeline.tools.shadow.tally import Ints, Tally, counts_of

Floats = npt.NDArray[np.float32]

HOUR_US = 3_600_000_000
MAX_SENSORS = 1_024
"""As many as may be active: 256 in each of 4 partitions."""
MAX_CLASSES = 1_024
MAX_HOURS = 31 * 24
MAX_MODELS = 64
DECADES = (0.01, 0.1, 0.3, 1.0, 2.0, 3.0)
"""Up to where a change of a p-value counts: its decimal logarithm, so 1 is ten times as rare or as common."""
SCORES = (1e-4, 1e-3, 0.01, 0.03, 0.1, 0.3)
DIFFERING = ("any", "score", "p_value", "suspect", "class")
SMALLEST_P = np.finfo(np.float32).tiny


class Counts:
    """What is known of the rows so far; bounded, whatever comes.

    sensors, classes, hours, models : by site and sensor; by what the model in use and the candidate call a row; by hour
        of event time; by which model was in use
    held_us : event time of the first and the last row of each model in use, of those that are kept
    differing : rows on which the two differ, by what, bit by bit
    p_changes, score_changes : rows by how much, from much less unusual by the candidate over equal to much more
    examples : the rows that differ most
    """

    def __init__(self) -> None:
        self.sensors, self.classes = Tally(MAX_SENSORS), Tally(MAX_CLASSES)
        self.hours, self.models = Tally(MAX_HOURS, newest=True), Tally(MAX_MODELS)
        self.held_us: dict[str, tuple[int, int]] = {}
        self.differing: Ints = np.zeros(len(DIFFERING), np.int64)
        self.p_changes: Ints = np.zeros(bins(DECADES), np.int64)
        self.score_changes: Ints = np.zeros(bins(SCORES), np.int64)
        self.examples = Examples()

    @property
    def total(self) -> Ints:
        """(4,) rows by who calls them suspects."""
        return self.models.total

    def take(self, in_use: pa.RecordBatch, scored: pa.RecordBatch) -> None:
        """Count rows of schema `scored`: as the model in use scored them, and the same as the candidate does."""
        if not len(in_use):
            return
        suspect, suspected = _numbers(in_use, "suspect"), _numbers(scored, "suspect")
        outcome = suspect.astype(np.int64) + 2 * suspected.astype(np.int64)
        self._count_by_key(in_use, scored, outcome)
        p_change = _decades(in_use) - _decades(scored)
        score_change = _numbers(scored, "score").astype(np.float64) - _numbers(in_use, "score")
        differs = [_bits_differ(in_use, scored, name) for name in ("score", "p_value")]
        differs += [suspect != suspected, _texts_differ(in_use, scored, "class", "nearest_class")]
        anything = np.logical_or.reduce(differs)
        self.differing = self.differing + np.array([np.count_nonzero(each) for each in (anything, *differs)], np.int64)
        self.score_changes = self.score_changes + changes(score_change, differs[0], SCORES)
        self.p_changes = self.p_changes + changes(p_change, differs[1], DECADES)
        if anything.any():
            self.examples.take(in_use, scored, outcome, anything, p_change, score_change)

    def _count_by_key(self, in_use: pa.RecordBatch, scored: pa.RecordBatch, outcome: Ints) -> None:
        self.sensors.add(*sensors_of(in_use), outcome)
        (theirs, their), (ours, our) = _coded(in_use, "class"), _coded(scored, "class")
        self.classes.add([(one, other) for one in theirs for other in ours], their * len(ours) + our, outcome)
        end_us = _numbers(in_use, "end_ts_us")
        hours, hour = np.unique(end_us // HOUR_US, return_inverse=True)
        self.hours.add([(each,) for each in hours.tolist()], hour, outcome)
        names, model = _coded(in_use, "model")
        self.models.add([(name,) for name in names], model, outcome)
        for number, name in enumerate(names):
            here = end_us if len(names) == 1 else end_us[model == number]
            first, last = self.held_us.get(name, (int(here[0]), int(here[0])))
            self.held_us[name] = min(first, int(here.min())), max(last, int(here.max()))
        self.held_us = {name: times for name, times in self.held_us.items() if (name,) in self.models.by_key}

    def document(self) -> dict[str, Any]:
        """As JSON knows it."""
        return {
            **{name: getattr(self, name).document() for name in _TALLIES},
            **{name: getattr(self, name).tolist() for name in _VECTORS},
            "held_us": {name: list(times) for name, times in sorted(self.held_us.items())},
            "examples": self.examples.by_kind,
        }

    @classmethod
    def of(cls, document: Any) -> "Counts":
        """What `document` gave; ValueError, KeyError or TypeError where it is something else."""
        counts = cls()
        for name in _TALLIES:
            getattr(counts, name).read(document[name])
        for name in _VECTORS:
            setattr(counts, name, counts_of(document[name], len(getattr(counts, name))))
        counts.held_us = {str(name): (int(first), int(last)) for name, (first, last) in document["held_us"].items()}
        counts.examples.read(document["examples"])
        return counts


_TALLIES = ("sensors", "classes", "hours", "models")
_VECTORS = ("differing", "p_changes", "score_changes")


def bins(edges: Sequence[float]) -> int:
    """How many bins `changes` has: equal, and both ways up to each edge and beyond the last."""
    return 2 * (len(edges) + 1) + 1


def changes(change: npt.NDArray[np.float64], differs: npt.NDArray[np.bool_], edges: Sequence[float]) -> Ints:
    """Rows by how much they change, down to up; what differs by less than float64 shows is in the bin beside equal."""
    size = np.searchsorted(edges, np.abs(change), side="left") + 1
    signed = np.where(differs, np.where(change < 0, -size, size), 0)
    return np.bincount(signed + len(edges) + 1, minlength=bins(edges)).astype(np.int64)


def _numbers(batch: pa.RecordBatch, name: str) -> npt.NDArray[Any]:
    values: npt.NDArray[Any] = batch.column(name).to_numpy(zero_copy_only=False)
    return values


def _decades(batch: pa.RecordBatch) -> npt.NDArray[np.float64]:
    p_value = np.maximum(_numbers(batch, "p_value"), SMALLEST_P).astype(np.float64)
    decades: npt.NDArray[np.float64] = np.log10(p_value)
    return decades


def _bits_differ(one: pa.RecordBatch, other: pa.RecordBatch, name: str) -> npt.NDArray[np.bool_]:
    differs: npt.NDArray[np.bool_] = _numbers(one, name).view(np.uint32) != _numbers(other, name).view(np.uint32)
    return differs


def _texts_differ(one: pa.RecordBatch, other: pa.RecordBatch, *names: str) -> npt.NDArray[np.bool_]:
    differs = [pc.not_equal(*(batch.column(name).fill_null("") for batch in (one, other))) for name in names]
    found: npt.NDArray[np.bool_] = np.logical_or.reduce([each.to_numpy(zero_copy_only=False) for each in differs])
    return found


def _coded(batch: pa.RecordBatch, name: str) -> tuple[list[str], Ints]:
    """Distinct texts, and (n,) which of them each row has."""
    coded = batch.column(name).dictionary_encode()
    return coded.dictionary.to_pylist(), coded.indices.to_numpy().astype(np.int64)
