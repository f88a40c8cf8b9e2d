"""What Kafka's errors mean for a worker: which pass by themselves, which need new clients, which stop it and how.

One table, `KINDS`. Codes that it does not list are judged by what the client says of them (`kind_of`).
"""

from collections.abc import Iterable
from enum import Enum

from confluent_kafka import KafkaError, KafkaException, Message

from pipeline.errors import Failed, Fenced, ForebayError, KafkaDenied, KafkaUnreachable, MessageTooLarge, PositionLost


class Kind(Enum):
    """What an error asks of the worker that meets it."""

    PASSES = "passes"
    """Nothing to do: the client recovers by itself."""
    REJOIN = "rejoin"
    """Another member may have the partition: what was not committed is read again, by whoever has it."""
    AWAY = "away"
    """No broker, leader or coordinator answers: try again, with new clients where these cannot recover."""
    BROKEN = "broken"
    """This client cannot continue; a new one can. An outage longer than a transaction's timeout leads here."""
    FENCED = "fenced"
    """A newer client of the same name took over; or an outage was so long that Kafka thinks so."""
    DENIED = "denied"
    """Credentials or permissions: people must act."""
    TOO_LARGE = "too large"
    """A message that Kafka will never take: people must act."""
    LOST = "lost"
    """The position to read next is gone: people must act."""
    OTHER = "other"
    """Anything else stops the worker too."""


_CODES: dict[Kind, tuple[int, ...]] = {
    Kind.PASSES: (
        KafkaError._PARTITION_EOF,
        # A topic that is made a moment later, or a broker that does not know it yet.
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TRANSPORT,
        KafkaError._RESOLVE,
        # The next call of `consume` joins the group again.
        KafkaError._MAX_POLL_EXCEEDED,
    ),
    Kind.REJOIN: (
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError._ASSIGNMENT_LOST,
    ),
    Kind.AWAY: (
        KafkaError._TIMED_OUT,
        KafkaError._TIMED_OUT_QUEUE,
        KafkaError._MSG_TIMED_OUT,
        KafkaError._WAIT_COORD,
        # A broker that starts and does not know of itself yet.
        KafkaError._PARTIAL,
        KafkaError._RETRY,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.BROKER_NOT_AVAILABLE,
        KafkaError.LEADER_NOT_AVAILABLE,
        # A broker that ends or starts and knows an older or a newer leader than the client does.
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.NOT_COORDINATOR,
        KafkaError.NOT_ENOUGH_REPLICAS,
        KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        KafkaError.CONCURRENT_TRANSACTIONS,
    ),
    Kind.BROKEN: (
        KafkaError.INVALID_TXN_STATE,
        KafkaError.INVALID_PRODUCER_ID_MAPPING,
        KafkaError.UNKNOWN_PRODUCER_ID,
        KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER,
        KafkaError._STATE,
        KafkaError._INCONSISTENT,
        KafkaError._GAPLESS_GUARANTEE,
        KafkaError._PURGE_QUEUE,
        KafkaError._PURGE_INFLIGHT,
    ),
    Kind.FENCED: (
        KafkaError._FENCED,
        KafkaError.PRODUCER_FENCED,
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError.UNRELEASED_INSTANCE_ID,
    ),
    Kind.DENIED: (
        KafkaError._AUTHENTICATION,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    ),
    Kind.TOO_LARGE: (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE),
    Kind.LOST: (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._LOG_TRUNCATION),
}
KINDS: dict[int, Kind] = {code: kind for kind, codes in _CODES.items() for code in codes}

# With new clients, a worker can continue after these.
RECOVERABLE = frozenset({Kind.PASSES, Kind.REJOIN, Kind.AWAY, Kind.BROKEN})


def kind_of(error: KafkaError) -> Kind:
    """What an error asks of the worker that meets it."""
    # A fatal error of a producer or a consumer wraps its reason: only the text shows that it is a fence.
    if error.code() == KafkaError._FATAL or error.fatal():
        return Kind.FENCED if "fenced" in error.str().lower() or KINDS.get(error.code()) is Kind.FENCED else Kind.BROKEN
    known = KINDS.get(error.code())
    if known is not None:
        return known
    return Kind.AWAY if error.retriable() else Kind.BROKEN if error.txn_requires_abort() else Kind.OTHER


def records(messages: Iterable[Message]) -> list[Message]:
    """The messages that are records; events of errors that pass are left out.

    Raises PositionLost, KafkaDenied or Fenced where the worker must stop, KafkaException for other errors.
    """
    passed = []
    for message in messages:
        error = message.error()
        if error is None:
            passed.append(message)
        elif kind_of(error) not in (Kind.PASSES, Kind.REJOIN, Kind.AWAY):
            stopping = must_stop(error, f"{message.topic()}[{message.partition()}]")
            raise stopping if stopping is not None else KafkaException(error)
    return passed


def must_stop(error: KafkaError, where: str) -> ForebayError | None:
    """The error of ours where people must act, whatever the worker tries; None where it may try again."""
    kind = kind_of(error)
    if kind is Kind.DENIED:
        return KafkaDenied(
            f"{where}: Kafka refuses us ({error.str()}); expected credentials with access to it: look at "
            "FOREBAY_SECURITY and the cluster's ACLs"
        )
    if kind is Kind.TOO_LARGE:
        return MessageTooLarge(
            f"{where}: Kafka does not take a message of this size ({error.str()}); `forebay topic check` compares the "
            "topic's max.message.bytes with what is expected"
        )
    if kind is Kind.LOST:
        return PositionLost(
            f"{where}: Kafka no longer has the position to read next ({error.str()}); messages were deleted before "
            "they were read: raise the topic's retention, and start with another topic prefix (archive: another folder)"
        )
    return None


def fenced(stage: str, instance: str, error: KafkaError) -> Fenced:
    """The error of a worker whose name a newer one has taken."""
    return Fenced(
        f"{stage}: another worker took over as instance {instance or 'of the same name'!r} ({error.str()}); what this "
        "one had not committed the other one does; give every worker a FOREBAY_INSTANCE_ID of its own"
    )


def refused_request(error: KafkaError, where: str) -> ForebayError:
    """The error of ours for an error of Kafka's that ends a command which only asked: nothing of it is left halfway.

    where : what was asked, and of whom
    """
    kind = kind_of(error)
    if kind is Kind.FENCED or must_stop(error, where) is not None:
        return typed(error, where, "")
    if kind in (Kind.PASSES, Kind.AWAY):
        return _away(error, where)
    return Failed(
        f"{where}: got {error.str()}, expected an answer; ask again, `forebay doctor` looks at the connection and the "
        "topics"
    )


def typed(error: KafkaError, where: str, instance: str) -> ForebayError:
    """The error of ours, with exit code and remedy, for an error of Kafka's that ends a command."""
    stopping = must_stop(error, where)
    if stopping is not None:
        return stopping
    kind = kind_of(error)
    if kind is Kind.FENCED:
        return fenced(where, instance, error)
    if kind in (Kind.PASSES, Kind.AWAY):
        return _away(error, where)
    return Failed(
        f"{where}: Kafka's answer was {error}; the position is unmoved: start it again, or look at the broker"
    )


def _away(error: KafkaError, where: str) -> KafkaUnreachable:
    return KafkaUnreachable(f"{where}: Kafka does not answer ({error.str()}); `forebay doctor` looks at the connection")
