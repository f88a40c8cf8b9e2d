"""Every error Forebay raises on purpose, and the exit code each one leaves with.

    ForebayError                 1   something failed; the message says what to do
    ├── Failed                   1
    │   ├── SchemaMismatch       1   two parts disagree about columns or features; both names are in the message
    │   ├── SequenceGap          1   a message is missing between two hops; nothing is skipped
    │   ├── RefusedState         1   saved state or a model that must not be used
    │   │   └── PositionLost    66   Kafka no longer holds the messages to read next
    │   ├── MessageTooLarge     65   Kafka does not take a message of this size
    │   ├── AlreadyRunning      73   a system runs in this folder already
    │   └── Fenced              75   another worker took over under this worker's name
    ├── Usage                    2   the command line asks for something that makes no sense
    ├── BadData                 64   bytes that are not what they claim to be
    │   └── BadEnvelope         64   a message between two stages whose facts are not those of its contract
    ├── KafkaUnreachable        69   no broker answers
    │   ├── Backpressure        69   Kafka takes no more messages for now; `retry_after_s` says when to try again
    │   └── Stalled             69   Kafka answers and holds more, and its client brings nothing
    ├── KafkaDenied             77   Kafka refuses who we are, or what we ask for
    └── Misconfigured           78   a setting is missing or impossible

A message says where, what was got, what was expected, and the remedy.
"""


class ForebayError(Exception):
    """An error with a message for people and an exit code for scripts."""

    exit_code = 1


class Failed(ForebayError):
    """Something could not be done."""


class SchemaMismatch(Failed):
    """Two parts disagree about columns or features."""


class SequenceGap(Failed):
    """A message is missing between two hops."""


class RefusedState(Failed):
    """Saved state, or a model, that must not be used."""


class PositionLost(RefusedState):
    """Kafka no longer holds the messages to read next."""

    exit_code = 66


class MessageTooLarge(Failed):
    """Kafka does not take a message of this size."""

    exit_code = 65


class AlreadyRunning(Failed):
    """`forebay up`: a system runs in this folder already; the message says which."""

    exit_code = 73


class Fenced(Failed):
    """Another worker took over under this worker's name."""

    exit_code = 75


class Usage(ForebayError):
    """The command line asks for something that makes no sense."""

    exit_code = 2


class BadData(ForebayError):
    """Bytes that are not what they claim to be."""

    exit_code = 64


class BadEnvelope(BadData):
    """A message between two stages whose facts are not those of its contract."""


class KafkaUnreachable(ForebayError):
    """No broker answers."""

    exit_code = 69


class Backpressure(KafkaUnreachable):
    """Kafka takes no more messages for now."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Stalled(KafkaUnreachable):
    """Kafka answers and holds more, and its client brings nothing: it is made anew, or the worker ends."""


class KafkaDenied(ForebayError):
    """Kafka refuses who we are, or what we ask for."""

    exit_code = 77


class Misconfigured(ForebayError):
    """A setting is missing or impossible."""

    exit_code = 78
