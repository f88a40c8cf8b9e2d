from typing import Any

import numpy as np
import pytest

from pipeline.alert.explain import Reason, read_baseline, reasons
from pipeline.alert.features import FeatureSample, FlowFeatures
from pipeline.errors import RefusedState
from schemas.model_manifest import FITTED
from tests.alert.suspects import manifest, scored


def explained(values: list[list[float]], document: dict[str, Any] | None = None) -> list[Reason]:
    rows = scored([{"raw_offset": number} for number in range(len(values))], np.asarray(values))
    return reasons(FeatureSample.empty().add(FlowFeatures.of(rows)), read_baseline(document or manifest()))


def test_what_is_furthest_out_of_the_usual_range_comes_first() -> None:
    strongest = explained([[900, 30_000, 1, 0.0], [1000, 20_000, 1, 0.0], [950, 20_000, 0, 0.0]])
    assert [reason.feature for reason in strongest] == ["host_syn", "unanswered"]
    syn = strongest[0]
    assert (syn.observed, syn.extreme, syn.usual_low, syn.usual_high, syn.above) == (950, 1000, 0, 9, True)
    assert syn.label == "recent SYN packets of the busier end"
    assert syn.share == 1
    assert strongest[1].share == pytest.approx(2 / 3)


def test_what_lies_below_the_usual_range_counts_too() -> None:
    [reason] = explained([[2, 3, 0, 0]])
    assert (reason.feature, reason.above, reason.extreme) == ("duration_us", False, 3)


def test_ordinary_flows_have_no_reasons() -> None:
    assert explained([[2, 20_000, 0, 0.05]]) == []


def test_no_numbers_are_no_reasons_and_the_infinite_is_one() -> None:
    assert explained([[float("nan")] * 4]) == []
    [reason] = explained([[float("inf"), 20_000, 0, 0], [float("nan"), 20_000, 0, 0]])
    assert reason.feature == "host_syn"
    assert np.isfinite([reason.observed, reason.extreme, reason.strength]).all()


def test_at_most_two_of_a_group_and_five_in_all() -> None:
    document = manifest()
    document["features"] = [{"name": f"f{n}", "label": "", "unit": "", "group": "abc"[n % 3]} for n in range(12)]
    document["baseline"] = {name: [0] * 12 for name in ("q01", "q50", "q99")}
    values = np.ones((3, 12))
    rows = scored([{"raw_offset": n} for n in range(3)], values)
    strongest = reasons(FeatureSample.empty().add(FlowFeatures.of(rows)), read_baseline(document))
    assert [reason.feature for reason in strongest] == ["f0", "f1", "f2", "f3", "f4"]


def test_a_weight_says_what_matters_more() -> None:
    document = manifest()
    document["baseline"]["weight"] = [1, 1, 100, 1]
    assert explained([[900, 30_000, 1, 0.0]], document)[0].feature == "unanswered"


def test_features_of_another_width_are_not_explained() -> None:
    rows = scored([{}], np.ones((1, 7)))
    assert reasons(FeatureSample.empty().add(FlowFeatures.of(rows)), read_baseline(manifest())) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"features": None}, "features"),
        ({"baseline": {}}, "q01"),
        ({"baseline": {"q01": [0], "q50": [0], "q99": [0]}}, "expected 4 finite"),
        ({"baseline": {"q01": [float("nan")] * 4, "q50": [0] * 4, "q99": [0] * 4}}, "finite"),
        ({"baseline": {"q01": [1] * 4, "q50": [0] * 4, "q99": [0] * 4}}, "above q99"),
        ({"baseline": {"q01": ["x"] * 4, "q50": [0] * 4, "q99": [0] * 4}}, "expected features and baseline"),
    ],
)
def test_a_manifest_without_a_sound_baseline_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(RefusedState, match=says):
        read_baseline(manifest() | change)


def test_ranges_of_another_plant_explain_no_sensor_that_its_own_baseline_calibrated() -> None:
    document = manifest()
    document["calibration"] = {"*": {}, "west/a": {}, "new/edge": {"quiet": {"name": FITTED}}}
    baseline = read_baseline(document)
    assert baseline.knows("new", "edge") and not baseline.explains("new", "edge")
    assert baseline.knows("west", "a") and baseline.explains("west", "a")
    assert not baseline.knows("new", "other") and not baseline.explains("new", "other")
