"""What an incident remembers of its flows' features: extremes of all, and a fair sample for the median."""

import base64
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.runtime.hashing import GOLDEN, mix64
from pipeline.runtime.wire.batches import matrix

SAMPLE_ROWS = 64

Matrix = npt.NDArray[np.float32]


class FlowFeatures(NamedTuple):
    """Features of n flows, to draw from. values: (n, F). ranks: (n,) see `position_rank`."""

    values: Matrix
    ranks: npt.NDArray[np.uint64]

    @classmethod
    def of(cls, rows: pa.RecordBatch) -> "FlowFeatures":
        """Those of the rows (schema `scored`); without the column of features, of no flow."""
        if rows.schema.get_field_index("features") < 0:
            return cls(np.empty((0, 0), np.float32), np.empty(0, np.uint64))
        return cls(matrix(rows), position_rank(rows))

    def cut(self, of: slice) -> "FlowFeatures":
        """Those of some of the flows."""
        return FlowFeatures(self.values[of], self.ranks[of])


@dataclass(frozen=True, slots=True)
class FeatureSample:
    """Features of an incident's flows.

    ranks: (rows,) uint64, ascending; the 64 flows whose hashed raw position is lowest, so any split of the flows into
    batches keeps the same ones. values: (rows, F).
    lowest, highest: (F,) over all flows; NaN where no flow has a number.
    """

    ranks: npt.NDArray[np.uint64]
    values: Matrix
    lowest: npt.NDArray[np.float32]
    highest: npt.NDArray[np.float32]

    @classmethod
    def empty(cls) -> "FeatureSample":
        """A sample of no flows."""
        nothing = np.empty(0, np.float32)
        return cls(np.empty(0, np.uint64), np.empty((0, 0), np.float32), nothing, nothing)

    def add(self, flows: FlowFeatures) -> "FeatureSample":
        """The sample with these flows added."""
        values, ranks = flows
        if not len(values):
            return self
        if values.shape[1] != self.values.shape[1] and len(self.values):
            # A model with another feature set took over while the incident was open: the explanation starts anew.
            return FeatureSample.empty().add(flows)
        lowest = np.fmin.reduce(values, axis=0)
        highest = np.fmax.reduce(values, axis=0)
        if len(self.values):
            ranks = np.concatenate([self.ranks, ranks])
            values = np.concatenate([self.values, values])
            lowest, highest = np.fmin(self.lowest, lowest), np.fmax(self.highest, highest)
        retained = np.argsort(ranks, kind="stable")[:SAMPLE_ROWS]
        return FeatureSample(ranks[retained], np.ascontiguousarray(values[retained]), lowest, highest)

    def as_document(self) -> dict[str, Any]:
        """The sample as JSON values: bytes in base64, little-endian."""
        return {
            "width": self.values.shape[1],
            "ranks": _text(self.ranks),
            "values": _text(self.values),
            "lowest": _text(self.lowest),
            "highest": _text(self.highest),
        }

    @classmethod
    def of_document(cls, document: dict[str, Any]) -> "FeatureSample":
        """The sample that `as_document` wrote."""
        values = _array(document["values"], "<f4").reshape(-1, document["width"]) if document["width"] else None
        return cls(
            _array(document["ranks"], "<u8"),
            np.empty((0, 0), np.float32) if values is None else values,
            _array(document["lowest"], "<f4"),
            _array(document["highest"], "<f4"),
        )


def position_rank(rows: pa.RecordBatch) -> npt.NDArray[np.uint64]:
    """A hash of each row's raw position (splitmix64's finish), for drawing a sample that depends on nothing else."""
    with np.errstate(over="ignore"):
        mixed = rows.column("raw_offset").to_numpy().astype(np.uint64) * GOLDEN
        mixed ^= rows.column("raw_index").to_numpy().astype(np.uint64) * np.uint64(0xD6E8FEB86659FD93)
        mixed += rows.column("raw_partition").to_numpy().astype(np.uint64)
        return mix64(mixed)


def _text(values: npt.NDArray[Any]) -> str:
    return base64.b64encode(values.astype(values.dtype.newbyteorder("<")).tobytes()).decode("ascii")


def _array(text: str, kind: str) -> npt.NDArray[Any]:
    return np.frombuffer(base64.b64decode(text), kind).copy()
