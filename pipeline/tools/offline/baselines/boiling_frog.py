"""The boiling frog: made-up flows of two hosts that talk as ever, and creep from a usual flow to an attack's features.

Only distance can tell them: their addresses, service and hardware are those of the usual flow.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.contracts.baseline import Evidence, shown
from pipeline.contracts.class_names import NORMAL
from pipeline.featurize.baseline.advance import FlowBatch, advance, functions_of, nothing_judged
from pipeline.featurize.baseline.coordinates import Points, points_of
from pipeline.featurize.baseline.keys import FlowRelations, flow_relations
from pipeline.featurize.baseline.sensor_baseline import no_baseline
from pipeline.featurize.rows import TCP, UDP, rows_of
from pipeline.featurize.sensor import featurize_file_rows
from pipeline.runtime.wire.batches import filled, matrix
from pipeline.settings import Settings
from pipeline.tools.offline.baselines.captures import HARMLESS, SITE, Capture
from pipeline.tools.offline.baselines.replayed import clock_of
from schemas.fields import arrow_schema
from schemas.learning import Learning

EVERY_S = 10
FULL_S = 600
"""For so long the flows are the attack's, at least; shorter than what is shown needs to become usual."""
RAMPS_S = {"jump": 0, "36 minutes": 2_160, "40 minutes": 2_400}
"""After anchoring."""
EARLY_S, EARLY_RAMP_S = 60, 3_900
"""A ramp of 65 minutes from the first minute on."""

Ints = npt.NDArray[np.int64]


class Frog(NamedTuple):
    """A ramp: what became of the flows that were the attack's in full.

    distance: of the attack's flow from what is usual, in deviations. shown_percent: of the flows at full attack.
    first: at which part of the way the first flow was shown, None where none was.
    """

    sensor: str
    attack: str
    ramp: str
    distance: float
    flows: int
    shown_percent: float
    first: float | None

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return self._asdict()


def frogs(capture: Capture, attack: str, settings: Settings) -> Iterator[Frog]:
    """Ramps towards an attack of a capture, whose own attacks are left out."""
    learning = clock_of(capture.span_us).learning
    target, distance = _attack_point(capture, attack, learning, settings)
    calm = capture.without(~np.isin(capture.kinds(), HARMLESS), "")
    rows = featurize_file_rows(calm.flows, settings.lateness_us, site=SITE, learning=learning)
    rows = rows.filter(pa.array(rows.column("late_by_us").to_numpy() == 0))
    points = points_of(np.ascontiguousarray(matrix(rows)))
    of_service = np.isin(filled(rows, "ip_proto", 0), (TCP, UDP))
    usual = np.flatnonzero(of_service & (filled(rows, "evidence", 0) == 0) & (capture.kinds(rows) == NORMAL))
    nearest = int(usual[np.argmin(_squares(points[usual], target))])
    first_us = capture.first_us
    anchored_us = first_us + learning.anchor_s * 1_000_000
    for name, ramp_s in RAMPS_S.items():
        starts_us = anchored_us + 120_000_000
        frog = _frog(rows, points, nearest, target, starts_us, ramp_s, learning)
        yield Frog(capture.name, attack, f"{name}, after anchoring", distance, *frog)
    frog = _frog(rows, points, nearest, target, first_us + EARLY_S * 1_000_000, EARLY_RAMP_S, learning)
    yield Frog(capture.name, attack, "65 minutes, from the first minute", distance, *frog)


def _squares(points: Points, target: npt.NDArray[np.int8]) -> Ints:
    difference = points.astype(np.int64) - target.astype(np.int64)
    squares: Ints = (difference * difference).sum(axis=1)
    return squares


def _attack_point(
    capture: Capture, attack: str, learning: Learning, settings: Settings
) -> tuple[npt.NDArray[np.int8], float]:
    """The point of the attack's flow of median strangeness among those that are strange, and its strangeness."""
    rows = featurize_file_rows(capture.flows, settings.lateness_us, site=SITE, learning=learning)
    strange = filled(rows, "evidence", 0) & np.uint32(Evidence.STRANGE) != 0
    chosen = np.flatnonzero(strange & (capture.kinds(rows) == attack))
    strangeness = rows.column("strangeness").to_numpy(zero_copy_only=False)[chosen]
    middle = int(chosen[np.argsort(strangeness, kind="stable")[len(chosen) // 2]])
    points = points_of(np.ascontiguousarray(matrix(rows.slice(middle, 1))))
    return points[0], float(np.sort(strangeness)[len(chosen) // 2])


def _frog(
    rows: pa.RecordBatch,
    points: Points,
    nearest: int,
    target: npt.NDArray[np.int8],
    starts_us: int,
    ramp_s: int,
    learning: Learning,
) -> tuple[int, float, float | None]:
    """A ramp through the sensor's baseline: flows at full attack, percent of them shown, the way at the first shown."""
    end_us = rows.column("end_ts_us").to_numpy()
    until_us = min(int(end_us.max()), starts_us + (ramp_s + FULL_S) * 1_000_000)
    made_us = np.arange(starts_us, until_us, EVERY_S * 1_000_000)
    way = np.clip((made_us - starts_us) / max(ramp_s * 1_000_000, 1), 0, 1) if ramp_s else np.ones(len(made_us))
    step = points[nearest] + np.outer(way, target.astype(np.float64) - points[nearest])
    every = np.concatenate((end_us, made_us))
    relations = flow_relations(rows.select([field.name for field in arrow_schema("flow")]), rows_of(rows))
    repeated = _repeated(relations, nearest, len(made_us))
    batch = FlowBatch(
        every,  # as the start too: a made-up flow takes no time
        every,
        np.concatenate((points, np.rint(step).astype(np.int8))),
        repeated,
        functions_of(repeated),
        *(
            pa.concat_arrays(
                (rows.column(name), pa.array([rows.column(name)[nearest].as_py()] * len(made_us), pa.string()))
            )
            for name in ("src_addr", "dst_addr")
        ),
    )
    judged = nothing_judged(len(every))
    order = np.argsort(every, kind="stable")
    advance(no_baseline(), (SITE, "frog"), order, np.zeros(len(order), np.bool_), batch, judged, learning)
    is_shown = shown(judged.phase, judged.seen.evidence)[len(end_us) :]
    full = way >= 1.0
    first = float(way[is_shown][0]) if is_shown.any() else None
    return int(full.sum()), 100 * float(is_shown[full].mean()), first


def _repeated(relations: FlowRelations, row: int, times: int) -> FlowRelations:
    """The relations of all flows, and so many times more those of one."""
    of_flows = {
        name: np.concatenate((values, np.repeat(values[..., row : row + 1], times, axis=-1)), axis=-1)
        for name, values in relations._asdict().items()
        if name != "function"
    }
    return relations._replace(**of_flows)
