"""A sensor's usual rows among the samples: what its own baseline does not show, since it last learnt its plant.

Of the samples suspects are there (of a flood a share that thinning them leaves whole), and a share of the rest, rare
classes more often; thinned to one share they are as the sensor's traffic is. Nothing here believes a model: a row is
usual by the baseline, and by no verdict an attack.
"""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.contracts.baseline import Phase, shown
from pipeline.contracts.class_names import NORMAL
from pipeline.contracts.envelope import SensorName
from pipeline.contracts.sample_shares import NORMAL_ONE_IN, OTHER_ONE_IN
from pipeline.contracts.uids import RAW_POSITION, ROW_BY_POSITION, ROW_BY_SOURCE_RECORD
from pipeline.retrain.labels import Labels
from pipeline.runtime.even_sample import evenly
from pipeline.runtime.wire.batches import filled, matrix, widened

Mask = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
KEYS = tuple(dict.fromkeys((*ROW_BY_POSITION, *ROW_BY_SOURCE_RECORD, "end_ts_us", "phase", "class", "suspect")))
MAX_ROWS = 50_000
"""About so many rows of a sensor are read, 15 MB of features: of a busy one all are thinned, so that they still cover
days.
"""
MAX_STRANGENESS = 1.6
"""Deviations from the nearest usual kind of flow up to which a flow is usual: what is farther is strange before a bound
is known (pipeline/featurize/baseline/learning.py). Fitted to all that is not shown, the model is blind to what lies
between it and the bound: on Westermo's left sensor 1 % of the SSH attacks' flows were suspects instead of 57 to 94 %.
"""
LEARNS = (Phase.NONE, Phase.LEARNING, Phase.CHANGED)
"""Phases in which what is usual is not known."""


class Stretch(NamedTuple):
    """The stretch of event time in which a sensor's baseline has known what is usual.

    began_us: when it began; thinned: of its even rows one in so many is read; is_anchored: whether it was fixed in
    it.
    """

    began_us: int
    thinned: int
    is_anchored: bool


NO_STRETCH = Stretch(0, 1, False)


class SensorRows(NamedTuple):
    """Samples of one sensor in order of event time, n rows.

    matrix : (n, F) float32
    end_us : (n,) int64
    shown : (n,) whether the baseline shows the row
    even : (n,) rows that are there in one share, whatever their class; usual: of these what is usual
    attack : (n,) rows that verdicts call an attack
    position : (n, 3) int64, raw position
    baseline : (n,) int64, number of the baseline record
    one_in : of the sensor's flows one in so many is an even row
    """

    matrix: npt.NDArray[np.float32]
    end_us: Ints
    shown: Mask
    even: Mask
    usual: Mask
    attack: Mask
    position: Ints
    baseline: Ints
    one_in: float

    def digest(self, chosen: Mask) -> str:
        """SHA-256 of the raw positions of some rows."""
        return hashlib.sha256(np.ascontiguousarray(self.position[chosen]).astype("<i8").tobytes()).hexdigest()


@dataclass(slots=True)
class Seen:
    """What a first pass over the samples' keys finds of a sensor, whose rows are then read in a second one.

    Parameters
    ----------
    until_us : event time up to which samples count
    """

    sensor: SensorName
    until_us: int
    _end_us: list[Ints] = field(default_factory=list)
    _phase: list[npt.NDArray[np.uint8]] = field(default_factory=list)
    _even: list[Mask] = field(default_factory=list)

    def select(self, keys: pa.Table) -> Mask:
        """Note a file's rows, and choose none."""
        chosen = pa.array(_of(keys, self.sensor, 0, self.until_us))
        rows = keys.filter(chosen)
        self._end_us.append(rows.column("end_ts_us").to_numpy())
        self._phase.append(_phase_of(rows))
        self._even.append(even(rows))
        return np.zeros(keys.num_rows, np.bool_)

    @property
    def newest_us(self) -> int:
        """Up to which event time there are samples, 0 without any."""
        return max((int(end_us.max()) for end_us in self._end_us if len(end_us)), default=0)

    @property
    def stretch(self) -> Stretch:
        """The last one; NO_STRETCH where there is none, or the baseline is not anchored in it."""
        if not self._end_us:
            return NO_STRETCH
        end_us, phase, even_rows = (
            np.concatenate(self._end_us),
            np.concatenate(self._phase),
            np.concatenate(self._even),
        )
        learns_us = end_us[np.isin(phase, LEARNS)]
        began_us = int(learns_us.max()) + 1 if len(learns_us) else 0
        inside = end_us >= began_us
        if not (phase[inside] == Phase.ANCHORED).any():
            return NO_STRETCH
        return Stretch(began_us, max(1, math.ceil(int((inside & even_rows).sum()) / MAX_ROWS)), True)


def of_stretch(
    sensor: SensorName, began_us: int, until_us: int, labels: Labels, thinned: int = 1
) -> Callable[[pa.Table], Mask]:
    """What chooses a sensor's even rows of a stretch of event time, and those that somebody has labelled."""

    def select(keys: pa.Table) -> Mask:
        chosen = _of(keys, sensor, began_us, until_us)
        chosen &= even(keys, thinned) | labels.apply(keys).touched
        return chosen

    return select


def sensor_rows(samples: pa.Table, labels: Labels, thinned: int = 1) -> SensorRows:
    """A sensor's samples with features, in order of event time."""
    rows = widened(samples.combine_chunks().to_batches()[0], "scored")
    applied = labels.apply(samples)
    called = applied.label != ""
    attack = called & (applied.label != NORMAL)
    is_shown = shown(filled(rows, "phase", 0), filled(rows, "evidence", 0))
    strangeness = filled(rows, "strangeness", np.inf)
    even_rows = even(samples, thinned)
    usual = even_rows & ~is_shown & (strangeness <= MAX_STRANGENESS) & ~attack & ~applied.conflicting
    position = np.stack([samples.column(name).to_numpy().astype(np.int64) for name in RAW_POSITION], axis=1)
    return SensorRows(
        np.ascontiguousarray(matrix(rows)),
        samples.column("end_ts_us").to_numpy().astype(np.int64),
        is_shown,
        even_rows,
        usual,
        attack,
        position,
        filled(rows, "baseline", 0).astype(np.int64),
        NORMAL_ONE_IN * thinned,
    )


def even(samples: pa.Table, thinned: int = 1) -> Mask:
    """(n,) samples that make one share of all rows, one in NORMAL_ONE_IN * thinned, by hash."""
    usual_class = _numpy(pc.equal(samples.column("class"), NORMAL))
    one_in = np.where(usual_class, 1, NORMAL_ONE_IN // OTHER_ONE_IN)
    one_in = np.where(_numpy(samples.column("suspect")), NORMAL_ONE_IN, one_in).astype(np.uint64) * np.uint64(thinned)
    return evenly({name: samples.column(name).to_numpy() for name in RAW_POSITION}, one_in)


def _of(keys: pa.Table, sensor: SensorName, since_us: int, until_us: int) -> Mask:
    site, name = sensor
    of_sensor = pc.and_(pc.equal(keys.column("site"), site), pc.equal(keys.column("sensor"), name))
    end_us = np.asarray(keys.column("end_ts_us"), np.int64)
    result: Mask = _numpy(of_sensor) & (end_us >= since_us) & (end_us <= until_us)
    return result


def _phase_of(rows: pa.Table) -> npt.NDArray[np.uint8]:
    """(n,) uint8, 0 where there is none, as in files of an earlier version."""
    if "phase" not in rows.column_names:
        return np.zeros(rows.num_rows, np.uint8)
    phase: npt.NDArray[np.uint8] = rows.column("phase").combine_chunks().fill_null(0).to_numpy()
    return phase


def _numpy(column: pa.ChunkedArray) -> Mask:
    values: Mask = column.to_numpy()
    return values
