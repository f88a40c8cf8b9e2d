"""Several records of one industrial conversation as one: counts added up, ranges and lists united."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.fields import arrow_schema

# Unit ids, or function codes, of a row: a scan over all of them must not make rows without a bound.
MAX_LISTED = 64
COUNTS = ("ics_read_cnt", "ics_write_cnt", "ics_control_cnt", "ics_exception_cnt", "ics_quantity")
_MAX_COUNT = 2**32 - 1

Ints = npt.NDArray[np.int64]


def merge_ics(records: pa.RecordBatch, of: Ints, flows: int) -> dict[str, pa.Array]:
    """The ics_ columns of `flows` rows, from records (m rows) that belong to the flows `of` (m,).

    A flow without a known value has nulls. Counts stop at 2³² − 1, lists at MAX_LISTED, the lowest first.
    """
    columns = {name: _added(records.column(name), of, flows) for name in COUNTS}
    columns["ics_addr_min"] = _extreme(records.column("ics_addr_min"), of, flows, least=True)
    columns["ics_addr_max"] = _extreme(records.column("ics_addr_max"), of, flows, least=False)
    columns["ics_proto"] = _first(records.column("ics_proto"), of, flows)
    columns["ics_units"] = _united(records.column("ics_units"), of, flows)
    columns["ics_functions"] = _counted(records.column("ics_functions"), of, flows)
    return columns


def _known(column: pa.Array, of: Ints) -> tuple[Ints, Ints]:
    """The values that are not null, and the flow of each."""
    valid = column.is_valid().to_numpy(zero_copy_only=False)
    return column.drop_null().to_numpy(zero_copy_only=False).astype(np.int64), of[valid]


def _numbers(name: str, values: Ints, known: npt.NDArray[np.bool_]) -> pa.Array:
    kind = arrow_schema("flow").field(name).type
    return pa.array(np.where(known, values, 0).astype(kind.to_pandas_dtype()), kind, mask=~known)


def _added(column: pa.Array, of: Ints, flows: int) -> pa.Array:
    values, flow_of = _known(column, of)
    total = np.zeros(flows, np.int64)
    np.add.at(total, flow_of, values)
    return _numbers("ics_quantity", np.minimum(total, _MAX_COUNT), np.bincount(flow_of, minlength=flows) > 0)


def _extreme(column: pa.Array, of: Ints, flows: int, least: bool) -> pa.Array:
    values, flow_of = _known(column, of)
    extreme = np.full(flows, _MAX_COUNT if least else 0, np.int64)
    (np.minimum if least else np.maximum).at(extreme, flow_of, values)
    return _numbers("ics_addr_min", extreme, np.bincount(flow_of, minlength=flows) > 0)


def _first(column: pa.Array, of: Ints, flows: int) -> pa.Array:
    """The first text of each flow that is not null, in the order of the records."""
    valid = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
    rows = np.full(flows, -1)
    rows[of[valid[::-1]]] = valid[::-1]
    return column.take(pa.array(rows, mask=rows < 0))


def _flat(column: pa.Array, of: Ints) -> tuple[Ints, Ints]:
    """All numbers of a column of lists, and the flow of each."""
    lengths = pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False)
    return np.asarray(pc.list_flatten(column).to_numpy(zero_copy_only=False), np.int64), np.repeat(of, lengths)


def _lists(parts: list[Ints], flow_of: Ints, flows: int) -> pa.Array:
    """Numbers side by side (each of k columns (m,)), the rows of each flow as one list; null where there are none."""
    rank = np.arange(len(flow_of)) - np.searchsorted(flow_of, flow_of)
    listed = rank < MAX_LISTED
    flat = np.column_stack(parts)[listed].reshape(-1).astype(np.uint32)
    counts = np.bincount(flow_of[listed], minlength=flows)
    bounds = np.concatenate(([0], np.cumsum(len(parts) * counts))).astype(np.int32)
    kind = arrow_schema("flow").field("ics_units").type
    return pa.ListArray.from_arrays(pa.array(bounds), pa.array(flat), type=kind, mask=pa.array(counts == 0))


def _united(column: pa.Array, of: Ints, flows: int) -> pa.Array:
    values, flow_of = _flat(column, of)
    distinct = np.unique(np.column_stack([flow_of, values]).reshape(-1, 2), axis=0)
    return _lists([distinct[:, 1]], distinct[:, 0], flows)


def _counted(column: pa.Array, of: Ints, flows: int) -> pa.Array:
    """Lists of code, count, code, count and so on, counts of the same code added up."""
    values, flow_of = _flat(column, of)
    keys = np.column_stack([flow_of[::2], values[::2]]).reshape(-1, 2)
    distinct, which = np.unique(keys, axis=0, return_inverse=True)
    total = np.zeros(len(distinct), np.int64)
    np.add.at(total, which.reshape(-1), values[1::2])
    return _lists([distinct[:, 1], np.minimum(total, _MAX_COUNT)], distinct[:, 0], flows)
