"""What counts as acknowledged where Kafka's client reports refusals only."""

from loadtest.sending import Deliveries, produce, producer_of


def test_what_waits_or_was_refused_is_not_acknowledged() -> None:
    deliveries = Deliveries()
    producer = producer_of({"bootstrap.servers": "127.0.0.1:1", "log_level": 0}, deliveries)
    for value in (b"a\nb", b"c", b""):
        produce(producer, "t", value, "k", [])
    deliveries.queued(2, 3)
    deliveries.answered(len(producer))
    assert (deliveries.records, deliveries.messages, deliveries.refused) == (0, 0, "")
    producer.purge()
    producer.poll(1.0)
    deliveries.answered(len(producer))
    assert (deliveries.records, deliveries.messages) == (0, 0) and deliveries.refused


def test_messages_are_taken_for_acknowledged_in_order() -> None:
    deliveries = Deliveries()
    deliveries.queued(2, 20)
    deliveries.queued(1, 5)
    deliveries.answered(1)
    assert (deliveries.records, deliveries.messages) == (20, 2)
    deliveries.answered(0)
    assert (deliveries.records, deliveries.messages) == (25, 3)
