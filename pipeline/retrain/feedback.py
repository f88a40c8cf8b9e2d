"""The analysts' verdicts, read from the topic `feedback`."""

from typing import Any

import orjson
from confluent_kafka import TopicPartition

from pipeline.kafka import clients
from pipeline.retrain.promotion import read_to_end
from pipeline.settings import Settings


def verdicts(settings: Settings) -> list[dict[str, Any]]:
    """All verdicts, oldest first; a message that is no verdict is left out."""
    consumer = clients.reader(settings, "verdicts")
    try:
        topic = settings.topics.feedback
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=10)
        found = []
        for payload in read_to_end(consumer, TopicPartition(topic, 0, low), high):
            record = orjson.loads(payload)
            if isinstance(record, dict) and "verdict_id" in record:
                found.append(record)
        return found
    finally:
        consumer.close()
