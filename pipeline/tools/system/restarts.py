"""What follows when a worker ends: pure functions of its exit code and history."""

import signal

from pipeline.errors import (
    BadData,
    Fenced,
    KafkaDenied,
    KafkaUnreachable,
    MessageTooLarge,
    Misconfigured,
    PositionLost,
    Usage,
)

# Codes whose cause stays until somebody removes it: the same start would end the same way.
NOT_RETRIED = frozenset(
    kind.exit_code for kind in (Usage, BadData, MessageTooLarge, PositionLost, KafkaDenied, Misconfigured)
)
# A worker that was killed is back before anybody notices; one that cannot start does not fill the log.
FIRST_DELAY_S = 0.5
MAX_DELAY_S = 60.0
# After so many ends in a row the worker counts as failing: it is named, and tried on.
FAILING_AFTER = 4
# A worker that was ready for so long has started well: its next end is the first of a new row.
STABLE_S = 60.0

REMEDIES = {
    Usage.exit_code: "the command line is wrong: a fault of `forebay up` itself; report it",
    BadData.exit_code: "what it reads is damaged: `forebay doctor`, and the message's position in its log",
    MessageTooLarge.exit_code: "`forebay topic check` compares max.message.bytes; correct it, then down and up",
    PositionLost.exit_code: "raise the topic's retention, or start with another prefix or folder",
    KafkaUnreachable.exit_code: "start Kafka, or correct FOREBAY_BOOTSTRAP; it is tried again meanwhile",
    Fenced.exit_code: "another worker runs under its name: end that one, or set another FOREBAY_INSTANCE_ID",
    KafkaDenied.exit_code: "correct FOREBAY_SECURITY or the cluster's ACLs, then `forebay down` and `forebay up`",
    Misconfigured.exit_code: "correct the setting, then `forebay down` and `forebay up`",
}


def delay_s(exit_code: int, ends_in_a_row: int) -> float | None:
    """After how many seconds a worker starts again; None where starting it again would not help."""
    if exit_code in NOT_RETRIED:
        return None
    return min(MAX_DELAY_S, FIRST_DELAY_S * 2.0 ** (ends_in_a_row - 1))


def describe_end(exit_code: int) -> str:
    """An exit code in words."""
    if exit_code >= 0:
        return f"exit {exit_code}"
    try:
        return f"ended by {signal.Signals(-exit_code).name}"
    except ValueError:
        return f"ended by signal {-exit_code}"


def remedy_of(exit_code: int) -> str:
    """What to do where the worker's own message does not say it."""
    if exit_code == -signal.SIGKILL:
        return "somebody killed it, or the system for want of memory: `dmesg` says so"
    return REMEDIES.get(exit_code, "read its log; it is tried again meanwhile")
