"""A baseline as arrays and back, for snapshots: the same baseline gives the same bytes, however it grew.

At its bounds it takes up 121 kB: 512 kinds of 75 + 24 bytes, 2,048 relations of 8 + 24 + 4 + 8 bytes, 512 names.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from pipeline.featurize.baseline import kinds as of_kinds
from pipeline.featurize.baseline.book import NOT_NOTED, Book
from pipeline.featurize.baseline.coordinates import WIDTH
from pipeline.featurize.baseline.keys import OUTSIDE
from pipeline.featurize.baseline.kinds import FEATURES, Kinds
from pipeline.featurize.baseline.learning import BINS, CLOCK
from pipeline.featurize.baseline.phases import HISTORY, Blocks
from pipeline.featurize.baseline.recurrence import (
    BECAME_BLOCK,
    BLOCKS,
    CELLS,
    FIRST_S,
    IS_SILENT,
    KIND,
    LARGEST,
    LAST_BLOCK,
    LAST_S,
    LONGEST_S,
    OTHERS,
    USUAL,
)
from pipeline.featurize.baseline.relations import ENDS, SOURCE, TARGET, WHAT, Relations
from pipeline.featurize.baseline.sensor_baseline import Baseline
from pipeline.featurize.windows.saved import Array, Arrays
from pipeline.featurize.windows.tables import EVICTED, KEY, USED, with_keys

_PACKED = 6
_SHAPES: dict[str, tuple[int | None, ...]] = {
    "clock": (CLOCK,),
    "blocks": (3, HISTORY),
    "histogram": (2, BINS),
    "kinds.points": (None, FEATURES),
    "kinds.cells": (None, _PACKED),
    "kinds.counts": (4,),
    "relations.keys": (None,),
    "relations.cells": (None, _PACKED),
    "relations.ends": (None, 2),
    "relations.what": (None,),
    "relations.counts": (4,),
    "book.keys": (None,),
    "book.names": (None,),
}
_NOBODY, _OUTSIDE, _NOT_NOTED = -1, -2, -3
"""Ends that are no number of a name; an end without a name loses its key, as nothing is ever looked up by it."""


def baseline_out(baseline: Baseline) -> Arrays:
    """What there is to save, by name."""
    kinds, relations = baseline.kinds, baseline.relations
    known, related = int(kinds.counts[of_kinds.USED]), int(relations.table.cells[0, USED])
    ends = relations.ends[1 : related + 1]
    names = sorted(baseline.book)
    return {
        "clock": baseline.clock,
        "blocks": np.stack(baseline.blocks),
        "histogram": baseline.histogram,
        "kinds.points": kinds.points[:known, :FEATURES].view(np.uint8),
        "kinds.cells": _packed(kinds.cells[:known]),
        "kinds.counts": kinds.counts,
        "relations.keys": relations.table.cells[1 : related + 1, KEY],
        "relations.cells": _packed(relations.cells[1 : related + 1]),
        "relations.ends": _numbered(ends[:, [SOURCE, TARGET]], names),
        "relations.what": ends[:, WHAT],
        "relations.counts": np.append(relations.counts, relations.table.cells[0, EVICTED]),
        "book.keys": np.array(names, np.uint64),
        "book.names": np.frombuffer("\n".join(baseline.book[key] for key in names).encode(), np.uint8),
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
    kinds = np.zeros((len(points), CELLS), np.int32)
    kinds[: len(arrays["kinds.cells"])] = _unpacked(arrays["kinds.cells"])
    cells = np.zeros((max(len(keys), 1) + 1, CELLS), np.int32)
    cells[1 : len(keys) + 1] = _unpacked(arrays["relations.cells"])
    names = arrays["book.keys"]
    ends = np.zeros((len(cells), ENDS), np.uint64)
    ends[1 : len(keys) + 1, [SOURCE, TARGET]] = _keys(arrays["relations.ends"], names)
    ends[1 : len(keys) + 1, WHAT] = arrays["relations.what"]
    return Baseline(
        arrays["clock"],
        Blocks(*arrays["blocks"]),
        arrays["histogram"],
        Kinds(points, kinds, arrays["kinds.counts"]),
        Relations(with_keys(keys, int(counts[3])), cells, ends, counts[:3].copy()),
        _book(names, arrays["book.names"]),
    )


def _packed(cells: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """(n, 6): times as they are, counts of blocks and flags two to four in one."""
    half = np.minimum(cells[:, [BLOCKS, LAST_BLOCK, BECAME_BLOCK, LONGEST_S]], 0x7FFF)
    return np.column_stack(
        (
            cells[:, FIRST_S],
            cells[:, LAST_S],
            half[:, 0] << 16 | (half[:, 1] & 0xFFFF),
            half[:, 2] << 16 | half[:, 3],
            cells[:, USUAL] | cells[:, IS_SILENT] << 1 | cells[:, LARGEST] << 2 | cells[:, KIND] << 9,
            cells[:, OTHERS],
        )
    ).astype(np.int32)


def _unpacked(packed: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    cells = np.zeros((len(packed), CELLS), np.int32)
    cells[:, FIRST_S], cells[:, LAST_S] = packed[:, 0], packed[:, 1]
    cells[:, BLOCKS], cells[:, LAST_BLOCK] = packed[:, 2] >> 16, (packed[:, 2] & 0xFFFF).astype(np.int16)
    cells[:, BECAME_BLOCK], cells[:, LONGEST_S] = packed[:, 3] >> 16, packed[:, 3] & 0xFFFF
    cells[:, USUAL], cells[:, IS_SILENT] = packed[:, 4] & 1, packed[:, 4] >> 1 & 1
    cells[:, LARGEST], cells[:, KIND] = packed[:, 4] >> 2 & 0x7F, packed[:, 4] >> 9
    cells[:, OTHERS] = packed[:, 5]
    return cells


def _numbered(ends: npt.NDArray[np.uint64], names: list[int]) -> npt.NDArray[np.int32]:
    """Keys of addresses as numbers of names."""
    known = np.array([*names, 0], np.uint64)
    at = np.minimum(np.searchsorted(known[:-1], ends), max(len(names) - 1, 0))
    number = np.where(known[at] == ends, at, _NOT_NOTED) if names else np.full(ends.shape, _NOT_NOTED)
    return np.where(ends == 0, _NOBODY, np.where(ends == OUTSIDE, _OUTSIDE, number)).astype(np.int32)


def _keys(numbers: npt.NDArray[np.int32], names: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    if len(numbers) and not (numbers.min() >= _NOT_NOTED and numbers.max() < len(names)):
        raise ValueError(f"ends up to {numbers.max()} of {len(names)} names")
    special = {_NOBODY: np.uint64(0), _OUTSIDE: OUTSIDE, _NOT_NOTED: NOT_NOTED}
    keys = np.array([*names, 0], np.uint64)[np.maximum(numbers, 0)]
    for number, key in special.items():
        keys[numbers == number] = key
    return keys


def _book(keys: npt.NDArray[np.uint64], names: Array) -> Book:
    words = names.tobytes().decode().split("\n") if len(keys) else []
    return dict(zip(keys.tolist(), words, strict=True))
