"""Raw messages as the decoders see them: many side by side, an array a field."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.contracts.raw import SourceInfo


class RawMessage(NamedTuple):
    """One message of `raw`."""

    partition: int
    offset: int
    timestamp_us: int
    source: SourceInfo
    payload: bytes
    source_records: bytes | None = None
    traceparent: bytes | None = None


@dataclass(frozen=True, slots=True)
class Messages:
    """n messages of `raw` by partition, then offset; each field but `sources` has n values."""

    partition: npt.NDArray[np.int32]
    offset: npt.NDArray[np.int64]
    timestamp_us: npt.NDArray[np.int64]
    sources: Sequence[SourceInfo]
    """The different ones, perhaps more than these messages have."""
    source: npt.NDArray[np.int64]
    """Which of `sources`."""
    payloads: list[bytes]
    sizes: npt.NDArray[np.int64]
    source_records: list[bytes | None]
    traceparents: list[bytes | None]

    def __len__(self) -> int:
        return len(self.payloads)

    @classmethod
    def of(cls, messages: Sequence[RawMessage]) -> "Messages":
        """Messages side by side, as they come."""
        distinct = {id(message.source): message.source for message in messages}
        numbers = {key: number for number, key in enumerate(distinct)}
        return cls(
            np.array([message.partition for message in messages], np.int32),
            np.array([message.offset for message in messages], np.int64),
            np.array([message.timestamp_us for message in messages], np.int64),
            tuple(distinct.values()),
            np.array([numbers[id(message.source)] for message in messages], np.int64),
            [message.payload for message in messages],
            np.array([len(message.payload) for message in messages], np.int64),
            [message.source_records for message in messages],
            [message.traceparent for message in messages],
        )

    def part(self, first: int, last: int) -> "Messages":
        """The messages from `first` to `last` (exclusive)."""
        within = slice(first, last)
        return Messages(
            self.partition[within],
            self.offset[within],
            self.timestamp_us[within],
            self.sources,
            self.source[within],
            self.payloads[within],
            self.sizes[within],
            self.source_records[within],
            self.traceparents[within],
        )

    def at(self, indices: npt.NDArray[np.int64]) -> "Messages":
        """The messages at these indices, in this order."""
        chosen = indices.tolist()
        return Messages(
            self.partition[indices],
            self.offset[indices],
            self.timestamp_us[indices],
            self.sources,
            self.source[indices],
            [self.payloads[index] for index in chosen],
            self.sizes[indices],
            [self.source_records[index] for index in chosen],
            [self.traceparents[index] for index in chosen],
        )

    def of_sources(self, kind: Sequence[bool]) -> npt.NDArray[np.bool_]:
        """(n,) a fact about each of `sources`, for each message."""
        of_messages: npt.NDArray[np.bool_] = np.array(kind, np.bool_)[self.source]
        return of_messages
