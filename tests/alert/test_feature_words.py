"""Every feature of every feature set, in plain words."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.alert.explain import Reason
from pipeline.alert.feature_words import read_feature_words, reason_words, shipped_feature_words
from pipeline.alert.manifests import shipped_folder
from pipeline.errors import Misconfigured
from pipeline.featurize.feature_sets import FEATURE_SETS

FEATURES = {feature.name: feature for each in FEATURE_SETS.values() for feature in each.features}


def reason(name: str, observed: float, low: float = 0.0, high: float = 0.0, share: float = 1.0) -> Reason:
    feature = FEATURES[name]
    extreme = observed if observed > high else high + 1
    return Reason(name, feature.label, feature.unit, observed, extreme, low, low, high, share, True, 1.0)


def test_every_feature_has_words_and_no_word_is_left_over() -> None:
    assert set(shipped_feature_words()) == set(FEATURES)


def test_the_shipped_models_features_have_words() -> None:
    folder = shipped_folder()
    assert folder is not None
    names = {feature["name"] for feature in orjson.loads((folder / "manifest.json").read_bytes())["features"]}
    assert names <= set(shipped_feature_words())


@pytest.mark.parametrize("name", sorted(FEATURES))
def test_a_features_words_say_its_value_and_what_is_usual(name: str) -> None:
    words, no = shipped_feature_words()[name]
    if FEATURES[name].unit == "flag":
        assert no is not None and not set(words.get_identifiers()) | set(no.get_identifiers())
        assert "usually" in words.template and "usually" in no.template
    else:
        assert no is None and set(words.get_identifiers()) == {"value", "usual"}
    for observed in (0.0, 1.0, 12.7, 3e9):
        said = reason_words(reason(name, observed))
        assert "$" not in said and "usually" in said and len(said) <= 256
        assert FEATURES[name].label not in said or FEATURES[name].label in words.template


@pytest.mark.parametrize(
    ("name", "observed", "low", "high", "says"),
    [
        ("host_new_peers", 12.7, 0, 0.328, "new partners spoken to: 13; usually none"),
        ("duration_us", 17_100_000, 0, 500_000, "lasted 17.1 s; usually 0 µs to 500 ms"),
        ("unanswered", 1, 0, 0, "one end never spoke; usually both do"),
        ("unanswered", 0, 1, 1, "both ends spoke; usually one does not"),
        ("has_ports", 1, 0, 0, "its ports are known; usually they are not"),
        (
            "dst_host_srv_diff_host_rate",
            0.402,
            0,
            0.01,
            "flows of the same service went to many devices, 40.2 % by their number among the last 255; "
            "usually 0 % to 1 %",
        ),
        ("src_fan_out", 41, 1, 3, "the source spoke to 41 devices of late; usually 1 to 3"),
    ],
)
def test_they_are_peoples_words(name: str, observed: float, low: float, high: float, says: str) -> None:
    assert reason_words(reason(name, observed, low, high)) == says


def test_what_few_flows_did_is_said_of_few() -> None:
    said = reason_words(reason("host_new_peers", 0.0, 0.0, 0.0, share=0.2))
    assert said == "new partners spoken to: 1; usually none (in 20 % of its flows)"


def test_a_feature_of_a_later_model_is_named_as_it_is() -> None:
    later = Reason("new_one", "a new thing", "bytes", 5.0, 5.0, 0.0, 1.0, 2.0, 1.0, True, 1.0)
    assert reason_words(later) == "a new thing: 5 bytes, usually 0 to 2 bytes"


@given(st.sampled_from(sorted(FEATURES)), st.floats(allow_nan=False, width=32), st.floats(0, 1))
def test_any_number_can_be_said(name: str, observed: float, share: float) -> None:
    assert reason_words(reason(name, observed, share=share))


@pytest.mark.parametrize("text", ["nonsense", 'a = "$other"', 'a = ["one"]', 'a = "$"', "a = ['x', 'y', 'z']"])
def test_a_wrong_table_is_named(text: str) -> None:
    with pytest.raises(Misconfigured, match="feature_words"):
        read_feature_words(text)
