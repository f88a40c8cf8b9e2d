"""What a stateful stage is to the shell around Faust: a state per partition, and one step from message to messages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from pipeline.errors import Failed

State = TypeVar("State")


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message as it was read."""

    partition: int
    offset: int
    timestamp_us: int
    key: bytes | None
    value: bytes
    headers: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to send; it goes to the partition number the incoming one was read from."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes] = field(default_factory=dict)


class Stage(Protocol[State]):
    """A stateful stage: what the shell calls, always from one thread at a time.

    `advance` must be a function of state and message alone: after a crash the shell repeats it from the last saved
    state, and what it sends again must be the same bytes.
    """

    name: str
    """Consumer group, folder of state, name in logs: `featurize`, `alert`."""
    source: str
    """Topic it reads."""
    pointers: str
    """Compacted topic of its pointer records."""
    packs: bool = False
    """Whether what it sends is compressed already, as the messages between stages are (wire/framing.py)."""
    gathers: bool = False
    """Whether messages of several partitions cost it less together, so that waiting a moment for them pays."""

    def restore(self, partition: int, snapshot: bytes | None, parts: Mapping[str, bytes]) -> State:
        """The state in a snapshot and its parts; None is the start."""

    def snapshot(self, state: State) -> bytes:
        """The state, but for its parts, as bytes; equal states give equal bytes."""

    def parts(self, state: State) -> Mapping[str, object]:
        """What of the state is saved apart, by name: what has not changed since is the same object as before.

        By default nothing: all of the state is in its snapshot.
        """
        return {}

    def part(self, part: object) -> bytes:
        """A part as bytes; equal ones give equal bytes."""
        raise Failed(f"{self.name}: got {part!r} to save, expected no parts: this stage names none")

    def seq(self, state: State) -> int:
        """Number of the next message to emit (or, for a stage that numbers none, to read)."""

    def reached_us(self, state: State) -> int:
        """Upper bound of the event times of what came out of the messages so far, or went in; never decreases."""

    def advance(self, state: State, message: Incoming) -> tuple[State, Sequence[Outgoing]]:
        """One message: the state after it and what is to be sent. An exception stops the worker."""

    def advance_together(
        self, messages: Sequence[tuple[State, Incoming]]
    ) -> Sequence[tuple[State, Sequence[Outgoing]]]:
        """A message of each of several partitions: of each what `advance` gives."""
        return [self.advance(state, message) for state, message in messages]
