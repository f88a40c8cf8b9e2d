"""Facts of messages with a plain value for everything a test does not care about."""

from typing import Any

from pipeline.contracts.envelope import FeaturesFacts, FlowsFacts, MessagePosition, RowsFacts, ScoredFacts


def flows_facts(**changes: Any) -> FlowsFacts:
    plain: dict[str, Any] = {"raw_partition": 0, "first": (0, 0), "last": (0, 0), "records": 1, "rejected": 0}
    return FlowsFacts(**{**plain, **changes})


def rows_facts(**changes: Any) -> RowsFacts:
    plain: dict[str, Any] = {"seq": 0, "raw_partition": 0, "feature_set": "test-1", "feature_hash": "abc"}
    return RowsFacts(**{**plain, **changes})


def features_facts(**changes: Any) -> FeaturesFacts:
    return FeaturesFacts(**_features(changes))


def scored_facts(**changes: Any) -> ScoredFacts:
    return ScoredFacts(**_features(changes))


def at(topic: str, partition: int = 0, offset: int = 0) -> MessagePosition:
    return MessagePosition(topic, partition, offset)


def _features(changes: dict[str, Any]) -> dict[str, Any]:
    plain = {"seq": 0, "raw_partition": 0, "feature_set": "test-1", "feature_hash": "abc"}
    ranged = {"flows_offset": 0, "frontier": None, "first": (0, 0), "through": (0, 0), "records": 0, "rejected": 0}
    return {**plain, **ranged, **changes}
