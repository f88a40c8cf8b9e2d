"""What `forebay doctor` finds: a row a check, and an error in the place of a check that could not be made."""

from collections.abc import Callable
from dataclasses import dataclass

from confluent_kafka import KafkaException

from pipeline.errors import ForebayError


@dataclass(frozen=True, slots=True)
class Finding:
    """One row: what was checked, how it is, what to do about it; what was expected where that is not in the remedy."""

    check: str
    verdict: str  # ok, warn or fail
    found: str
    remedy: str = ""
    expected: str = ""


def guarded(check: str, verdict: str, check_function: Callable[[], Finding]) -> Finding:
    """The finding; an error of ours, or of Kafka, becomes one: its message says what to do."""
    try:
        return check_function()
    except ForebayError as error:
        return Finding(check, verdict, str(error))
    except KafkaException as error:
        return Finding(check, verdict, refusal(error), "see the broker's log, and what this principal may do (ACLs)")


def refusal(error: KafkaException) -> str:
    """What Kafka says, in its own words."""
    return f"Kafka: {error.args[0].str()}"
