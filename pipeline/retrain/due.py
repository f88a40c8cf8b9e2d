"""Which sensors a calibration is to be fitted for: anchored ones, at most once a day of their own event time each."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.contracts.baseline import Phase
from pipeline.contracts.envelope import SensorName
from pipeline.retrain.usual import LEARNS
from pipeline.runtime.wire.batches import filled
from pipeline.runtime.wire.sensors import sensors_of
from schemas.model_manifest import ORIGIN

EVERY_US = 86_400_000_000
"""A day: what a sensor does by day and by night is in every trial's newest rows, and a refused one costs little."""
MAX_SENSORS = 4_096
"""Beyond it the sensor whose last anchored row is oldest is forgotten; its next row brings it back."""
NEVER_US = -(2**62)


@dataclass(slots=True)
class Times:
    """Of a sensor the newest event times of a row while it was anchored, and while what is usual was not known."""

    anchored_us: int = NEVER_US
    learns_us: int = NEVER_US


class DueSensors:
    """What the rows read so far say.

    Parameters
    ----------
    tried_us : by `site/sensor`, up to which event time samples counted when a calibration was last fitted.
    """

    def __init__(self, tried_us: Mapping[str, int]) -> None:
        self._tried_us = dict(tried_us)
        self._times: dict[SensorName, Times] = {}

    def observe(self, batches: Iterable[pa.RecordBatch]) -> None:
        """Rows of schema `scored` that are among the samples now."""
        for batch in batches:
            if batch.num_rows:
                self._observe(batch)
        while len(self._times) > MAX_SENSORS:
            del self._times[min(self._times, key=lambda name: (self._times[name].anchored_us, name))]

    def _observe(self, batch: pa.RecordBatch) -> None:
        names, number = sensors_of(batch)
        phase, end_us = filled(batch, "phase", 0), batch.column("end_ts_us").to_numpy()
        newest = []
        for phases in ((Phase.ANCHORED,), LEARNS):
            inside = np.isin(phase, phases)
            newest.append(np.full(len(names), NEVER_US, np.int64))
            np.maximum.at(newest[-1], number[inside], end_us[inside])
        for name, anchored_us, learns_us in zip(names, newest[0].tolist(), newest[1].tolist(), strict=True):
            if not ORIGIN.fullmatch("/".join(name)):
                continue  # no model can hold a calibration of that name
            times = self._times.setdefault(name, Times())
            times.anchored_us, times.learns_us = (
                max(times.anchored_us, anchored_us),
                max(times.learns_us, learns_us),
            )

    def next(self) -> tuple[SensorName, int] | None:
        """A sensor that is due, and up to which event time its samples count; it is not due again within a day.

        The one whose last trial was longest ago, None where none is.
        """
        due = [(self._tried(name), name) for name, times in self._times.items() if self._is_due(name, times)]
        if not due:
            return None
        _, name = min(due)
        until_us = self._times[name].anchored_us
        self._tried_us["/".join(name)] = until_us
        return name, until_us

    def _tried(self, name: SensorName) -> int:
        return self._tried_us.get("/".join(name), NEVER_US)

    def _is_due(self, name: SensorName, times: Times) -> bool:
        tried_us = self._tried(name)
        if times.anchored_us <= max(times.learns_us, tried_us):
            return False
        return times.learns_us > tried_us or times.anchored_us - tried_us >= EVERY_US
