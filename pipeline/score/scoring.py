"""The model at work: rows of many messages through one forward per model, split back into scored batches."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from models.serving.score import Scorer
from models.serving.scored import Scored
from pipeline.contracts.envelope import SensorName
from pipeline.contracts.preconditions import Preconditions, shipped
from pipeline.contracts.promotions import PromotionLedger
from pipeline.runtime.wire.batches import matrix
from pipeline.runtime.wire.sensors import sensors_of
from pipeline.score.model_cache import ModelCache
from pipeline.score.naming import Likeliest, Names, names_of, no_names
from pipeline.score.own_baseline import OwnBaseline, own_baseline
from schemas.fields import arrow_schema

Mask = npt.NDArray[np.bool_]


def score_batches(
    batches: Sequence[pa.RecordBatch],
    ledger: PromotionLedger,
    models: ModelCache,
    preconditions: Preconditions | None = None,
) -> list[pa.RecordBatch]:
    """Score batches of schema `features`; returns batches of schema `scored` with the same rows in the same order.

    All rows go through the network together, per model in tiles of one size: a row gets the same bits whatever it is
    grouped with. Which model a row gets is decided by its event time alone.

    A row is a suspect where the model's calibration of its sensor or site says so, and where its sensor's own baseline
    shows it. Of a sensor without a calibration the baseline decides alone: by the thresholds of another plant nearly
    every flow would be a suspect. Its p-value and novelty are then those of the baseline. A row without a baseline is
    measured by the pooled calibration. A calibration that was fitted to what the sensor's baseline calls usual counts
    only where that baseline is anchored: while it learns, also again, what was usual is not.

    preconditions : what a flow's fields must not contradict for a class to be named; the shipped ones by default
    """
    preconditions = preconditions or shipped()
    sizes = [batch.num_rows for batch in batches]
    rows = sum(sizes)
    if rows == 0:
        return [_scored(batch, _Columns(0), no_names(), slice(0, 0)) for batch in batches]
    values = matrix(batches[0]) if len(batches) == 1 else np.concatenate([matrix(batch) for batch in batches])
    end_ts_us = np.concatenate([batch.column("end_ts_us").to_numpy() for batch in batches])
    names, origin = _origins(batches)
    out = _Columns(rows)
    model_index, baseline = ledger.model_index(end_ts_us), own_baseline(batches)
    for index in np.unique(model_index):
        scorer = models.scorer(ledger.holding[index - 1] if index else None)
        here = slice(None) if (model_index == index).all() else np.flatnonzero(model_index == index)
        calibration = scorer.model.calibrations_of(names)[origin[here]]
        out.set(here, scorer, scorer.score_by(values[here], calibration))
        out.judge(here, baseline, scorer.model.own[calibration], scorer.model.fitted_ones[calibration])
    called = names_of(batches, values, out.likeliest, models.first.model.features, preconditions)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    return [
        _scored(batch, out, called, slice(int(first), int(last)))
        for batch, first, last in zip(batches, starts[:-1], starts[1:], strict=True)
    ]


class _Columns:
    """What the model says of n rows; class and model as indices into names, which rows of several models share."""

    def __init__(self, rows: int) -> None:
        self.score = np.zeros(rows, np.float32)
        self.novelty = np.zeros(rows, np.float32)
        self.p_value = np.zeros(rows, np.float32)
        self.suspect = np.zeros(rows, np.bool_)
        self.class_index = np.zeros(rows, np.int32)
        self.benign = np.zeros(rows, np.bool_)
        self.known = np.zeros(rows, np.bool_)
        self.model_index = np.zeros(rows, np.int32)
        self.classes: list[str] = []
        self.models: list[str] = []

    @property
    def likeliest(self) -> Likeliest:
        """What the classifiers find the rows likest to."""
        return Likeliest(self.classes, self.class_index, self.benign, self.known, self.suspect)

    def set(self, here: Any, scorer: Scorer, scored: Scored) -> None:
        """Rows as the model finds them."""
        self.score[here] = scored.score
        self.novelty[here] = scored.novelty
        self.p_value[here] = scored.p_value
        self.suspect[here] = scored.suspect
        self.class_index[here] = scored.class_index + len(self.classes)
        self.benign[here] = scored.class_index < scorer.model.config.benign
        self.known[here] = scored.known
        self.model_index[here] = len(self.models)
        self.classes += scorer.model.classes
        self.models.append(scorer.model.id)

    def judge(self, here: Any, baseline: OwnBaseline, calibrated: Mask, fitted: Mask) -> None:
        """The same rows as their sensors' baselines find them.

        calibrated, fitted : (rows,) whether the model knows the origin, and whether from that baseline. Only rows with
        a baseline lose what the model says: without a calibration, or with a fitted one that does not hold then.
        """
        known, anchored, shown, p_value = (column[here] for column in baseline)
        uncalibrated = ~(calibrated & (anchored | ~fitted)) & known
        self.suspect[here] = np.where(uncalibrated, shown, self.suspect[here] | shown)
        self.p_value[here] = np.where(uncalibrated, p_value, self.p_value[here])
        self.novelty[here] = np.where(uncalibrated, -np.log10(p_value), self.novelty[here])


def _scored(batch: pa.RecordBatch, out: _Columns, called: Names, here: slice) -> pa.RecordBatch:
    name, nearest = called.columns(here)
    added = {
        "score": pa.array(out.score[here]),
        "class": name,
        "nearest_class": nearest,
        "novelty": pa.array(out.novelty[here]),
        "p_value": pa.array(out.p_value[here]),
        "suspect": pa.array(out.suspect[here]),
        "model": _take(out.models, out.model_index[here]),
        "features": batch.column("features"),
    }
    schema = arrow_schema("scored", batch.column("features").type.list_size)
    return pa.RecordBatch.from_arrays(
        [added[name] if name in added else batch.column(name) for name in schema.names], schema=schema
    )


def _take(names: Sequence[str], indices: npt.NDArray[np.int32]) -> pa.Array:
    if len(indices) and (indices == indices[0]).all():
        return pa.repeat(names[indices[0]], len(indices))
    return pa.array(names, pa.string()).take(pa.array(indices))


def _origins(batches: Sequence[pa.RecordBatch]) -> tuple[list[str], npt.NDArray[np.int64]]:
    """The distinct `site/sensor` of all rows, and which of them each row is from."""
    known: dict[SensorName, int] = {}
    numbers = []
    for batch in batches:
        names, number = sensors_of(batch)
        numbers.append(np.array([known.setdefault(name, len(known)) for name in names], np.int64)[number])
    return ["/".join(name) for name in known], np.concatenate(numbers)
