"""A candidate: labelled samples and base rows in, a model beside the current one and a comparison of both out.

The newest part of the labelled samples, in event time, is held out from training behind an embargo; neither model has
seen it. Rows without a label, whatever their score, are not used. The same rows and labels give the same candidate.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from models.errors import RefusedModel
from models.igan.config import IganConfig
from models.rows import FeatureSet, Mask, Rows, concatenate, held_out_blocks
from models.serving import registry
from models.serving.model import Model
from models.serving.score import Scorer
from models.training import train
from pipeline.contracts.uids import RAW_POSITION, ROW_BY_POSITION, ROW_BY_SOURCE_RECORD
from pipeline.contracts.verdicts import Record
from pipeline.errors import BadData, Failed, RefusedState
from pipeline.retrain.compare import Comparison, Figures, Gates, Known, compare, figures, known
from pipeline.retrain.labels import Labels
from pipeline.retrain.verdict_weight import VerdictWeight, counts_of
from pipeline.runtime.wire.batches import matrix

HELD_OUT_SHARE = 0.3
EMBARGO_US = 60_000_000
KEYS = tuple(dict.fromkeys((*ROW_BY_POSITION, *ROW_BY_SOURCE_RECORD)))
LABELLED = "labelled samples"
# People named in a manifest; the labels of further people are summed up as "others".
MAX_NAMES = 100


@dataclass(frozen=True, slots=True)
class Labelled:
    """Samples with a label, as rows in order of event time, and what became of the labels."""

    rows: Rows
    by: Mapping[str, int]
    """How many rows each person or file has labelled."""
    verdicts: Mapping[str, tuple[int, int]]
    """How many rows each verdict labels, by id, and how often they count in all."""
    counts: npt.NDArray[np.int64]
    """(n,) how often each row counts where the network is fitted."""
    weight: VerdictWeight
    digest: str
    """SHA-256 of raw positions, labels and counts."""
    conflicting: int
    """Samples that were given two different labels, and so have none."""


@dataclass(frozen=True, slots=True)
class PlantRows:
    """Rows every candidate is trained on, and what they are, for the manifest."""

    rows: Rows | None
    data: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A trained candidate, where it lies in the registry, and how it compares."""

    model: Model
    folder: registry.Location
    comparison: Comparison
    trained_on: int
    held_out: int


def labelled_rows(samples: pa.Table, labels: Labels, weight: VerdictWeight | None = None) -> Labelled:
    """The samples that have a label, and how often each counts; weight: of a verdict, as shipped by default."""
    if samples.num_rows == 0:
        raise BadData(
            f"no sample has a label ({len(labels)} labels given, {labels.unusable} verdicts could not be used); "
            "give verdicts (`forebay alert verdict`) or a label file that name flows in the sample"
        )
    applied = labels.apply(samples)
    chosen = np.flatnonzero(applied.label != "")
    if chosen.size == 0:
        raise BadData(
            f"no sample has a label that counts: {int(applied.conflicting.sum())} have two different ones; "
            "correct the verdicts or the label file"
        )
    labelled = samples.take(pa.array(chosen)).combine_chunks()
    label = applied.label[chosen]
    positions = np.stack([labelled.column(name).to_numpy().astype("<i8") for name in RAW_POSITION])
    rows = Rows(
        matrix=np.ascontiguousarray(matrix(labelled.to_batches()[0])),
        label=label,
        site=np.array(labelled.column("site").to_pylist(), dtype=np.str_),
        sensor=np.array(labelled.column("sensor").to_pylist(), dtype=np.str_),
        start_ts_us=labelled.column("start_ts_us").to_numpy().astype(np.int64),
        end_ts_us=labelled.column("end_ts_us").to_numpy().astype(np.int64),
        # Samples need not come from a file: their number here distinguishes them as well.
        source_record=chosen.astype(np.int64),
        replay=np.zeros(chosen.size, np.int64),
    )
    weight, verdict = weight or VerdictWeight(), applied.verdict[chosen]
    counts = counts_of(verdict, positions, weight)
    names, of_row, rows_of = np.unique(verdict, return_inverse=True, return_counts=True)
    counted = zip(rows_of.tolist(), np.bincount(of_row, counts).astype(np.int64).tolist(), strict=True)
    return Labelled(
        rows,
        _counted(applied.by[chosen]),
        {name: both for name, both in zip(names.tolist(), counted, strict=True) if name},
        counts,
        weight,
        hashlib.sha256(
            positions.tobytes() + "\n".join(label.tolist()).encode() + counts.astype("<i8").tobytes()
        ).hexdigest(),
        int(applied.conflicting.sum()),
    )


def _counted(names: npt.NDArray[np.str_]) -> dict[str, int]:
    distinct, counts = np.unique(names, return_counts=True)
    return dict(zip(distinct.tolist(), counts.tolist(), strict=True))


def provenance(labelled: Labelled, labels: Labels) -> dict[str, Any]:
    """What the labelled samples are and whose labels they have, for the manifest."""
    named = sorted(labelled.by.items(), key=lambda item: (-item[1], item[0]))
    weighty = sorted(labelled.verdicts.items(), key=lambda item: (-item[1][0], item[0]))
    others = sum(count for _, count in named[MAX_NAMES:])
    kinds, counts = np.unique(labelled.rows.label, return_counts=True)
    return {
        "name": LABELLED,
        "sha256": labelled.digest,
        "rows": len(labelled.rows),
        "labels": dict(zip(kinds.tolist(), counts.tolist(), strict=True)),
        "by": dict(named[:MAX_NAMES]) | ({"others": others} if others else {}),
        "verdicts": [_of_verdict(labels.given[name], *rows) for name, rows in weighty[:MAX_NAMES]],
        "more_verdicts": len(weighty[MAX_NAMES:]),
        "verdict_weight": asdict(labelled.weight),
        "conflicting": labelled.conflicting,
        "overruled": labels.overruled,
        "undone": labels.undone,
        "unusable": labels.unusable,
    }


def _of_verdict(verdict: Record, rows: int, count: int) -> dict[str, Any]:
    """Who said it when, of which incident, with which scope, how many rows it labels, and how often they count."""
    names = ("id", "uid", "verdict", "by", "at_us", "scope")
    return {name: verdict[name] for name in names} | {"rows": rows, "count": count}


def has_seen(model: Model, labelled: Labelled) -> bool:
    """Whether these samples with these labels are what the model was made from."""
    return any(entry.get("sha256") == labelled.digest for entry in model.document["data"])


def split_in_time(end_ts_us: npt.NDArray[np.int64]) -> tuple[Mask, Mask]:
    """(n,) rows to train on and rows to hold out: the newest, which end an embargo after the others."""
    border_us = border_us_of(end_ts_us) if len(end_ts_us) else 0.0
    return end_ts_us < border_us - EMBARGO_US, end_ts_us >= border_us


def border_us_of(end_ts_us: npt.NDArray[np.int64]) -> float:
    """The event time from which on rows (n,), n > 0, are held out: the newest HELD_OUT_SHARE of them."""
    return float(np.quantile(end_ts_us, 1 - HELD_OUT_SHARE))


def assess(model: Model, rows: Rows, device: str) -> Figures:
    """A model's figures on rows, with its own thresholds."""
    attack = is_attack(rows, model.config)
    if len(rows) == 0:
        return figures(np.empty(0), np.empty(0, np.bool_), attack)
    scored = Scorer(model, device).score(rows.matrix, rows.end_ts_us, rows.origin)
    return figures(scored.score, scored.suspect, attack)


def assess_known(model: Model, rows: Rows, device: str) -> Known:
    """A model's figures on rows with labels beyond doubt."""
    benign = model.classes[: model.config.benign]
    if len(rows) == 0:
        return known(np.empty(0, np.bool_), rows.label, benign)
    scored = Scorer(model, device).score(rows.matrix, rows.end_ts_us, rows.origin)
    return known(scored.suspect, rows.label, benign)


def is_attack(rows: Rows, config: IganConfig) -> npt.NDArray[np.bool_]:
    """Rows labelled as anything but benign traffic."""
    return ~np.isin(rows.label, config.classes[: config.benign])


def make(
    labelled: Labelled,
    labels: Labels,
    base: PlantRows,
    features: FeatureSet,
    current: Model,
    folder: registry.Registry,
    gates: Gates,
    device: str = "cpu",
    refitted: Callable[[Model], Model] = lambda model: model,
) -> Candidate:
    """Train a candidate as the current model was, put it into the registry, and compare both on what neither has seen.

    refitted : what gives it calibrations that no labelled rows give: those fitted to sensors' usual rows.

    Failed, or RefusedState, where the rows are too few to train on.
    """
    to_learn, newest = split_in_time(labelled.rows.end_ts_us)
    to_learn &= labelled.counts > 0
    learn, held_out = labelled.rows.take(to_learn), labelled.rows.take(newest)
    if len(learn) == 0:
        raise Failed(
            f"{len(labelled.rows)} labelled samples: once the newest {HELD_OUT_SHARE:.0%} and {EMBARGO_US / 1e6:g} s "
            "before them are held out, none is left to train on; give labels over a longer period"
        )
    rows, certain = _training_rows(base.rows, learn, current.config)
    try:
        model = train.train(
            rows,
            features,
            current.config,
            data=[*base.data, provenance(labelled, labels)],
            command="forebay retrain now",
            parent=current.id,
            counts=np.concatenate([np.ones(len(rows) - len(learn), np.int64), labelled.counts[to_learn]]),
        )
    except RefusedModel as error:
        raise RefusedState(str(error)) from error
    model = refitted(model)
    saved = registry.save(model, folder)
    comparison = compare(
        assess(current, held_out, device),
        assess(model, held_out, device),
        is_attack(held_out, current.config),
        gates,
        assess_known(current, certain, device),
        assess_known(model, certain, device),
        sorted(set(current.origins) - set(model.origins)),
    )
    return Candidate(model, saved, comparison, len(learn), len(held_out))


def _training_rows(base: Rows | None, learn: Rows, config: IganConfig) -> tuple[Rows, Rows]:
    """Rows to train on, and those of the base whose labels are beyond doubt and that training holds out."""
    if base is None:
        return learn, learn.take(np.zeros(len(learn), np.bool_))
    # One number a flow and origin: samples are no flows of the base, whatever their number was.
    beyond = int(base.source_record.max(initial=-1)) + 1
    rows = concatenate([base, replace(learn, source_record=learn.source_record + beyond)])
    _, held_out = held_out_blocks(rows.end_ts_us, config.block_us, config.hold_out_every, config.embargo_us)
    return rows, base.take(held_out[: len(base)] & ~np.isin(base.label, config.coarse))
