from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from models.serving.model import Model
from models.training.recalibrate import recalibrate, without
from pipeline.contracts.baseline import Evidence
from pipeline.retrain import fitted
from pipeline.retrain.candidate import EMBARGO_US
from pipeline.retrain.fitted import Comparison, Fitted, fit, reasons
from pipeline.retrain.usual import SensorRows
from schemas import model_manifest as manifest
from tests.retrain.usual_samples import BEGAN_US, ORIGIN, ROWS, SENSOR, attacks, model, of_table, usual_rows


@pytest.fixture(scope="module")
def current() -> Model:
    return model()


def taken(rows: SensorRows, chosen: Any) -> SensorRows:
    """Some of the rows."""
    return SensorRows(
        **{
            name: column[chosen] if isinstance(column, np.ndarray) else column
            for name, column in rows._asdict().items()
        }
    )


@pytest.fixture(scope="module")
def passed(current: Model) -> Fitted:
    return fit(current, SENSOR, of_table(usual_rows()), BEGAN_US)


def test_a_sensor_that_stays_as_it_is_passes(passed: Fitted, current: Model) -> None:
    assert (passed.outcome, passed.against) == (fitted.PASSED, ())
    assert passed.model is not None and passed.model.fitted == {ORIGIN}
    assert passed.model.origin_of(ORIGIN) == ORIGIN and passed.model.document["parent"] == current.id
    compared = passed.comparison
    assert compared is not None and compared.usual == ROWS * 3 // 4
    assert compared.aside == pytest.approx(0.3 * compared.usual, abs=2)
    assert compared.added <= 0.005 * compared.aside and compared.added_an_hour <= 0.4 and compared.hours > 72


def test_rows_of_one_minute_are_refused(current: Model) -> None:
    """Nothing is left behind the embargo."""
    rows = of_table(usual_rows(hours=0.01))
    refused = fit(current, SENSOR, rows, int(rows.end_us.min()))
    assert (refused.outcome, refused.model) == (fitted.REFUSED, None) and "got 0 flows" in refused.against[0]


def test_what_it_was_fitted_to_is_in_the_manifest_and_older_than_what_it_is_held_against(passed: Fitted) -> None:
    assert passed.model is not None and passed.comparison is not None
    quiet = passed.model.document["calibration"][ORIGIN]["quiet"]
    rows = of_table(usual_rows())
    assert (quiet["site"], quiet["sensor"], quiet["rows"]) == (*SENSOR, passed.comparison.fitted_on)
    assert quiet["one_in"] == 32 and passed.document()["fitted_to"] == quiet
    assert quiet["from_us"] == rows.end_us[0] and quiet["baseline"] == 4
    assert quiet["to_us"] < np.quantile(rows.end_us, 0.7) - EMBARGO_US
    manifest.parse(manifest.canonical(passed.model.document), "made")


def test_the_same_samples_give_the_same_bytes_in_whatever_order_they_were_read(current: Model, passed: Fitted) -> None:
    again = fit(current, SENSOR, of_table(usual_rows()), BEGAN_US)
    assert again.document() == passed.document()


def test_a_sensor_that_does_new_things_is_refused(current: Model) -> None:
    made = fit(current, SENSOR, of_table(usual_rows(odd_from=0.8)), BEGAN_US)
    assert made.outcome == fitted.REFUSED and made.model is not None
    assert "of the flows that the baseline does not show would be suspects" in made.against[0]
    assert made.comparison is not None and made.comparison.added_an_hour > 1


def test_what_the_baseline_shows_anyway_is_not_held_against_it(current: Model) -> None:
    odd = np.arange(ROWS) % 20 == 0
    evidence = np.where(odd & (np.arange(ROWS) >= 0.8 * ROWS), int(Evidence.STRANGE), 0)
    made = fit(current, SENSOR, of_table(usual_rows(odd_from=0.8, evidence=evidence)), BEGAN_US)
    assert made.outcome == fitted.PASSED and made.comparison is not None
    assert made.comparison.shown == made.comparison.also_shown > 50


@pytest.mark.parametrize("rows", [None, 2_000])
def test_too_few_rows_wait(current: Model, rows: int | None) -> None:
    given = of_table(usual_rows(rows)) if rows else None
    made = fit(current, SENSOR, given, BEGAN_US)
    assert (made.outcome, made.model) == (fitted.WAITING, None)
    assert "usual samples, expected at least 2,000" in made.against[0]


def test_attacks_by_verdict_are_not_fitted_to(current: Model) -> None:
    """An attack that came back until it was usual, and that somebody has named since."""
    odd = np.flatnonzero((np.arange(ROWS) % 20 == 0) & (np.arange(ROWS) >= ROWS // 4))
    hidden = of_table(usual_rows(odd_from=0.0))
    named = of_table(usual_rows(odd_from=0.0), attacks(odd))
    assert hidden.usual.sum() - named.usual.sum() == named.attack.sum() == len(odd)
    blind, seeing = fit(current, SENSOR, hidden, BEGAN_US), fit(current, SENSOR, named, BEGAN_US)
    share = {}
    for name, made in (("blind", blind), ("seeing", seeing)):
        assert made.model is not None
        share[name] = fitted._suspects(made.model, ORIGIN, named, np.flatnonzero(named.attack), "cpu").mean()
    assert share["blind"] < 0.1 and share["seeing"] > 0.9


def test_what_a_person_calibrated_is_left_alone(current: Model) -> None:
    rows = of_table(usual_rows())
    for origin in (ORIGIN, SENSOR[0]):
        calibrated = recalibrate(current, origin, rows.matrix, rows.end_us, provenance={"name": "quiet.csv"})
        made = fit(calibrated, SENSOR, rows, BEGAN_US + 10**15)
        assert (made.outcome, made.stale, made.model) == (fitted.CALIBRATED, False, None)


def test_a_fitted_one_stays_until_the_sensor_learns_again(passed: Fitted) -> None:
    assert passed.model is not None
    rows = of_table(usual_rows(seed=4))
    assert fit(passed.model, SENSOR, rows, BEGAN_US).outcome == fitted.CALIBRATED
    again = fit(passed.model, SENSOR, rows, BEGAN_US + 10**15)
    assert (again.outcome, again.stale) == (fitted.PASSED, True)
    assert again.model is not None and again.model.id != passed.model.id and again.model.fitted == {ORIGIN}
    few = fit(passed.model, SENSOR, None, BEGAN_US + 10**15)
    assert (few.outcome, few.stale) == (fitted.WAITING, True) and few.document()["stale"]


def test_an_attack_that_only_the_calibration_before_found_is_not_lost(passed: Fitted) -> None:
    assert passed.model is not None
    # Without verdicts the attacks of the second stretch are usual at their sensor, and the new calibration is blind.
    odd = np.flatnonzero((np.arange(ROWS) % 20 == 0) & (np.arange(ROWS) >= ROWS // 4))
    rows = of_table(usual_rows(odd_from=0.0))
    made = fit(passed.model, SENSOR, rows, BEGAN_US + 10**15)
    named = of_table(usual_rows(odd_from=0.0), attacks(odd))
    assert made.model is not None
    learn = rows.usual & (rows.end_us < np.quantile(rows.end_us, 0.7))
    compared = fitted.compare(passed.model, made.model, ORIGIN, named, learn, ~learn, device="cpu")
    assert compared.attacks == len(odd) and compared.attacks_lost > 0.9 * len(odd)
    assert any("verdicts call an attack" in reason for reason in reasons(compared, 1))


def test_a_withdrawn_calibration_leaves_the_model_as_it_was(passed: Fitted, current: Model) -> None:
    assert passed.model is not None
    left = fitted.withdrawn(passed.model, SENSOR)
    assert left.origins.keys() == current.origins.keys() and left.weights.keys() == current.weights.keys()
    assert left.document["calibration"] == current.document["calibration"]
    assert left.document["parent"] == passed.model.id
    manifest.parse(manifest.canonical(left.document), "left")


def test_a_new_model_gets_the_fitted_calibrations_again(passed: Fitted, current: Model) -> None:
    assert passed.model is not None
    quiet = passed.model.document["calibration"][ORIGIN]["quiet"]
    every = of_table(usual_rows())
    inside = every.end_us <= quiet["to_us"]
    rows = taken(every, inside)
    again = fitted.fitted_again(without(passed.model, ORIGIN), {ORIGIN: rows})
    assert again.document["calibration"][ORIGIN] == passed.model.document["calibration"][ORIGIN]
    few = taken(every, np.arange(50))
    assert fitted.fitted_again(current, {ORIGIN: few}).id == current.id


FINE = Comparison(4_000, 2_800, 1_200, 480.0, 6, 0.4, 3, 2, 5, 0)


@pytest.mark.parametrize(
    ("changed", "manifest_bytes", "against"),
    [
        ({}, manifest.MAX_MANIFEST_BYTES, None),
        ({"added": 7}, 1, "0.58% of the flows that the baseline does not show would be suspects (7 of 1,200 samples)"),
        ({"aside": 599, "added": 0}, 1, "only 599 samples to compare on, expected at least 600"),
        ({"hours": 71.9}, 1, "only 71.9 hours to compare on, expected at least 72"),
        ({"added_an_hour": 0.41}, 1, "0.41 flows an hour that the baseline does not show would be suspects (by 6 of"),
        ({"attacks_lost": 1}, 1, "1 flows that verdicts call an attack would not be found any more"),
        ({}, manifest.MAX_MANIFEST_BYTES + 1, "calibrated for as many sensors as its manifest can hold"),
    ],
)
def test_what_speaks_against_one(changed: dict[str, Any], manifest_bytes: int, against: str | None) -> None:
    found = reasons(replace(FINE, **changed), manifest_bytes)
    assert len(found) == (against is not None)
    assert against is None or against in found[0]


def test_rows_that_cannot_be_fitted_to_are_a_reason(current: Model) -> None:
    rows = of_table(usual_rows())
    broken = rows._replace(matrix=np.where(np.arange(len(rows.end_us))[:, None] == 5, np.nan, rows.matrix))
    made = fit(current, SENSOR, broken, BEGAN_US)
    assert (made.outcome, made.model) == (fitted.REFUSED, None)
    assert "no finite numbers" in made.against[0]
    assert pa.Table.from_pylist([made.document()]).num_rows == 1
