"""What featurize compiles is compiled before anything is timed."""

from pipeline.featurize.feature_set import FEATURE_SET, FeatureSet
from pipeline.featurize.ordering.buffer import NO_FLOWS
from pipeline.featurize.sensor import SensorState, advance
from pipeline.featurize.snapshot import restore, snapshot


def compile_ahead(feature_set: FeatureSet = FEATURE_SET) -> None:
    """Compile all that a feature set needs, if it is not yet: some fifteen seconds, cached beside the sources."""
    state, _ = advance(SensorState.empty(feature_set), NO_FLOWS, False, 0, max_waiting=-1)
    restore(snapshot(state), feature_set=feature_set)
