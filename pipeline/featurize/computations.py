"""How each feature set's columns are computed, and what it remembers of a sensor: by the set's name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.featurize.flow_features import FLOW_FEATURES, flow_features
from pipeline.featurize.rows import Rows, rows_of
from pipeline.featurize.windows import kdd_modes
from pipeline.featurize.windows.bounded_tables import Bounds, TableSpec
from pipeline.featurize.windows.kdd import CountWindow, TimeWindow
from pipeline.featurize.windows.kdd_rows import KddRows, extractor_rows, nsl_rows, online_rows
from pipeline.featurize.windows.kdd_state import new_count_window, new_time_window
from pipeline.featurize.windows.ot import OT_TABLES, Ot, OtBounds, advance_ot, new_ot
from pipeline.featurize.windows.ot_rows import OtRows, ot_rows
from pipeline.featurize.windows.profiles import Profiles
from pipeline.featurize.windows.sensor_windows import (
    TABLES,
    WINDOW_FEATURES,
    Windows,
    advance_windows,
    new_profiles,
    new_windows,
)

Order = npt.NDArray[np.int64]
Late = npt.NDArray[np.bool_]
Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Computation:
    """What featurize needs of a feature set beside its names.

    empty() makes the windows of a new sensor; rows(flows, matrix) makes the arrays that the windows read
    of n flows of any sensors, and writes what a flow has by itself into matrix (n, F) float32; windows(windows, rows,
    order, late, bounds, matrix) takes one sensor's flows rows[order] through its windows (they are taken over), where
    `late` is set only reading, writes the rest of matrix[order], and returns the windows; tables are the windows'
    bounded tables.
    """

    empty: Callable[[], Any]
    rows: Callable[[pa.RecordBatch, Matrix], Any]
    windows: Callable[[Any, Any, Order, Late, Bounds, Matrix], Any]
    tables: Sequence[TableSpec]


def _ics_1_rows(flows: pa.RecordBatch, matrix: Matrix) -> Rows:
    rows = rows_of(flows)
    flow_features(rows, matrix)
    return rows


def _ics_1(windows: Windows, rows: Rows, order: Order, late: Late, bounds: Bounds, matrix: Matrix) -> Windows:
    return advance_windows(windows, rows, order, late, bounds, matrix[:, FLOW_FEATURES:])


class FullWindows(NamedTuple):
    """The window state of one sensor for the set `full`."""

    time: TimeWindow
    newest: CountWindow
    profiles: Profiles
    ot: Ot


FULL_TABLES = (*TABLES, *OT_TABLES)
FULL_BOUNDS = OtBounds()


def _new_full() -> FullWindows:
    return FullWindows(
        new_time_window(),
        new_count_window(guarded_bound=FULL_BOUNDS.ring_dsts),
        new_profiles(guarded=FULL_BOUNDS),
        new_ot(FULL_BOUNDS),
    )


def _full_rows(flows: pa.RecordBatch, matrix: Matrix) -> tuple[Rows, OtRows]:
    rows = _ics_1_rows(flows, matrix)
    return rows, ot_rows(flows, rows)


def _full(
    windows: FullWindows, rows: tuple[Rows, OtRows], order: Order, late: Late, bounds: Bounds, matrix: Matrix
) -> FullWindows:
    first = _ics_1(Windows(*windows[:3]), rows[0], order, late, bounds, matrix)
    most = bounds if isinstance(bounds, OtBounds) else FULL_BOUNDS
    began_us = int(first.profiles.began_us[0])
    rest = matrix[:, FLOW_FEATURES + WINDOW_FEATURES :]
    return FullWindows(*first, advance_ot(windows.ot, began_us, rows[1], order, late, most, rest))


def _only(rows: Callable[[pa.RecordBatch], KddRows]) -> Callable[[pa.RecordBatch, Matrix], KddRows]:
    """The arrays of a set none of whose features a flow has by itself."""
    return lambda flows, _matrix: rows(flows)


COMPUTATIONS: Mapping[str, Computation] = {
    "forebay-ics-1": Computation(new_windows, _ics_1_rows, _ics_1, TABLES),
    "full": Computation(_new_full, _full_rows, _full, FULL_TABLES),
    "kdd-extractor": Computation(
        kdd_modes.new_extractor, _only(extractor_rows), kdd_modes.extractor_features, kdd_modes.EXTRACTOR_TABLES
    ),
    "kdd-nsl": Computation(kdd_modes.new_nsl, _only(nsl_rows), kdd_modes.nsl_features, kdd_modes.NSL_TABLES),
    "online": Computation(kdd_modes.new_online, _only(online_rows), kdd_modes.online_features, kdd_modes.ONLINE_TABLES),
}
