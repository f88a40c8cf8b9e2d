"""Ask a Kafka who it is."""

from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a Kafka says about itself."""

    cluster_id: str
    brokers: int
    topics: int


def ask(bootstrap: str, timeout_s: float, security: dict[str, str] | None = None) -> Cluster | None:
    """Its answer; None if nothing that speaks Kafka answers within `timeout_s`."""
    configuration: dict[str, Any] = {"bootstrap.servers": bootstrap, "log_level": 0, "error_cb": lambda _error: None}
    client = AdminClient({**configuration, **(security or {})})
    try:
        metadata = client.list_topics(timeout=timeout_s)
    except KafkaException:
        return None
    own_topics = [name for name in metadata.topics if not name.startswith("__")]
    return Cluster(metadata.cluster_id or "", len(metadata.brokers), len(own_topics))
