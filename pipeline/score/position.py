"""The position of a partition: the only state of this stage, stored in the metadata of its committed offsets."""

from dataclasses import dataclass, replace

import orjson

from pipeline.errors import PositionLost, RefusedState, SequenceGap

NOTHING_SCORED_US = -1


@dataclass(frozen=True, slots=True)
class StagePosition:
    """A partition's offset, and what lies before it.

    Parameters
    ----------
    offset : int
        Of the features message to read next.
    seq : int
        Number the next features message must carry.
    scored_until_us : int
        Highest event time scored so far; -1 before the first row. A promotion must lie beyond it.
    """

    offset: int
    seq: int = 0
    scored_until_us: int = NOTHING_SCORED_US

    def metadata(self) -> str:
        """What is committed beside the offset; Kafka keeps at most 4,096 bytes of it."""
        return orjson.dumps({"seq": self.seq, "until": self.scored_until_us}).decode()

    @classmethod
    def committed(cls, offset: int, metadata: str | None, where: str) -> "StagePosition":
        """From a committed offset; RefusedState where another tool has set it."""
        try:
            facts = orjson.loads(metadata or "")
            return cls(offset, int(facts["seq"]), int(facts["until"]))
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise RefusedState(
                f"{where}: the committed offset {offset} carries {metadata!r}, expected seq and event time as score "
                "writes them; offsets set by another tool cannot be used: delete the group's to read from the start"
            ) from error

    def expect_held(self, first: int, where: str) -> None:
        """PositionLost where the topic, which begins at offset `first`, no longer holds the message to read next."""
        if self.offset < first:
            raise PositionLost(
                f"{where}: the committed position is {self.offset}, the topic holds {first} and later; messages were "
                "deleted before they were scored: raise the topic's retention, and start with another topic prefix"
            )

    def accepts(self, offset: int, seq: int, where: str) -> bool:
        """Whether a message is the next one; False for one seen before, SequenceGap where one is missing."""
        if offset < self.offset or seq < self.seq:
            return False
        if seq > self.seq:
            raise SequenceGap(
                f"{where}@{offset}: got seq {seq}, expected {self.seq}; a message between featurize and score is "
                "missing, nothing is skipped: look for deleted or foreign messages in the topic"
            )
        return True

    def advanced(self, offset: int, seq: int, scored_until_us: int) -> "StagePosition":
        """The position after a message that was scored."""
        return StagePosition(offset + 1, seq + 1, max(self.scored_until_us, scored_until_us))

    def skipped(self, offset: int) -> "StagePosition":
        """The position after a message that was dropped."""
        return replace(self, offset=max(self.offset, offset + 1))
