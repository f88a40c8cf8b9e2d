"""What several records say of one industrial conversation, as one: counts added up, ranges and lists united."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.fields import arrow_schema

MOST_LISTED = 64  # unit ids, or function codes, of a row
COUNTS = ("ics_read_cnt", "ics_write_cnt", "ics_control_cnt", "ics_exception_cnt", "ics_quantity")
_MOST = 2**32 - 1

Ints = npt.NDArray[np.int64]


def together(records: pa.RecordBatch, of: Ints, flows: int) -> dict[str, pa.Array]:
    """The ics_ columns of `flows` rows, from records (m rows) that belong to the flows `of` (m,).

    A flow of which nothing is said has nulls. Counts stop at 2³² − 1, lists at MOST_LISTED, the lowest first.
    """
    columns = {name: _added(records.column(name), of, flows) for name in COUNTS}
    columns["ics_addr_min"] = _extreme(records.column("ics_addr_min"), of, flows, least=True)
    columns["ics_addr_max"] = _extreme(records.column("ics_addr_max"), of, flows, least=False)
    columns["ics_proto"] = _first(records.column("ics_proto"), of, flows)
    columns["ics_units"] = _united(records.column("ics_units"), of, flows)
    columns["ics_functions"] = _counted(records.column("ics_functions"), of, flows)
    return columns


def _told(column: pa.Array, of: Ints) -> tuple[Ints, Ints]:
    """The values that are there, and whose they are."""
    valid = column.is_valid().to_numpy(zero_copy_only=False)
    return column.drop_null().to_numpy(zero_copy_only=False).astype(np.int64), of[valid]


def _numbers(name: str, values: Ints, told: npt.NDArray[np.bool_]) -> pa.Array:
    kind = arrow_schema("flow").field(name).type
    return pa.array(np.where(told, values, 0).astype(kind.to_pandas_dtype()), kind, mask=~told)


def _added(column: pa.Array, of: Ints, flows: int) -> pa.Array:
    values, whose = _told(column, of)
    total = np.zeros(flows, np.int64)
    np.add.at(total, whose, values)
    return _numbers("ics_quantity", np.minimum(total, _MOST), np.bincount(whose, minlength=flows) > 0)


def _extreme(column: pa.Array, of: Ints, flows: int, least: bool) -> pa.Array:
    values, whose = _told(column, of)
    found = np.full(flows, _MOST if least else 0, np.int64)
    (np.minimum if least else np.maximum).at(found, whose, values)
    return _numbers("ics_addr_min", found, np.bincount(whose, minlength=flows) > 0)


def _first(column: pa.Array, of: Ints, flows: int) -> pa.Array:
    """The first text of each flow that is there, in the order of the records."""
    valid = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
    places = np.full(flows, -1)
    places[of[valid[::-1]]] = valid[::-1]
    return column.take(pa.array(places, mask=places < 0))


def _flat(column: pa.Array, of: Ints) -> tuple[Ints, Ints]:
    """All numbers of a column of lists, and whose each is."""
    lengths = pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False)
    return np.asarray(pc.list_flatten(column).to_numpy(zero_copy_only=False), np.int64), np.repeat(of, lengths)


def _lists(parts: list[Ints], whose: Ints, flows: int) -> pa.Array:
    """Numbers side by side (each of k columns (m,)), the rows of each flow as one list; null where there are none."""
    place = np.arange(len(whose)) - np.searchsorted(whose, whose)
    kept = place < MOST_LISTED
    flat = np.column_stack(parts)[kept].reshape(-1).astype(np.uint32)
    counts = np.bincount(whose[kept], minlength=flows)
    bounds = np.concatenate(([0], np.cumsum(len(parts) * counts))).astype(np.int32)
    kind = arrow_schema("flow").field("ics_units").type
    return pa.ListArray.from_arrays(pa.array(bounds), pa.array(flat), type=kind, mask=pa.array(counts == 0))


def _united(column: pa.Array, of: Ints, flows: int) -> pa.Array:
    values, whose = _flat(column, of)
    distinct = np.unique(np.column_stack([whose, values]).reshape(-1, 2), axis=0)
    return _lists([distinct[:, 1]], distinct[:, 0], flows)


def _counted(column: pa.Array, of: Ints, flows: int) -> pa.Array:
    """Lists of code, count, code, count and so on, counts of the same code added up."""
    values, whose = _flat(column, of)
    keys = np.column_stack([whose[::2], values[::2]]).reshape(-1, 2)
    distinct, which = np.unique(keys, axis=0, return_inverse=True)
    total = np.zeros(len(distinct), np.int64)
    np.add.at(total, which.reshape(-1), values[1::2])
    return _lists([distinct[:, 1], np.minimum(total, _MOST)], distinct[:, 0], flows)
