"""What made an incident unusual: its flows' features against what is usual in the model's training data."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.alert.features import FeatureSample
from pipeline.errors import RefusedState
from schemas.model_manifest import POOLED, fitted_origins, origin_of

Floats = npt.NDArray[np.float64]
TOP = 5
PER_GROUP = 2
# A normal distribution's 1 % and 99 % quantiles lie this many standard deviations apart.
QUANTILES_APART = 4.652695748
# Where normal traffic hardly varies, this share of the usual value counts as its spread, and no less than this.
SPREAD_OF_VALUE = 0.05
SPREAD_AT_LEAST = 0.02


@dataclass(frozen=True, slots=True)
class Baseline:
    """A model's features and their usual ranges: quantiles of normal training rows, (F,) each.

    origins: the sites and sensors that it is calibrated for. Of others it does not know what is usual. fitted: those of
    them that were calibrated after training by their own baselines: the ranges are another plant's.
    """

    model: str
    feature_set: str
    feature_hash: str
    names: tuple[str, ...]
    labels: tuple[str, ...]
    units: tuple[str, ...]
    groups: tuple[str, ...]
    low: Floats
    median: Floats
    high: Floats
    weight: Floats
    origins: frozenset[str]
    fitted: frozenset[str]

    def knows(self, site: str, sensor: str) -> bool:
        """Whether the model is calibrated for that sensor or its site."""
        return origin_of(self.origins, f"{site}/{sensor}") != POOLED

    def explains(self, site: str, sensor: str) -> bool:
        """Whether the usual ranges are that sensor's or its site's own."""
        return self.knows(site, sensor) and origin_of(self.origins, f"{site}/{sensor}") not in self.fitted


@dataclass(frozen=True, slots=True)
class Reason:
    """One feature that is out of its usual range.

    observed: median of the incident's flows; extreme: the value furthest out. share: of its flows out of the range.
    strength: what the reasons are ordered by.
    """

    feature: str
    label: str
    unit: str
    observed: float
    extreme: float
    usual_low: float
    usual_median: float
    usual_high: float
    share: float
    above: bool
    strength: float


def read_baseline(manifest: Mapping[str, Any]) -> Baseline:
    """The baseline in a model's manifest; RefusedState where parts are missing or do not fit each other."""
    where = f"manifest of model '{manifest.get('id', '')}'"
    try:
        features, baseline = manifest["features"], manifest["baseline"]
        names = tuple(str(feature["name"]) for feature in features)
        low, median, high = (np.asarray(baseline[name], np.float64) for name in ("q01", "q50", "q99"))
        weight = np.asarray(baseline.get("weight", [1.0] * len(names)), np.float64)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RefusedState(
            f"{where}: got {error!r}, expected features and baseline q01, q50, q99; export it again"
        ) from None
    for name, values in (("q01", low), ("q50", median), ("q99", high), ("weight", weight)):
        if values.shape != (len(names),) or not np.isfinite(values).all():
            raise RefusedState(
                f"{where}: baseline {name}: got shape {values.shape}, expected {len(names)} finite numbers; "
                "export it again"
            )
    if (low > high).any():
        raise RefusedState(f"{where}: baseline q01 lies above q99; export it again")
    return Baseline(
        model=str(manifest.get("id", "")),
        feature_set=str(manifest.get("feature_set", "")),
        feature_hash=str(manifest.get("feature_hash", "")),
        names=names,
        labels=tuple(str(feature.get("label") or feature["name"]) for feature in features),
        units=tuple(str(feature.get("unit", "")) for feature in features),
        groups=tuple(str(feature.get("group") or feature["name"]) for feature in features),
        low=low,
        median=median,
        high=high,
        weight=weight,
        origins=frozenset(manifest.get("calibration") or ()),
        fitted=fitted_origins(manifest),
    )


def excess(values: Floats, baseline: Baseline) -> Floats:
    """How far each value lies out of its usual range, in spreads of normal traffic; 0 inside or no number. (rows, F)"""
    spread = np.maximum(
        (baseline.high - baseline.low) / QUANTILES_APART,
        np.maximum(SPREAD_OF_VALUE * np.abs(baseline.median), SPREAD_AT_LEAST),
    )
    out = np.maximum(values - baseline.high, baseline.low - values) / spread
    return np.where(np.isnan(out), 0.0, np.clip(out, 0.0, 1e12))


def reasons(sample: FeatureSample, baseline: Baseline) -> list[Reason]:
    """The features that made the flows unusual, at most five, the strongest first; at most two of a feature group.

    Empty where the sample has no flows or another number of features than the baseline.
    """
    if not len(sample.values) or sample.values.shape[1] != len(baseline.names):
        return []
    values = sample.values.astype(np.float64)
    out = excess(values, baseline)
    share = (out > 0).mean(axis=0)
    # Mean of the logs, not log of the mean: one wild flow does not outweigh many that agree.
    strength = np.log1p(out).mean(axis=0) * np.sqrt(share) * baseline.weight
    strongest: list[Reason] = []
    used: dict[str, int] = {}
    for column in np.lexsort((np.arange(len(strength)), -strength)):
        if strength[column] <= 0 or len(strongest) == TOP:
            break
        group = baseline.groups[column]
        if used.get(group, 0) == PER_GROUP:
            continue
        used[group] = used.get(group, 0) + 1
        strongest.append(
            _reason(int(column), values[:, column], sample, baseline, float(share[column]), float(strength[column]))
        )
    return strongest


def _reason(
    column: int, values: Floats, sample: FeatureSample, baseline: Baseline, share: float, strength: float
) -> Reason:
    finite = values[np.isfinite(values)]
    # Of 64 values at most: numpy's median takes ten times as long.
    observed = statistics.median(finite.tolist()) if len(finite) else float(baseline.median[column])
    above = bool((values > baseline.high[column]).sum() >= (values < baseline.low[column]).sum())
    extreme = float((sample.highest if above else sample.lowest)[column])
    return Reason(
        feature=baseline.names[column],
        label=baseline.labels[column],
        unit=baseline.units[column],
        observed=observed,
        extreme=float(np.clip(extreme, -1e30, 1e30)),
        usual_low=float(baseline.low[column]),
        usual_median=float(baseline.median[column]),
        usual_high=float(baseline.high[column]),
        share=share,
        above=above,
        strength=strength,
    )
