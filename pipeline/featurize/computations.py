"""How each feature set's columns are computed, and what it keeps of a sensor: by the set's name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.featurize import kdd_modes
from pipeline.featurize.flow_features import flow_features
from pipeline.featurize.kdd import CountWindow, TimeWindow
from pipeline.featurize.kdd_rows import extractor_rows, nsl_rows, online_rows
from pipeline.featurize.kdd_state import new_count_window, new_time_window
from pipeline.featurize.kept import Bounds, Kept
from pipeline.featurize.ot_rows import ot_rows
from pipeline.featurize.ot_windows import OT_FEATURES, OT_TABLES, Ot, OtBounds, advance_ot, new_ot
from pipeline.featurize.profiles import Profiles
from pipeline.featurize.rows import rows_of
from pipeline.featurize.windows import TABLES, WINDOW_FEATURES, Windows, advance_windows, new_profiles, new_windows

LARGEST = 1e18
"""Features are clipped to [0, LARGEST]: finite as float32, whatever the sensor sent."""

Order = npt.NDArray[np.int64]
Late = npt.NDArray[np.bool_]
Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Computation:
    """What featurize needs of a feature set beside its names.

    empty() makes the windows of a sensor never heard of; columns(windows, flows, order, late, bounds) takes the flows
    in that order through them (they are taken over), where `late` is set only reading, and returns the windows and
    the matrix (n, F) float32, a row a flow; tables are the windows' bounded tables.
    """

    empty: Callable[[], Any]
    columns: Callable[[Any, pa.RecordBatch, Order, Late, Bounds], tuple[Any, Matrix]]
    tables: Sequence[Kept]


def _ics_1(windows: Windows, flows: pa.RecordBatch, order: Order, late: Late, bounds: Bounds) -> tuple[Windows, Matrix]:
    rows = rows_of(flows)
    windows, out = advance_windows(windows, rows, order, late, bounds)
    own = flow_features(rows)
    matrix = np.empty((len(flows), own.shape[1] + WINDOW_FEATURES), np.float32)
    matrix[:, : own.shape[1]] = own
    matrix[:, own.shape[1] :] = out if not late.any() else out[np.argsort(order)]
    np.clip(matrix, 0.0, LARGEST, out=matrix)
    return windows, matrix


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


def _full(
    windows: FullWindows, flows: pa.RecordBatch, order: Order, late: Late, bounds: Bounds
) -> tuple[FullWindows, Matrix]:
    rows = rows_of(flows)
    first, out = advance_windows(Windows(*windows[:3]), rows, order, late, bounds)
    own = flow_features(rows)
    width = own.shape[1] + WINDOW_FEATURES
    matrix = np.empty((len(flows), width + OT_FEATURES), np.float32)
    np.minimum(own, LARGEST, out=matrix[:, : own.shape[1]])
    np.clip(out if not late.any() else out[np.argsort(order)], 0.0, LARGEST, out=matrix[:, own.shape[1] : width])
    most = bounds if isinstance(bounds, OtBounds) else FULL_BOUNDS
    began_us = int(first.profiles.began_us[0])
    ot = advance_ot(windows.ot, began_us, ot_rows(flows, rows), order, late, most, matrix[:, width:])
    return FullWindows(*first, ot), matrix


def _online(windows: Any, flows: pa.RecordBatch, order: Order, late: Late, bounds: Bounds) -> tuple[Any, Matrix]:
    return kdd_modes.online_columns(windows, online_rows(flows), order, late, bounds)


def _extractor(windows: Any, flows: pa.RecordBatch, order: Order, late: Late, bounds: Bounds) -> tuple[Any, Matrix]:
    return kdd_modes.extractor_columns(windows, extractor_rows(flows), order, late, bounds)


def _nsl(windows: Any, flows: pa.RecordBatch, order: Order, late: Late, bounds: Bounds) -> tuple[Any, Matrix]:
    return kdd_modes.nsl_columns(windows, nsl_rows(flows), order, late, bounds)


COMPUTATIONS: Mapping[str, Computation] = {
    "forebay-ics-1": Computation(new_windows, _ics_1, TABLES),
    "full": Computation(_new_full, _full, FULL_TABLES),
    "kdd-extractor": Computation(kdd_modes.new_extractor, _extractor, kdd_modes.EXTRACTOR_TABLES),
    "kdd-nsl": Computation(kdd_modes.new_nsl, _nsl, kdd_modes.NSL_TABLES),
    "online": Computation(kdd_modes.new_online, _online, kdd_modes.ONLINE_TABLES),
}
