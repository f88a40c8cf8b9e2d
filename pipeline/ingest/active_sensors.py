"""The sensors of each partition, up to a limit: what a sensor above the limit sends is rejected (ADR 23).

Every later stage keeps state per sensor, and whoever may write to `raw` chooses the names. So the number is bounded
here, once, and what was decided stands in the log: as flows, or as rejects with reason `too_many_sensors`.

The sensors known, and which lateness the messages of each state, travel in the metadata of ingest's committed offsets,
with the transaction that they came with: a worker that takes a partition over continues from what its predecessor
committed, and waits with a sensor's tick (idle.py) for as long.
"""

import base64
import binascii
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.contracts.lateness import NEVER_US, takes_over
from pipeline.contracts.raw import SourceInfo
from pipeline.contracts.sensor_retention import SENSOR_RETENTION_US
from pipeline.ingest.idle import IdleSensor
from pipeline.ingest.messages import Messages

FAULT = "too_many_sensors"
NOTHING_SEEN_US = -(1 << 62)

_MAGIC, _DIGESTS_ONLY = "sensors-2:", "sensors-1:"
_DIGEST_BYTES = 8
# Of a lateness behind its sensor's digest, as a multiple that is rounded up: 16 bits of it are more than a day.
_LATENESS_BYTES, _LATENESS_UNIT_US = 2, 2_000_000
_SENSOR_BYTES = _DIGEST_BYTES + _LATENESS_BYTES
# Kafka takes 4,096 bytes of metadata by default (offset.metadata.max.bytes); of more sensors than fit, those that sent
# last are written down.
_MAX_WRITTEN = (4_096 - len(_MAGIC)) // 4 * 3 // _SENSOR_BYTES


class _Stated(NamedTuple):
    """The lateness that a sensor's messages state, and when by our clock they last did."""

    us: int
    at_us: int


_NONE = _Stated(0, NEVER_US)


@dataclass(slots=True)
class _Partition:
    """newest_us: the latest end time of its flows. heard_us: by a sensor's digest, what that was when it last sent.
    stated: of those whose messages state a lateness, which. all_active_us: an event time at which none of them was
    silent for too long: until it moves on, none is.
    """

    newest_us: int = NOTHING_SEEN_US
    heard_us: dict[bytes, int] = field(default_factory=dict)
    stated: dict[bytes, _Stated] = field(default_factory=dict)
    all_active_us: int | None = None

    def note(self, of: bytes, says_us: int | None, now_us: int) -> None:
        """Of several that a sensor's messages state the largest holds, as in featurize, but by our clock."""
        holds = self.stated.get(of, _NONE)
        if (says_us is not None or of in self.stated) and takes_over(says_us or 0, *holds, now_us):
            self.stated[of] = _Stated(says_us or 0, now_us)


class ActiveSensors:
    """The sensors of the partitions that are ours, at most `limit` of each; `clock`: in seconds, only goes forward."""

    def __init__(self, limit: int, clock: Callable[[], float]) -> None:
        self._limit = limit
        self._clock = clock
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

        Anything else is read as no sensors: they become known again as they send. A lateness counts as stated now.
        """
        written, now_us = _written(metadata or ""), self._now_us()
        self._partitions[partition] = _Partition(
            heard_us=dict.fromkeys(written, NOTHING_SEEN_US),
            stated={of: _Stated(us, now_us) for of, us in written.items() if us},
        )

    def forget(self, partitions: Iterable[int]) -> None:
        """These are another worker's now."""
        for partition in partitions:
            self._partitions.pop(partition, None)

    def metadata(self, partition: int) -> str:
        """The sensors of a partition as text for its committed offset: longest silent first."""
        state, written = self._partitions[partition], []
        for of in list(state.heard_us)[-_MAX_WRITTEN:]:
            units = -(-state.stated.get(of, _NONE).us // _LATENESS_UNIT_US)
            written.append(of + units.to_bytes(_LATENESS_BYTES, "big"))
        return _MAGIC + base64.b64encode(b"".join(written)).decode()

    def lateness_us(self, sensor: IdleSensor) -> int:
        """Which lateness the messages of a sensor state; 0: none."""
        state = self._partitions.get(sensor.partition)
        return state.stated.get(_digest(sensor.site, sensor.sensor), _NONE).us if state is not None else 0

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
                state.stated.pop(of, None)
            elif of not in state.heard_us:
                if self._admits_another(state):
                    state.heard_us[of] = state.newest_us
                else:
                    refused.append(index)
        return self._refuse(messages, np.array(refused, np.int64)) if refused else messages

    def observe(self, messages: Messages, flows: pa.RecordBatch) -> None:
        """Note who sent these messages, which lateness they state, and how far event time came with their flows.

        Only who was admitted counts.
        """
        now_us = self._now_us()
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
                    state.note(of, source.lateness_us, now_us)

    def _now_us(self) -> int:
        return round(self._clock() * 1e6)

    def _admits_another(self, state: _Partition) -> bool:
        """Whether the partition is below the limit, once sensors not heard for so long are removed where it is not."""
        if len(state.heard_us) >= self._limit and state.newest_us != state.all_active_us:
            oldest_us = state.newest_us - SENSOR_RETENTION_US
            # Who is known from metadata alone counts as having sent when event time was first known here.
            heard = {of: at if at > NOTHING_SEEN_US else state.newest_us for of, at in state.heard_us.items()}
            state.heard_us = {of: at for of, at in heard.items() if at >= oldest_us}
            state.stated = {of: stated for of, stated in state.stated.items() if of in state.heard_us}
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


def _written(metadata: str) -> dict[bytes, int]:
    """By a sensor's digest the lateness that was written down, 0 for none; of earlier versions digests alone."""
    magic = _MAGIC if metadata.startswith(_MAGIC) else _DIGESTS_ONLY
    size = _SENSOR_BYTES if magic == _MAGIC else _DIGEST_BYTES
    try:
        data = base64.b64decode(metadata.removeprefix(magic), validate=True) if metadata.startswith(magic) else b""
    except (binascii.Error, ValueError):
        return {}
    sensors = [data[at : at + size] for at in range(0, len(data), size)] if len(data) % size == 0 else []
    return {each[:_DIGEST_BYTES]: int.from_bytes(each[_DIGEST_BYTES:], "big") * _LATENESS_UNIT_US for each in sensors}


def digest(source: SourceInfo) -> bytes:
    """A sensor's name in eight bytes; names have no control characters, so the separator is in none."""
    return _digest(source.site, source.sensor)


@lru_cache(maxsize=4_096)
def _digest(site: str, sensor: str) -> bytes:
    return hashlib.blake2b(f"{site}\x1f{sensor}".encode(), digest_size=_DIGEST_BYTES).digest()
