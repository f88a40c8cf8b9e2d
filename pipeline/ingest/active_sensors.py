"""The sensors of each partition, up to a limit: what a sensor above the limit sends is rejected (ADR 23).

Every later stage keeps state per sensor, and whoever may write to `raw` chooses the names. So the number is bounded
here, once, and what was decided stands in the log: as flows, or as rejects with reason `too_many_sensors`.

The sensors known travel in the metadata of ingest's committed offsets, with the transaction that admitted them: a
worker that takes a partition over continues from what its predecessor committed.
"""

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
import pyarrow as pa

from pipeline.contracts.raw import SourceInfo
from pipeline.contracts.sensor_retention import SENSOR_RETENTION_US
from pipeline.ingest.messages import Messages

FAULT = "too_many_sensors"
NOTHING_SEEN_US = -(1 << 62)

_MAGIC = "sensors-1:"
_DIGEST_BYTES = 8
# Kafka takes 4,096 bytes of metadata by default (offset.metadata.max.bytes); of more sensors than fit, those that sent
# last are written down.
_MAX_WRITTEN = (4_096 - len(_MAGIC)) // 4 * 3 // _DIGEST_BYTES


@dataclass(slots=True)
class _Partition:
    """newest_us: the latest end time of its flows. heard_us: by a sensor's digest, what that was when it last sent.
    all_active_us: an event time at which none of them was silent for too long: until it moves on, none is.
    """

    newest_us: int = NOTHING_SEEN_US
    heard_us: dict[bytes, int] = field(default_factory=dict)
    all_active_us: int | None = None

    def copied(self) -> "_Partition":
        """The same, apart."""
        return replace(self, heard_us=dict(self.heard_us))


class ActiveSensors:
    """The sensors of the partitions that are ours, at most `limit` of each."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._partitions: dict[int, _Partition] = {}

    @property
    def partitions(self) -> set[int]:
        """Those whose sensors are known."""
        return set(self._partitions)

    def count(self, partition: int) -> int:
        """How many sensors a partition has."""
        return len(self._partitions[partition].heard_us)

    def load(self, partition: int, metadata: str | None) -> None:
        """Take a partition over with what `metadata` returned when its offset was committed.

        Anything else is read as no sensors: they become known again as they send.
        """
        digests: list[bytes] = []
        if metadata is not None and metadata.startswith(_MAGIC):
            try:
                written = base64.b64decode(metadata[len(_MAGIC) :], validate=True)
            except (binascii.Error, ValueError):
                written = b""
            if len(written) % _DIGEST_BYTES == 0:
                digests = [written[at : at + _DIGEST_BYTES] for at in range(0, len(written), _DIGEST_BYTES)]
        self._partitions[partition] = _Partition(heard_us=dict.fromkeys(digests, NOTHING_SEEN_US))

    def forget(self, partitions: Iterable[int]) -> None:
        """These are another worker's now."""
        for partition in partitions:
            self._partitions.pop(partition, None)

    def copied(self, partitions: Iterable[int]) -> dict[int, "_Partition"]:
        """The sensors of these partitions as they are now: what `revert` takes."""
        return {number: self._partitions[number].copied() for number in partitions}

    def revert(self, before: Mapping[int, "_Partition"]) -> None:
        """Take back who was admitted since: the transaction was aborted, and its messages are read again."""
        self._partitions |= before

    def metadata(self, partition: int) -> str:
        """The sensors of a partition as text for its committed offset: longest silent first."""
        digests = list(self._partitions[partition].heard_us)[-_MAX_WRITTEN:]
        return _MAGIC + base64.b64encode(b"".join(digests)).decode()

    def admit(self, messages: Messages) -> Messages:
        """The messages; those of sensors above the limit have that fault. In raw order, so that the end of a source
        admits a sensor that comes after it.
        """
        count = np.int64(len(messages.sources))
        senders = messages.partition * count + messages.source
        holds = (messages.sizes > 0) | messages.of_sources([source.ends for source in messages.sources])
        named = [
            (sender, sender // int(count), messages.sources[sender % int(count)])
            for sender in np.unique(senders[holds]).tolist()
        ]
        named = [(sender, partition, source) for sender, partition, source in named if not source.fault]
        digests = {sender: digest(source) for sender, _, source in named if source.ends or not source.marks}
        ending = {(partition, digests[sender]) for sender, partition, source in named if source.ends}
        changing = [
            sender
            for sender, partition, source in named
            if sender in digests
            and ((partition, digests[sender]) in ending or digests[sender] not in self._partitions[partition].heard_us)
        ]
        if not changing:
            return messages
        refused = []
        for index in np.flatnonzero(holds & np.isin(senders, changing)).tolist():
            partition, of = int(messages.partition[index]), digests[int(senders[index])]
            state = self._partitions[partition]
            if messages.sources[messages.source[index]].ends:
                state.heard_us.pop(of, None)
            elif of not in state.heard_us:
                if self._admits_another(state):
                    state.heard_us[of] = state.newest_us
                else:
                    refused.append(index)
        return self._refuse(messages, np.array(refused, np.int64)) if refused else messages

    def observe(self, messages: Messages, flows: pa.RecordBatch) -> None:
        """Note who sent these messages, and how far event time came with their flows; only who was admitted counts."""
        partition_of = flows.column("raw_partition").to_numpy()
        end_us = flows.column("end_ts_us").to_numpy()
        for partition in np.unique(messages.partition).tolist():
            state = self._partitions[partition]
            state.newest_us = max(state.newest_us, int(end_us[partition_of == partition].max(initial=NOTHING_SEEN_US)))
            for number in np.unique(messages.source[messages.partition == partition]).tolist():
                source = messages.sources[number]
                of = None if source.fault or source.marks else digest(source)
                if of is not None and of in state.heard_us:
                    del state.heard_us[of]  # so that who sent last stands last
                    state.heard_us[of] = state.newest_us

    def _admits_another(self, state: _Partition) -> bool:
        """Whether the partition is below the limit, once sensors not heard for so long are removed where it is not."""
        if len(state.heard_us) >= self._limit and state.newest_us != state.all_active_us:
            oldest_us = state.newest_us - SENSOR_RETENTION_US
            # Who is known from metadata alone counts as having sent when event time was first known here.
            heard = {of: at if at > NOTHING_SEEN_US else state.newest_us for of, at in state.heard_us.items()}
            state.heard_us = {of: at for of, at in heard.items() if at >= oldest_us}
            state.all_active_us = state.newest_us
        return len(state.heard_us) < self._limit

    def _refuse(self, messages: Messages, indices: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Messages:
        """The messages, those at the indices with sources that say why they are refused."""
        numbers, which = np.unique(messages.source[indices], return_inverse=True)
        got = f"another sensor where {self._limit} are active"
        refused = [messages.sources[number]._replace(fault=FAULT, got=got) for number in numbers.tolist()]
        source = messages.source.copy()
        source[indices] = len(messages.sources) + which
        return replace(messages, sources=[*messages.sources, *refused], source=source)


def digest(source: SourceInfo) -> bytes:
    """A sensor's name in eight bytes; names have no control characters, so the separator is in none."""
    return _digest(source.site, source.sensor)


@lru_cache(maxsize=4_096)
def _digest(site: str, sensor: str) -> bytes:
    return hashlib.blake2b(f"{site}\x1f{sensor}".encode(), digest_size=_DIGEST_BYTES).digest()
