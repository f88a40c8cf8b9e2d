"""Which bounded tables a sensor's windows hold, and how they grow.

Windows are a named tuple of parts, a part a named tuple of tables and of the arrays beside them. What each feature
set holds is data here and compiled code in its own file.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from pipeline.featurize.windows.tables import Table, crowded, grow

WindowState = TypeVar("WindowState", bound=NamedTuple)

ADDITIONS = 2
"""Most keys one flow adds to any table."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Most entries each table may hold; the least recently used goes when it is full."""

    queue: int = 65_536
    ring_dsts: int = 1_024
    hosts: int = 8_192
    pairs: int = 32_768
    identities: int = 8_192


class TableSpec(NamedTuple):
    """One table of the state: the part and field it stands in, its bound's name, and the arrays beside it."""

    part: str
    field: str
    bound: str
    beside: tuple[str, ...]


TIME_TABLES = (
    TableSpec("time", "dsts", "queue", ("dst_counts",)),
    TableSpec("time", "services", "queue", ("service_counts",)),
    TableSpec("time", "pairs", "queue", ("pair_counts",)),
)
COUNT_TABLES = (TableSpec("newest", "dsts", "ring_dsts", ("service", "src_port", "flags", "ring")),)
PROFILE_TABLES = (
    TableSpec("profiles", "hosts", "hosts", ("host",)),
    TableSpec("profiles", "pairs", "pairs", ("pair",)),
    TableSpec("profiles", "addresses", "identities", ("address", "address_mac")),
    TableSpec("profiles", "devices", "identities", ("device", "device_address")),
)


@cache
def limits(tables: tuple[TableSpec, ...], bounds: Bounds) -> npt.NDArray[np.int64]:
    """The bounds of these tables in order, then that of the queue; its tables hold more keys than it has
    flows. Not to be written to.
    """
    most = [getattr(bounds, spec.bound) + (ADDITIONS if spec.bound == "queue" else 0) for spec in tables]
    return np.array([*most, bounds.queue], np.int64)


def wider(array: npt.NDArray[Any], rows: int) -> npt.NDArray[Any]:
    """The array with so many rows, the further ones zero."""
    wide = np.zeros((rows, *array.shape[1:]), array.dtype)
    wide[: len(array)] = array
    return wide


def grow_tables(windows: WindowState, tables: tuple[TableSpec, ...], bounds: Bounds) -> WindowState:
    """The same windows, with twice the entries wherever the next flow may need them and the bounds allow it."""
    parts = {part: fields._asdict() for part, fields in windows._asdict().items()}
    most = limits(tables, bounds)
    for spec, bound in zip(tables, most, strict=False):
        fields = parts[spec.part]
        table: Table = fields[spec.field]
        if crowded(table, ADDITIONS, bound):
            entries = min(2 * (len(table.cells) - 1) + ADDITIONS, int(bound))
            fields[spec.field] = grow(table, entries)
            for name in spec.beside:
                fields[name] = wider(fields[name], entries + 1)
    if "time" in parts:
        time = parts["time"]
        head, length, overflowed = (int(value) for value in time["queued"])
        if length == len(time["queue"]) < most[-1]:
            for name in ("queue", "counted"):
                time[name] = wider(np.roll(time[name], -head, axis=0), min(2 * length, int(most[-1])))
            time["queued"] = np.array([0, length, overflowed], np.int64)
    return windows._replace(**{name: type(getattr(windows, name))(**fields) for name, fields in parts.items()})
