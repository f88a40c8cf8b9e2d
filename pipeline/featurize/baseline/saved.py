"""A baseline as numbers and arrays and back, for snapshots: the same baseline gives the same bytes, however it grew."""

from collections.abc import Mapping

import numpy as np

from pipeline.featurize.baseline import kinds as of_kinds
from pipeline.featurize.baseline.coordinates import WIDTH
from pipeline.featurize.baseline.kinds import FEATURES, Kinds
from pipeline.featurize.baseline.learning import BINS, CLOCK
from pipeline.featurize.baseline.phases import HISTORY, Blocks
from pipeline.featurize.baseline.recurrence import CELLS
from pipeline.featurize.baseline.relations import Relations
from pipeline.featurize.baseline.sensor_baseline import Baseline
from pipeline.featurize.windows.saved import Array, Arrays
from pipeline.featurize.windows.tables import EVICTED, KEY, USED, with_keys

_SHAPES: dict[str, tuple[int | None, ...]] = {
    "clock": (CLOCK,),
    "blocks": (3, HISTORY),
    "histogram": (2, BINS),
    "kinds.points": (None, FEATURES),
    "kinds.cells": (None, CELLS),
    "kinds.counts": (4,),
    "relations.keys": (None,),
    "relations.cells": (None, CELLS),
    "relations.counts": (4,),
}


def baseline_out(baseline: Baseline) -> Arrays:
    """What there is to save, by name."""
    kinds, relations = baseline.kinds, baseline.relations
    known, related = int(kinds.counts[of_kinds.USED]), int(relations.table.cells[0, USED])
    return {
        "clock": baseline.clock,
        "blocks": np.stack(baseline.blocks),
        "histogram": baseline.histogram,
        "kinds.points": kinds.points[:known, :FEATURES].view(np.uint8),
        "kinds.cells": kinds.cells[:known],
        "kinds.counts": kinds.counts,
        "relations.keys": relations.table.cells[1 : related + 1, KEY],
        "relations.cells": relations.cells[1 : related + 1],
        "relations.counts": np.append(relations.counts, relations.table.cells[0, EVICTED]),
    }


def baseline_in(arrays: Mapping[str, Array]) -> Baseline:
    """The baseline that was saved; KeyError or ValueError where the arrays are none."""
    for name, shape in _SHAPES.items():
        got = arrays[name].shape
        if len(got) != len(shape) or any(size not in (None, given) for size, given in zip(shape, got, strict=True)):
            raise ValueError(f"{name} of shape {got}, expected {shape}")
    keys, counts = arrays["relations.keys"], arrays["relations.counts"]
    points = np.zeros((max(len(arrays["kinds.points"]), 1), WIDTH), np.int8)
    points[: len(arrays["kinds.points"]), :FEATURES] = arrays["kinds.points"].view(np.int8)
    cells = np.zeros((max(len(keys), 1) + 1, CELLS), np.int32)
    cells[1 : len(keys) + 1] = arrays["relations.cells"]
    kinds = np.zeros((len(points), CELLS), np.int32)
    kinds[: len(arrays["kinds.cells"])] = arrays["kinds.cells"]
    return Baseline(
        arrays["clock"],
        Blocks(*arrays["blocks"]),
        arrays["histogram"],
        Kinds(points, kinds, arrays["kinds.counts"]),
        Relations(with_keys(keys, int(counts[3])), cells, counts[:3].copy()),
    )
