"""Parked alerts sent again: as safely as at first, each at least once and under the key of its first sending."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

from pipeline.contracts.incident_joining import joined
from pipeline.contracts.suppression import Suppressions
from pipeline.errors import ForebayError, Usage
from pipeline.runtime import failpoints
from pipeline.runtime.terminal import printable
from pipeline.tools.alerts.incidents import SHOWN_UID, document
from pipeline.tools.outputs.parked import Parked
from pipeline.tools.outputs.senders import ReceiverOutput, sender_of
from pipeline.tools.outputs.sending import Refused, Undelivered
from schemas.outputs import FileOutput, OutputEntry


class Parking(Protocol):
    """Where parked alerts are held durably."""

    def put(self, parked: Parked) -> bool:
        """Hold it."""

    def take_out(self, parked: Parked) -> None:
        """Hold it no longer."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What is sent again, by output, oldest first; and what stays parked, with why."""

    sent: tuple[tuple[ReceiverOutput, tuple[Parked, ...]], ...]
    suppressed: tuple[Parked, ...]
    without_receiver: tuple[Parked, ...]


@dataclass(frozen=True, slots=True)
class Resent:
    """What came of an output's parked alerts: delivered, refused again, not tried or not taken now; and the answer."""

    name: str
    delivered: int
    refused: int
    left: int
    answer: str


def chosen(
    parked: Sequence[Parked], outputs: Sequence[OutputEntry], named: Sequence[str], to: str | None, rules: Suppressions
) -> Choice:
    """What to send again of what is parked; Usage where a uid names nothing.

    named : uids of incidents or alerts, or their beginnings; none for all. What a verdict suppresses now is sent where
        it is named alone.
    to : an output's name; None for all
    """
    asked = [each for each in parked if to in (None, each.output)]
    for uid in named:
        if not any(_is_named(each, uid) for each in asked):
            known = ", ".join(dict.fromkeys(each.revision.uid[:SHOWN_UID] for each in asked[:5])) or "none"
            raise Usage(
                f"output resend {printable(uid, 40)}: got no parked alert named so ({known}), expected one; "
                "`forebay output parked` lists them"
            )
    wanted = [each for each in asked if not named or any(_is_named(each, uid) for uid in named)]
    receivers = {output.name: output for output in outputs if not isinstance(output, FileOutput)}
    suppressed = [] if named else [each for each in wanted if is_suppressed(each, rules)]
    without = [each for each in wanted if each.output not in receivers]
    stay = {each.key for each in (*suppressed, *without)}
    sent = [each for each in wanted if each.key not in stay]
    by_output = ((output, tuple(each for each in sent if each.output == name)) for name, output in receivers.items())
    return Choice(tuple(pair for pair in by_output if pair[1]), tuple(suppressed), tuple(without))


def _is_named(parked: Parked, uid: str) -> bool:
    return bool(uid) and (parked.revision.uid.startswith(uid) or parked.revision.key.startswith(uid))


def is_suppressed(parked: Parked, rules: Suppressions) -> bool:
    """Whether a verdict suppresses the alert that it holds, as of now."""
    [incident] = joined([parked.revision.event])
    return document(incident, rules)["suppressed"] is not None


def resend(
    output: ReceiverOutput,
    parked: Iterable[Parked],
    parking: Parking,
    now_us: Callable[[], int],
) -> Resent:
    """Send an output's parked alerts in order; what a receiver takes is parked no longer.

    A receiver that is away or busy ends it: that one and those behind it stay parked. Errors of `parking` pass through:
    what was sent last is parked still, and is sent again next time.
    """
    left = list(parked)
    delivered = refused = 0
    answer = ""
    with closing(sender_of(output)) as sender:
        while left:
            try:
                answer = sender.send(left[0].revision)
            except Refused as error:
                answer = str(error)
                parking.put(left.pop(0).again(answer, now_us()))
                refused += 1
            except (Undelivered, ForebayError, OSError, ValueError) as error:
                answer = str(error)
                break
            else:
                failpoints.reached("output.resent")
                parking.take_out(left.pop(0))
                delivered += 1
    return Resent(output.name, delivered, refused, len(left), answer)
