"""Where a scored batch goes: all of it to the archive, the suspects to alert, a sample to retraining."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.contracts.class_names import NORMAL
from pipeline.contracts.sample_shares import NORMAL_ONE_IN, OTHER_ONE_IN
from pipeline.runtime.hashing import splitmix64


class Routed(NamedTuple):
    """The three batches, all of the scored batch's schema, rows in its order."""

    suspects: pa.RecordBatch
    archive: pa.RecordBatch
    retrain: pa.RecordBatch


def route(scored: pa.RecordBatch) -> Routed:
    """Route a scored batch (schema `scored`).

    suspects: rows with `suspect`. archive: every row. retrain: the suspects and a sample of the rest, stratified by
    site and class; which rows are sampled depends on their raw positions alone, so every run samples the same ones.
    """
    retrain = pc.or_(scored.column("suspect"), pa.array(sampled(scored)))
    return Routed(suspects_of(scored), scored, scored.filter(retrain))


def suspects_of(scored: pa.RecordBatch) -> pa.RecordBatch:
    """The rows with `suspect` alone."""
    return scored.filter(scored.column("suspect"))


def sampled(scored: pa.RecordBatch) -> npt.NDArray[np.bool_]:
    """(n,) whether a row's hash falls into its stratum's share."""
    one_in = np.where(_numpy(pc.equal(scored.column("class"), NORMAL)), NORMAL_ONE_IN, OTHER_ONE_IN)
    hashed = splitmix64(_numpy(scored.column("raw_offset")).astype(np.uint64))
    hashed = splitmix64(hashed ^ _numpy(scored.column("raw_index")).astype(np.uint64))
    hashed = splitmix64(hashed ^ _numpy(scored.column("raw_partition")).astype(np.uint64))
    # Each stratum gets a stream of its own: two sites whose records come in lockstep are not sampled in lockstep.
    hashed = splitmix64(hashed ^ _stratum(scored))
    keep: npt.NDArray[np.bool_] = hashed % one_in.astype(np.uint64) == 0
    return keep


def _stratum(scored: pa.RecordBatch) -> npt.NDArray[np.uint64]:
    names = pc.binary_join_element_wise(scored.column("site"), scored.column("class"), "/").dictionary_encode()
    salts = np.array([_salt(name.as_py()) for name in names.dictionary], dtype=np.uint64)
    return salts[_numpy(names.indices)] if len(salts) else np.zeros(0, np.uint64)


def _salt(name: str) -> int:
    """FNV-1a of a stratum's name: Python's own hash differs from run to run."""
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value


def _numpy(column: pa.Array) -> npt.NDArray[np.generic]:
    values: npt.NDArray[np.generic] = column.to_numpy(zero_copy_only=False)
    return values
