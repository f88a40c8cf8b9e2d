"""A calibration fitted to what a sensor's own baseline calls usual, compared silently with that baseline.

It is made from the older usual rows of a sensor that was anchored, as `forebay model calibrate` makes one from a quiet
stretch, and judged on the newest 30 % behind an embargo: what would it have shown that the baseline did not?
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from models.errors import RefusedModel
from models.rows import Mask
from models.serving.model import POOLED, Model
from models.serving.score import Scorer
from models.training.recalibrate import recalibrate, without
from pipeline.contracts.envelope import SensorName
from pipeline.retrain.candidate import EMBARGO_US, border_us_of
from pipeline.retrain.usual import SensorRows
from schemas.model_manifest import FITTED, MAX_MANIFEST_BYTES, canonical

WAITING, PASSED, REFUSED, CALIBRATED, PROMOTED, WITHDRAWN = (
    "waiting",
    "passed",
    "refused",
    "calibrated",
    "promoted",
    "withdrawn",
)
HOUR_US = 3_600_000_000


@dataclass(frozen=True, slots=True)
class Rule:
    """How much a fitted calibration may show of what its sensor's baseline does not, and how much evidence it takes.

    min_aside
        Rows that are held against it: 1.3 % of all rows are more than .5 % of 600 in 19 of 20 cases.
    min_usual
        The newest 30 % are min_aside; the others are seven times as many as `forebay model calibrate` asks for.
    min_aside_us
        Three days: of samples that are one in 32, what shows 1.3 flows an hour has shown one by then in 19 of 20 cases.
        Of 18 hours of the generated plant two of three samples held none, and 1 to 2 false incidents an hour followed.
    max_added
        Share of the flows that the baseline does not show: 3 to 8 % at two of three foreign networks.
    max_added_an_hour
        Flows: 11 an hour were two false incidents an hour at the generated plant, .4 are under two a day.
    """

    min_aside: int = 600
    min_usual: int = 2_000
    min_aside_us: int = 72 * HOUR_US
    max_added: float = 0.005
    max_added_an_hour: float = 0.4


DEFAULT_RULE = Rule()


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a fitted calibration shows of the rows kept aside, beside the sensor's own baseline.

    usual, fitted_on : usual rows, and those it was fitted to
    aside : rows kept aside that the baseline does not show; hours : from the first to the last of them
    added : of these what it would show
    added_an_hour : flows an hour that it would show beyond the baseline's, by the samples' share
    shown, also_shown : rows kept aside that the baseline shows, and of these what the model shows by itself
    attacks, attacks_lost : rows that verdicts call an attack and that are found now, and that would not be any more
    """

    usual: int
    fitted_on: int
    aside: int
    hours: float
    added: int
    added_an_hour: float
    shown: int
    also_shown: int
    attacks: int
    attacks_lost: int


@dataclass(frozen=True, slots=True)
class Fitted:
    """A candidate, None where none was made, how it compares, and the reasons against it.

    origin : `site/sensor`
    outcome : waiting (too few rows), calibrated (the model knows the sensor already), passed or refused
    stale : whether the model in use has a fitted calibration from before the sensor learnt again
    """

    origin: str
    outcome: str
    stale: bool
    model: Model | None = None
    comparison: Comparison | None = None
    against: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "outcome": self.outcome,
            "stale": self.stale,
            "candidate": None if self.model is None else self.model.id,
            "fitted_to": None if self.model is None else self.model.document["calibration"][self.origin]["quiet"],
            "comparison": None if self.comparison is None else asdict(self.comparison),
            "against": list(self.against),
        }


def is_stale(current: Model, origin: str, began_us: int) -> bool:
    """Whether the model has a calibration that was fitted before the sensor learnt its plant again."""
    return origin in current.fitted and int(current.document["calibration"][origin]["quiet"]["to_us"]) < began_us


def fit(
    current: Model,
    sensor: SensorName,
    rows: SensorRows | None,
    began_us: int,
    rule: Rule = DEFAULT_RULE,
    device: str = "cpu",
) -> Fitted:
    """A candidate for a sensor whose baseline is anchored: the model in use, with a calibration fitted for it.

    rows : its samples of the stretch that began at `began_us`, in which its baseline has known what is usual; None
        without any.
    The same model, rows and verdicts give the same candidate.
    """
    origin = "/".join(sensor)
    stale = is_stale(current, origin, began_us)
    if current.origin_of(origin) != POOLED and not stale:
        return Fitted(origin, CALIBRATED, stale)
    usual = 0 if rows is None else int(rows.usual.sum())
    if rows is None or usual < rule.min_usual:
        return Fitted(
            origin, WAITING, stale, against=(f"only {usual:,} usual samples, expected at least {rule.min_usual:,}",)
        )
    border_us = border_us_of(rows.end_us[rows.usual])
    learn = rows.usual & (rows.end_us < border_us - EMBARGO_US)
    about = provenance(sensor, rows, learn) if learn.any() else None
    try:
        model = recalibrate(current, origin, rows.matrix[learn], rows.end_us[learn], provenance=about)
    except RefusedModel as error:
        return Fitted(origin, REFUSED, stale, against=(str(error),))
    comparison = compare(current, model, origin, rows, learn, rows.end_us >= border_us, device)
    against = reasons(comparison, len(canonical(model.document)), rule)
    return Fitted(origin, REFUSED if against else PASSED, stale, model, comparison, against)


def provenance(sensor: SensorName, rows: SensorRows, learn: Mask) -> dict[str, Any]:
    """What a calibration was fitted to, for the manifest."""
    site, name = sensor
    return {
        "name": FITTED,
        "sha256": rows.digest(learn),
        "site": site,
        "sensor": name,
        "baseline": int(rows.baseline[learn].max()),
        "rows": int(learn.sum()),
        "from_us": int(rows.end_us[learn].min()),
        "to_us": int(rows.end_us[learn].max()),
        "one_in": rows.one_in,
    }


def compare(
    current: Model,
    candidate: Model,
    origin: str,
    rows: SensorRows,
    learn: Mask,
    aside: Mask,
    device: str,
) -> Comparison:
    """Both models beside the baseline, on the rows `aside` (n,) and on all that verdicts call an attack."""
    judged = np.flatnonzero((aside & rows.even) | rows.attack)
    by_model = np.zeros(len(rows.end_us), np.bool_)
    by_model[judged] = _suspects(candidate, origin, rows, judged, device)
    before = rows.shown.copy()
    if origin in current.origins:
        before[judged] |= _suspects(current, origin, rows, judged, device)
    seen = rows.attack & before
    not_shown, is_shown = aside & rows.even & ~rows.shown, aside & rows.even & rows.shown
    added = int(by_model[not_shown].sum())
    hours = float(np.ptp(rows.end_us[not_shown])) / HOUR_US if not_shown.any() else 0.0
    return Comparison(
        usual=int(rows.usual.sum()),
        fitted_on=int(learn.sum()),
        aside=int(not_shown.sum()),
        hours=round(hours, 3),
        added=added,
        added_an_hour=round(added * rows.one_in / max(hours, 1e-3), 3),
        shown=int(is_shown.sum()),
        also_shown=int(by_model[is_shown].sum()),
        attacks=int(seen.sum()),
        attacks_lost=int((seen & ~(by_model | rows.shown)).sum()),
    )


def _suspects(model: Model, origin: str, rows: SensorRows, judged: Any, device: str) -> Mask:
    """(k,) which of the rows `judged` (k,) the model by itself calls suspects."""
    scorer = Scorer(model, device)
    scored = scorer.score(rows.matrix[judged], rows.end_us[judged], np.full(len(judged), origin))
    return scored.suspect


def reasons(comparison: Comparison, manifest_bytes: int, rule: Rule = DEFAULT_RULE) -> tuple[str, ...]:
    """What speaks against a fitted calibration; too little evidence does."""
    against = []
    added, aside = comparison.added, comparison.aside
    if aside < rule.min_aside:
        against.append(f"only {aside:,} samples to compare on, expected at least {rule.min_aside:,}")
    if comparison.hours * HOUR_US < rule.min_aside_us:
        least = rule.min_aside_us / HOUR_US
        against.append(f"only {comparison.hours:.1f} hours to compare on, expected at least {least:g}")
    if added > rule.max_added * aside:
        against.append(
            f"{added / aside:.2%} of the flows that the baseline does not show would be suspects "
            f"({added:,} of {aside:,} samples), expected at most {rule.max_added:.1%}"
        )
    if comparison.added_an_hour > rule.max_added_an_hour:
        against.append(
            f"{comparison.added_an_hour:.3g} flows an hour that the baseline does not show would be suspects (by "
            f"{added:,} of {aside:,} samples), expected at most {rule.max_added_an_hour:g}"
        )
    if comparison.attacks_lost:
        against.append(f"{comparison.attacks_lost:,} flows that verdicts call an attack would not be found any more")
    if manifest_bytes > MAX_MANIFEST_BYTES:
        against.append(
            f"the model is calibrated for as many sensors as its manifest can hold ({MAX_MANIFEST_BYTES:,} bytes)"
        )
    return tuple(against)


def withdrawn(current: Model, sensor: SensorName) -> Model:
    """The model without the fitted calibration of a sensor."""
    return without(current, "/".join(sensor))


def fitted_again(model: Model, rows_of: Mapping[str, SensorRows]) -> Model:
    """A newly trained model with a calibration of each `site/sensor` that it has none for, fitted to its usual rows.

    rows_of : of those the model in use has one for, the samples from the first to the last row it was fitted to.
    One without enough of them is left out, which speaks against the new model.
    """
    for origin in sorted(rows_of.keys() - model.origins.keys()):
        rows, (site, _, name) = rows_of[origin], origin.partition("/")
        about = provenance((site, name), rows, rows.usual) if rows.usual.any() else None
        try:
            model = recalibrate(model, origin, rows.matrix[rows.usual], rows.end_us[rows.usual], provenance=about)
        except RefusedModel:
            continue
    return model
