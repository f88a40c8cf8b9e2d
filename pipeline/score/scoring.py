"""The model at work: rows of many messages through one forward per model, split back into scored batches."""

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from models.errors import RefusedModel
from models.serving import registry
from models.serving.score import Scorer
from pipeline.errors import Misconfigured, RefusedState
from pipeline.runtime.wire.batches import matrix
from pipeline.runtime.wire.sensors import SensorName, sensors_of
from pipeline.score.promotions import Ledger, Promotion
from schemas.fields import arrow_schema

# Beside the first one: the one that holds and the one that will. An older one is loaded again when a late row asks.
PROMOTED_HELD = 2


def choose_device(wanted: str) -> tuple[str, str]:
    """The device to score on and, in words, why; Misconfigured where `cuda` is asked for and cannot be used."""
    found = torch.cuda.is_available()
    if wanted == "cuda" and not found:
        raise Misconfigured(
            "device cuda: torch finds no CUDA device here; use --device cpu, or install a driver and torch with CUDA"
        )
    if wanted != "auto":
        return wanted, "as set"
    return ("cuda", f"auto: found {torch.cuda.get_device_name(0)}") if found else ("cpu", "auto: no CUDA device found")


def use_threads(count: int) -> None:
    """How many threads torch takes in this process; 0 lets torch choose."""
    if count:
        torch.set_num_threads(count)


class Shelf:
    """The models at hand: the first one and at most two promoted ones.

    Parameters
    ----------
    first : str
        Model of rows older than every promotion: an id, a folder, or empty for the shipped one.
    folder : Path
        The registry.
    device : str
        `cpu` or `cuda`.
    """

    def __init__(self, first: str, folder: Path, device: str) -> None:
        self._folder = folder
        self._device = device
        self._loaded: OrderedDict[str, Scorer] = OrderedDict()
        try:
            self.first = Scorer(registry.load(first, folder), device)
        except RefusedModel as error:
            raise RefusedState(str(error)) from error
        # The first forward builds what later ones reuse; better now than under the first rows.
        self.first.score(
            np.zeros((1, len(self.first.model.features)), np.float32), np.zeros(1, np.int64), np.array([""])
        )

    def unusable(self, promotion: Promotion) -> str | None:
        """Why a promoted model cannot be used here, None where it can."""
        try:
            self._load(promotion)
        except RefusedModel as error:
            return str(error)
        return None

    def scorer(self, promotion: Promotion | None) -> Scorer:
        """The scorer of a promotion that holds, None for the first one; RefusedState where its model is gone."""
        if promotion is None:
            return self.first
        try:
            return self._load(promotion)
        except RefusedModel as error:
            raise RefusedState(
                f"promotion {promotion.id} holds, but its model cannot be used: {error}; put it into {self._folder}"
            ) from error

    def _load(self, promotion: Promotion) -> Scorer:
        held = self._loaded.get(promotion.model)
        if held is None:
            registry.within(self._folder, promotion.uri)
            model = registry.load(promotion.uri, self._folder)
            if (model.id, model.sha256) != (promotion.model, promotion.sha256):
                raise RefusedModel(
                    f"model {promotion.uri}: got {model.id} {model.sha256[:12]}, expected {promotion.model} "
                    f"{promotion.sha256[:12]} as the promotion says"
                )
            own = self.first.model.document
            model.expect_features(own["feature_set"], own["feature_hash"])
            held = Scorer(model, self._device)
            self._loaded[promotion.model] = held
        self._loaded.move_to_end(promotion.model)
        while len(self._loaded) > PROMOTED_HELD:
            self._loaded.popitem(last=False)
        return held

    @property
    def ids(self) -> list[str]:
        """Ids of the models loaded."""
        return [self.first.model.id, *self._loaded]


def score_batches(batches: Sequence[pa.RecordBatch], ledger: Ledger, shelf: Shelf) -> list[pa.RecordBatch]:
    """Score batches of schema `features`; returns batches of schema `scored` with the same rows in the same order.

    All rows go through the network together, per model in tiles of one size: a row gets the same bits whatever it is
    grouped with. Which model a row gets is decided by its event time alone.
    """
    sizes = [batch.num_rows for batch in batches]
    rows = sum(sizes)
    if rows == 0:
        return [_scored(batch, _Columns(0), slice(0, 0)) for batch in batches]
    values = matrix(batches[0]) if len(batches) == 1 else np.concatenate([matrix(batch) for batch in batches])
    end_ts_us = np.concatenate([batch.column("end_ts_us").to_numpy() for batch in batches])
    names, origin = _origins(batches)
    out = _Columns(rows)
    chosen = ledger.chosen(end_ts_us)
    for number in np.unique(chosen):
        scorer = shelf.scorer(ledger.holding[number - 1] if number else None)
        here = slice(None) if (chosen == number).all() else np.flatnonzero(chosen == number)
        out.put(here, scorer, scorer.score_of(values[here], names, origin[here]))
    starts = np.concatenate([[0], np.cumsum(sizes)])
    return [
        _scored(batch, out, slice(int(first), int(last)))
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
        self.model_index = np.zeros(rows, np.int32)
        self.classes: list[str] = []
        self.models: list[str] = []

    def put(self, here: Any, scorer: Scorer, scored: Any) -> None:
        self.score[here] = scored.score
        self.novelty[here] = scored.novelty
        self.p_value[here] = scored.p_value
        self.suspect[here] = scored.suspect
        self.class_index[here] = scored.class_index + len(self.classes)
        self.model_index[here] = len(self.models)
        self.classes += scorer.model.classes
        self.models.append(scorer.model.id)


def _scored(batch: pa.RecordBatch, out: _Columns, here: slice) -> pa.RecordBatch:
    features = batch.column("features")
    added = {
        "score": pa.array(out.score[here]),
        "class": _take(out.classes, out.class_index[here]),
        "novelty": pa.array(out.novelty[here]),
        "p_value": pa.array(out.p_value[here]),
        "suspect": pa.array(out.suspect[here]),
        "model": _take(out.models, out.model_index[here]),
        "features": features,
    }
    schema = arrow_schema("scored", features.type.list_size)
    return pa.RecordBatch.from_arrays(
        [added[name] if name in added else batch.column(name) for name in schema.names], schema=schema
    )


def _take(names: Sequence[str], indices: npt.NDArray[np.int32]) -> pa.Array:
    return pa.array(names, pa.string()).take(pa.array(indices))


def _origins(batches: Sequence[pa.RecordBatch]) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.int64]]:
    """The distinct `site/sensor` of all rows, and which of them each row is from."""
    known: dict[SensorName, int] = {}
    numbers = []
    for batch in batches:
        names, number = sensors_of(batch)
        numbers.append(np.array([known.setdefault(name, len(known)) for name in names], np.int64)[number])
    return np.array(["/".join(name) for name in known], np.str_), np.concatenate(numbers)
