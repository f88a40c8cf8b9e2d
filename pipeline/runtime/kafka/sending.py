"""One message of a command: sent, and waited for."""

from pipeline.contracts.raw import Headers
from pipeline.errors import Failed
from pipeline.runtime.kafka import clients
from pipeline.settings import Settings

ANSWER_S = 30.0
ANY_PARTITION = -1


def send(
    settings: Settings,
    client: str,
    topic: str,
    key: str,
    value: bytes,
    headers: Headers,
    partition: int = ANY_PARTITION,
) -> None:
    """Send one message and wait until the broker acknowledges it; Failed where it does not take it.

    partition: ANY_PARTITION for the one that the key hashes to.
    """
    refused: list[str] = []
    producer = clients.producer(settings, client)
    producer.produce(
        topic,
        key=key.encode(),
        value=value,
        headers=headers,
        partition=partition,
        on_delivery=lambda error, _message: refused.append(str(error)) if error is not None else None,
    )
    if producer.flush(ANSWER_S) or refused:
        reason = refused[0] if refused else f"no answer in {ANSWER_S:g} s"
        raise Failed(f"{topic}: {reason}; the {client} was not sent, send it again")
