"""Where a scored batch goes: all of it to the archive, the suspects to alert, a sample to retraining."""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.contracts.class_names import NORMAL
from pipeline.contracts.sample_shares import NORMAL_ONE_IN, OTHER_ONE_IN, suspects_one_in
from pipeline.contracts.uids import RAW_POSITION
from pipeline.runtime.even_sample import evenly
from pipeline.runtime.hashing import splitmix64
from pipeline.runtime.wire.batches import empty, taken


class Routed(NamedTuple):
    """The three batches, all of the scored batch's schema, rows in its order."""

    suspects: pa.RecordBatch
    archive: pa.RecordBatch
    retrain: pa.RecordBatch


def route(scored: pa.RecordBatch) -> Routed:
    """Route a scored batch (schema `scored`).

    suspects: rows with `suspect`. archive: every row. retrain: the suspects, of a flood a share of them, and a sample
    of the rest, stratified by site and class. Which rows are sampled depends on their raw positions, and the share of a
    flood on how many suspects the message has: whoever reads the same messages samples the same rows.
    """
    suspect = _suspect(scored)
    retrain = np.where(suspect, suspects_sent(scored, suspect), sampled(scored))
    return Routed(_where(scored, suspect), scored, _where(scored, retrain))


def suspects_sent(scored: pa.RecordBatch, suspect: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """(n,) of a message's rows, suspects or not (n,), those that retraining gets where they are suspects."""
    one_in = suspects_one_in(int(np.count_nonzero(suspect)))
    if one_in == 1:
        return np.ones(len(scored), np.bool_)
    position = {name: scored.column(name).to_numpy() for name in RAW_POSITION}
    return evenly(position, np.full(len(scored), one_in, np.uint64))


def sent_anyhow(samples: pa.RecordBatch) -> npt.NDArray[np.bool_]:
    """(n,) of rows sent to retraining, those that are sent however the log was cut into messages."""
    position = {name: samples.column(name).to_numpy() for name in RAW_POSITION}
    fewest = np.full(len(samples), NORMAL_ONE_IN, np.uint64)  # of a flood's suspects never fewer
    return ~_suspect(samples) | evenly(position, fewest)


def suspects_of(scored: pa.RecordBatch) -> pa.RecordBatch:
    """The rows with `suspect` alone."""
    return _where(scored, _suspect(scored))


def _where(rows: pa.RecordBatch, chosen: npt.NDArray[np.bool_]) -> pa.RecordBatch:
    """The rows chosen; none, all and neighbours, which calm, floods and trickles make common, without a copy."""
    indices = np.flatnonzero(chosen)
    if not len(indices):
        return empty("scored", rows.schema.field("features").type.list_size)
    return rows if len(indices) == len(rows) else taken(rows, indices)


def sampled(scored: pa.RecordBatch) -> npt.NDArray[np.bool_]:
    """(n,) whether a row's hash falls into its stratum's share."""
    salt, one_in = _strata(scored)
    hashed = splitmix64(_numpy(scored.column("raw_offset")).astype(np.uint64))
    hashed = splitmix64(hashed ^ _numpy(scored.column("raw_index")).astype(np.uint64))
    hashed = splitmix64(hashed ^ _numpy(scored.column("raw_partition")).astype(np.uint64))
    # Each stratum gets a stream of its own: two sites whose records come in lockstep are not sampled in lockstep.
    hashed = splitmix64(hashed ^ salt)
    keep: npt.NDArray[np.bool_] = hashed % one_in == 0
    return keep


def _strata(scored: pa.RecordBatch) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """(n,) each: the salt of a row's stratum, and how many rows its class has one sampled of."""
    site, name = scored.column("site").dictionary_encode(), scored.column("class").dictionary_encode()
    sites, names = site.dictionary.to_pylist(), name.dictionary.to_pylist()
    code = _numpy(site.indices).astype(np.int64) * len(names) + _numpy(name.indices)
    salt_of = np.zeros(len(sites) * len(names), np.uint64)
    for stratum in np.flatnonzero(np.bincount(code)).tolist():  # those there are, not each site with each class
        salt_of[stratum] = _salt(f"{sites[stratum // len(names)]}/{names[stratum % len(names)]}")
    one_in_of = np.array([NORMAL_ONE_IN if each == NORMAL else OTHER_ONE_IN for each in names], np.uint64)
    return salt_of[code], one_in_of[_numpy(name.indices)]


@lru_cache(maxsize=4096)
def _salt(name: str) -> int:
    """FNV-1a of a stratum's name: Python's own hash differs from run to run."""
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value


def _suspect(scored: pa.RecordBatch) -> npt.NDArray[np.bool_]:
    values: npt.NDArray[np.bool_] = _numpy(scored.column("suspect"))
    return values


def _numpy(column: pa.Array) -> npt.NDArray[Any]:
    values: npt.NDArray[Any] = column.to_numpy(zero_copy_only=False)
    return values
