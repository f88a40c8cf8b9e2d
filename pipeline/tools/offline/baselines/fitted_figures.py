"""A calibration fitted to what a sensor's baseline calls usual, and what later comes of it, promoted or not."""

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.alert.incidents import closed_incidents
from pipeline.contracts.baseline import Phase
from pipeline.contracts.class_names import NORMAL
from pipeline.contracts.sample_shares import NORMAL_ONE_IN
from pipeline.tools.offline.baselines.captures import SITE, Capture, Mask
from pipeline.tools.offline.baselines.replayed import HOUR_US, Replayed, attack_kinds, clock_of, found, incident_of
from pipeline.tools.offline.naming_figures import scored_by
from schemas.learning import SHIPPED_LEARNING

if TYPE_CHECKING:
    from models.serving.model import Model
    from pipeline.retrain.fitted import Fitted
    from pipeline.retrain.usual import SensorRows

DUE_SHARE = 0.5
"""It is fitted and compared when so much of the time after learning is over, and judged on the rest: no capture lasts
the two days until a sensor is anchored by default.
"""
MIN_USUAL = 300
"""Fewer usual flows than are needed live, and no day kept aside: so that the figures of short captures are seen."""


class FoundTwice(NamedTuple):
    """Attacks of a kind, and how many are found by the baseline alone, and with the calibration."""

    kind: str
    attacks: int
    before: int
    after: int


class FittedFigures(NamedTuple):
    """What a fitted calibration would have shown when it was compared, and what it shows in the hours afterwards.

    Pairs are by the baseline alone and with the calibration: suspects of the flows that are no attack, incidents, and
    those without a labelled flow.
    """

    outcome: str
    against: tuple[str, ...]
    comparison: dict[str, float]
    hours: float
    suspects_percent: tuple[float, float]
    incidents: tuple[int, int]
    false: tuple[int, int]
    attacks: list[FoundTwice]

    @property
    def added_percent(self) -> float:
        """Of the flows that the baseline does not show those that it would have shown when it was compared."""
        return 100 * self.comparison["added"] / max(self.comparison["aside"], 1)

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return {**self._asdict(), "attacks": [each._asdict() for each in self.attacks]}


def fitted_figures(capture: Capture, replayed: Replayed, model: "Model") -> FittedFigures | None:
    """A calibration fitted in the middle of a capture; None where too little of it is after learning."""
    known = replayed.after_learning & (replayed.phase != Phase.CHANGED)
    if not known.any():
        return None
    first_us, last_us = int(replayed.end_us[known].min()), int(replayed.end_us.max())
    due_us = first_us + int(DUE_SHARE * (last_us - first_us))
    made = fitted_in(replayed, known & (replayed.end_us < due_us), model, clock_of(capture.span_us).learning.anchor_s)
    if made is None or made.model is None or made.comparison is None:
        return None
    before, after = (_later(replayed, due_us, each) for each in (None, made.model))
    judged = before.after_learning & np.isin(before.kind, capture.harmless)
    attacks = [(found(before, (kind,), kind), found(after, (kind,), kind)) for kind in attack_kinds(capture)]
    return FittedFigures(
        outcome=made.outcome,
        against=made.against,
        comparison=asdict(made.comparison),
        hours=(last_us - due_us) / HOUR_US,
        suspects_percent=(_percent(before, judged), _percent(after, judged)),
        incidents=(len(before.incidents), len(after.incidents)),
        false=(before.false_incidents(), after.false_incidents()),
        attacks=[FoundTwice(one.kind, one.attacks, one.found, two.found) for one, two in attacks if one.attacks],
    )


def fitted_in(replayed: Replayed, chosen: Mask, model: "Model", clock_s: int) -> "Fitted | None":
    """The candidate by some rows, as retrain makes one; clock_s: when the sensor is anchored. None without rows."""
    from pipeline.retrain.fitted import Rule, fit

    rows = _samples(replayed.rows, chosen)
    if rows is None:
        return None
    sensor = SITE, str(replayed.rows.column("sensor")[0])
    # On a scaled clock an hour of the rule is as short as everything else.
    rows = rows._replace(one_in=rows.one_in * clock_s / SHIPPED_LEARNING.anchor_s)
    return fit(model, sensor, rows, 0, Rule(min_usual=MIN_USUAL, min_aside_us=0))


def _samples(rows: pa.RecordBatch, chosen: Mask) -> "SensorRows | None":
    """The rows that retrain has samples of, as one_in says: those it has live, or all where these would be too few."""
    from pipeline.retrain.fitted import DEFAULT_RULE
    from pipeline.retrain.labels import Labels
    from pipeline.retrain.usual import sensor_rows

    end_us, picked = rows.column("end_ts_us").to_numpy(), np.flatnonzero(chosen)
    if not len(picked):
        return None
    plain = rows.take(pa.array(picked[np.argsort(end_us[picked], kind="stable")]))
    constant = {"class": pa.array([NORMAL] * len(picked)), "suspect": pa.array(np.zeros(len(picked), np.bool_))}
    for name, column in constant.items():
        plain = plain.set_column(plain.schema.get_field_index(name), plain.schema.field(name), column)
    # Every row of a capture is here, where score has sampled one in NORMAL_ONE_IN: thinned by as much it is as live.
    thinned = NORMAL_ONE_IN if len(picked) >= DEFAULT_RULE.min_usual * NORMAL_ONE_IN else 1
    found = sensor_rows(pa.Table.from_batches([plain]), Labels(), thinned)
    return found._replace(one_in=float(thinned))


def _later(replayed: Replayed, from_us: int, model: "Model | None") -> Replayed:
    """The flows from a time on, as an anchored sensor's: by the baseline alone, or scored again by a model."""
    later = replayed.end_us >= from_us
    rows = replayed.rows.filter(pa.array(later))
    if model is not None:
        phase = rows.column("phase").to_numpy()
        anchored = np.where(phase == Phase.SETTLING, np.uint8(Phase.ANCHORED), phase)
        at = rows.schema.get_field_index("phase")
        rows = scored_by(model, rows.set_column(at, rows.schema.field(at), pa.array(anchored)))
    incidents = closed_incidents([rows])
    return replace(
        replayed, rows=rows, kind=replayed.kind[later], incident=incident_of(rows, incidents), incidents=incidents
    )


def _percent(replayed: Replayed, judged: Mask) -> float:
    return 100 * float(replayed.suspect[judged].mean()) if judged.any() else 0.0
