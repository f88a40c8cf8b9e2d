"""Windows as numbers and arrays and back, for snapshots: what follows from something else is left out.

Tables are written in order of use, rings oldest first, of the 2 s window only its queue.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.featurize.windows import kdd
from pipeline.featurize.windows.bounded_tables import Bounds, TableSpec, WindowState
from pipeline.featurize.windows.kdd import FILLED, HEAD, LENGTH, NEXT, OVERFLOWED
from pipeline.featurize.windows.kdd_modes import LAST
from pipeline.featurize.windows.kdd_state import refilled
from pipeline.featurize.windows.tables import (
    EVICTED,
    GUARDED_WIDTH,
    KEY,
    KNOWN,
    MAX_KNOWN,
    Table,
    in_order_of_use,
    with_keys,
)

RING_ARRAYS = ("service", "src_port", "flags")
_ALL = ("all_dst", "all_service", "all_flags")
_LAST = ("dst", "service", "src_port", "flags")

Array = npt.NDArray[Any]
Numbers = dict[str, int]
Arrays = dict[str, Array]


def windows_out(windows: Any, tables: Sequence[TableSpec]) -> tuple[Numbers, Arrays]:
    """What there is to save of windows that hold these tables."""
    numbers: Numbers = {}
    arrays: Arrays = {}
    for name, part in windows._asdict().items():
        if name == "time":
            numbers["overflowed"] = int(part.queued[OVERFLOWED])
            head, length = int(part.queued[HEAD]), int(part.queued[LENGTH])
            arrays["time.queue"] = part.queue[(head + np.arange(length)) % len(part.queue)]
        elif name == "newest":
            slots = _ring_slots(part.all_ring[None], kdd.RING)[1]
            arrays |= {f"newest.{column}": getattr(part, column)[slots] for column in _ALL}
        elif name == "last":
            slots = _ring_slots(part.ring[None], LAST)[1]
            arrays |= {f"last.{column}": getattr(part, column)[slots] for column in _LAST}
        elif name == "profiles":
            numbers["began_us"] = int(part.began_us[0])
    for spec in tables:
        if spec.part != "time":  # its tables follow from the queue
            _table_out(windows, spec, numbers, arrays)
    return numbers, arrays


def _table_out(windows: Any, spec: TableSpec, numbers: Numbers, arrays: Arrays) -> None:
    part = getattr(windows, spec.part)
    table: Table = getattr(part, spec.field)
    name = f"{spec.part}.{spec.field}"
    numbers[f"{name}.evicted"] = int(table.cells[0, EVICTED])
    if table.cells.shape[1] == GUARDED_WIDTH:
        numbers[f"{name}.known"] = int(table.cells[0, KNOWN])
    entries = in_order_of_use(table)
    arrays[name] = table.cells[entries, KEY]
    beside = {column: getattr(part, column)[entries] for column in spec.beside}
    if spec.part == "newest":
        rows, slots = _ring_slots(beside["ring"], kdd.RING)
        for column in RING_ARRAYS:
            beside[column] = beside[column][rows, slots]
        beside["ring"][:, NEXT] = beside["ring"][:, FILLED] % kdd.RING
    arrays.update({f"{spec.part}.{column}": array for column, array in beside.items()})


def _ring_slots(rings: Array, size: int) -> tuple[Array, Array]:
    """Row and slot of every flow in these rings, ring by ring, oldest first."""
    filled = rings[:, FILLED].astype(np.int64)
    rows = np.repeat(np.arange(len(rings)), filled)
    nth = np.arange(len(rows)) - np.repeat(np.cumsum(filled) - filled, filled)
    return rows, (np.repeat(rings[:, NEXT] - filled, filled) + nth) % size


def windows_in(
    numbers: Numbers, arrays: Arrays, empty: WindowState, tables: Sequence[TableSpec], bounds: Bounds
) -> WindowState:
    """The windows that were saved; `empty` are windows of their kind without anything in them, and are taken over."""
    parts: dict[str, dict[str, Any]] = {name: fields._asdict() for name, fields in empty._asdict().items()}
    for spec in tables:
        if spec.part != "time":
            _table_in(parts[spec.part], spec, numbers, arrays)
    if "newest" in parts:
        filled = len(arrays["newest.all_dst"])
        for name in _ALL:
            parts["newest"][name][:filled] = arrays[f"newest.{name}"]
        parts["newest"]["all_ring"][:] = (filled % kdd.RING, filled)
    if "last" in parts:
        filled = len(arrays["last.dst"])
        for name in _LAST:
            parts["last"][name][:filled] = arrays[f"last.{name}"]
        parts["last"]["ring"][:] = (filled % LAST, filled)
    if "profiles" in parts:
        parts["profiles"]["began_us"][0] = numbers["began_us"]
    if "time" in parts:
        time = refilled(arrays["time.queue"], bounds)
        time.queued[OVERFLOWED] = numbers["overflowed"]
        parts["time"] = time._asdict()
    return empty._replace(**{name: type(getattr(empty, name))(**fields) for name, fields in parts.items()})


def _table_in(part: dict[str, Any], spec: TableSpec, numbers: Numbers, arrays: Arrays) -> None:
    name = f"{spec.part}.{spec.field}"
    keys = arrays[name]
    table = with_keys(keys, numbers[f"{name}.evicted"])
    model: Table = part[spec.field]
    if model.cells.shape[1] == GUARDED_WIDTH:
        table = with_keys(keys, numbers[f"{name}.evicted"], numbers[f"{name}.known"], 1)
        table.cells[0, MAX_KNOWN] = model.cells[0, MAX_KNOWN]
    part[spec.field] = table
    for column in spec.beside:
        like = part[column]
        values = np.zeros((max(len(keys), 1) + 1, *like.shape[1:]), like.dtype)
        if spec.part == "newest" and column in RING_ARRAYS:
            rows, slots = _ring_slots(arrays["newest.ring"], kdd.RING)
            values[1 + rows, slots] = arrays[f"newest.{column}"]
        else:
            values[1 : len(keys) + 1] = arrays[f"{spec.part}.{column}"]
        part[column] = values
