"""A candidate: labelled samples and base rows in, a model beside the current one and a comparison of both out.

The newest part of the labelled samples, in event time, is held out from training behind an embargo; neither model has
seen it. Rows without a label, whatever their score, are not used.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from models import registry, train
from models.igan.config import IganConfig
from models.model import Model
from models.rows import FeatureSet, Rows, concatenate
from models.score import Scorer
from pipeline.errors import BadData
from pipeline.retrain.compare import Comparison, Figures, Gates, compare, figures
from pipeline.retrain.labels import Labels
from pipeline.wire.batches import matrix

HELD_OUT_SHARE = 0.3
EMBARGO_US = 60_000_000
POSITION = ("raw_partition", "raw_offset", "raw_index")
RECORD = ("site", "sensor", "source_record")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A trained candidate, where it is kept, and how it compares."""

    model: Model
    folder: Path
    comparison: Comparison
    labelled: int
    held_out: int


def labelled_rows(samples: pa.Table, labels: Labels) -> Rows:
    """The samples that have a label, as training rows in order of event time."""
    verdicts = _as_table(POSITION, [(*key, label) for key, label in labels.by_position.items()])
    filed = _as_table(RECORD, [(*key, label) for key, label in labels.by_record.items()])
    # A join cannot carry the feature matrix along: join the keys, then take the rows by their number.
    keys = samples.select([*POSITION, *RECORD]).append_column("row", pa.array(np.arange(samples.num_rows)))
    rows: dict[int, str] = {}
    for table, key in ((filed, RECORD), (verdicts, POSITION)):
        found = keys.join(table, list(key), join_type="inner")
        rows.update(zip(found.column("row").to_pylist(), found.column("label").to_pylist(), strict=True))
    chosen = np.array(sorted(rows), dtype=np.int64)
    batch = samples.take(pa.array(chosen)).combine_chunks().to_batches() if chosen.size else []
    values = matrix(batch[0]) if batch else np.empty((0, 0), np.float32)
    taken = samples.take(pa.array(chosen))
    return Rows(
        matrix=np.ascontiguousarray(values),
        label=np.array([rows[int(row)] for row in chosen], dtype=np.str_),
        site=np.array(taken.column("site").to_pylist(), dtype=np.str_),
        sensor=np.array(taken.column("sensor").to_pylist(), dtype=np.str_),
        end_ts_us=taken.column("end_ts_us").to_numpy().astype(np.int64),
        # Samples need not come from a file: their number here tells them apart as well.
        source_record=chosen,
        replay=np.zeros(chosen.size, np.int64),
    )


def _as_table(names: tuple[str, ...], entries: list[tuple[object, ...]]) -> pa.Table:
    types = {"raw_partition": pa.int32(), "raw_index": pa.int32(), "site": pa.string(), "sensor": pa.string()}
    columns = list(zip(*entries, strict=True)) if entries else [()] * (len(names) + 1)
    arrays = [pa.array(column, types.get(name, pa.int64())) for name, column in zip(names, columns, strict=False)]
    return pa.table([*arrays, pa.array(columns[-1], pa.string())], names=[*names, "label"])


def hold_out(rows: Rows, share: float = HELD_OUT_SHARE, embargo_us: int = EMBARGO_US) -> tuple[Rows, Rows]:
    """Split in time: rows to train on, and the newest `share` of the rows, which end an embargo after the others."""
    if len(rows) == 0:
        return rows, rows
    border_us = np.quantile(rows.end_ts_us, 1 - share)
    return rows.take(rows.end_ts_us < border_us - embargo_us), rows.take(rows.end_ts_us >= border_us)


def assess(model: Model, rows: Rows, device: str) -> Figures:
    """A model's figures on rows, with its own thresholds."""
    attack = is_attack(rows)
    if len(rows) == 0:
        return figures(np.empty(0), np.empty(0, np.bool_), attack)
    scored = Scorer(model, device).score(rows.matrix, rows.end_ts_us, rows.origin)
    return figures(scored.score, scored.suspect, attack)


def is_attack(rows: Rows) -> npt.NDArray[np.bool_]:
    """Rows labelled as anything but normal traffic."""
    return np.asarray(rows.label != "normal", dtype=np.bool_)


def make(
    samples: pa.Table,
    labels: Labels,
    base: Rows,
    features: FeatureSet,
    current: Model,
    folder: Path,
    gates: Gates,
    device: str = "cpu",
    config: IganConfig | None = None,
) -> Candidate:
    """Train a candidate, put it into the registry, and compare it with the current model on what neither has seen."""
    labelled = labelled_rows(samples, labels)
    if len(labelled) == 0:
        raise BadData(
            f"none of {samples.num_rows} samples has a label ({len(labels)} labels given); "
            "give verdicts (`forebay alert verdict`) or a label file that name flows in the sample"
        )
    learn, held = hold_out(labelled)
    digest = hashlib.sha256("\n".join(labels.provenance).encode()).hexdigest()
    data = [*current.document["data"], {"name": f"labelled samples, {len(learn)} rows", "sha256": digest}]
    model = train.train(
        concatenate([base, learn]),
        features,
        config or IganConfig(),
        data=data,
        command="forebay retrain now",
        parent=current.id,
    )
    saved = registry.save(model, folder)
    result = compare(assess(current, held, device), assess(model, held, device), is_attack(held), gates)
    return Candidate(model, saved, result, len(labelled), len(held))
