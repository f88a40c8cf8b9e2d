"""The partitions a worker owns: restored, advanced, saved. Faust is only how their messages get here.

State, position and seq are one: they are restored together and saved together, and Kafka's committed offsets decide
nothing. The order of saving is the promise (docs/adr/0002): what a saved position lies behind has been acknowledged.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic

from confluent_kafka import KafkaException, Message, TopicPartition

from pipeline.errors import BadData, Failed, ForebayError, PositionLost, RefusedState, SequenceGap
from pipeline.runtime import failpoints
from pipeline.runtime.faust.emitter import FOR_EVER, Emitted, Emitter
from pipeline.runtime.faust.stage import Incoming, Stage, State
from pipeline.runtime.kafka import clients, topics
from pipeline.runtime.kafka.retention import MARK
from pipeline.runtime.spacing import Spacing
from pipeline.runtime.state import parts, pointers
from pipeline.runtime.state.parts import Saved
from pipeline.runtime.state.pointers import Pointer
from pipeline.runtime.state.replay_snapshots import RetainedSnapshot, SnapshotCatalog
from pipeline.runtime.state.store import Store
from pipeline.runtime.storage.location import open_storage
from pipeline.runtime.telemetry import Telemetry, log
from pipeline.settings import Settings

RECENT_POINTERS = 4
# Younger blobs are not deleted, whoever wrote them: a paused worker may still point to one.
MIN_BLOB_AGE_S = 120.0
COLLECT_EVERY_S = 30.0
# A drain ends after so long at the latest, so that its caller sees a request to stop or a lost partition.
DRAIN_S = 1.0
IDENTIFY_S = 5.0
# While a save is under way, so many times the messages that a save is due after are advanced beside it, no more.
MAX_SAVES_BESIDE = 2
# After a save a rest of so many times what it took: what it costs depends on the sensors that have sent, hardly on how
# much they sent, so at most a fiftieth of the time goes into it. A crash repeats what came since the last save began.
REST_RATIO = 49.0
MAX_REST_S = 10.0
NOTHING_CAME_US = -(1 << 62)


@dataclass
class OwnedPartition(Generic[State]):
    """One partition: the state that its messages before `position` have led to."""

    state: State
    position: int
    saved: int
    """Position of the last saved state."""
    last: Saved | None
    """What was saved last by this worker."""
    recent: list[set[str]]
    """Digests not to collect, newest state first."""
    catalog: SnapshotCatalog
    """Snapshots for replays to start from; their digests are not to be collected either."""
    snapshot_us: int
    """Event time of the newest snapshot."""


@dataclass(frozen=True, slots=True)
class Captured:
    """A partition's state as bytes, and what it stands for: advancing may continue while it is written.

    blobs: those of `parts` that have changed since the last save, as bytes, by their object's id.
    """

    partition: int
    position: int
    seq: int
    reached_us: int
    snapshot: bytes
    parts: Mapping[str, object]
    blobs: Mapping[int, bytes]
    emitted: Emitted
    """Messages that the state lies behind: Kafka must have them first."""

    def part(self, part: object) -> bytes:
        """A part that has changed, as bytes; BlobGone where it had not, and its blob is wanted nevertheless."""
        if id(part) not in self.blobs:
            raise BlobGone(f"partition {self.partition}: got no blob of a part that has not changed since it was saved")
        return self.blobs[id(part)]


class BlobGone(Failed):
    """What was saved before is not where state lies any more: the next save writes all parts."""


class Partitions(Generic[State]):
    """The partitions a worker owns.

    Not thread-safe, with two exceptions: what was captured may be written and pointed to while messages are advanced,
    and positions may be looked at while partitions are restored.
    """

    def __init__(
        self, stage: Stage[State], settings: Settings, telemetry: Telemetry, stopped: Callable[[], bool] = lambda: False
    ) -> None:
        self.stage = stage
        self._settings = settings
        self._storage = open_storage(settings.state_uri, "state")
        self._telemetry = telemetry
        self._log = log(stage.name)
        self._owned: dict[int, OwnedPartition[State]] = {}
        self._stopped = stopped
        self._make_producers()
        self._topic_id = ""
        self._saved_at = time.monotonic()
        self._spacing = Spacing(REST_RATIO, MAX_REST_S)
        self._unsaved_at_begin = 0
        self._collected_at = time.monotonic()
        telemetry.count("forebay_malformed_records", 0, topic=stage.pointers)
        for name in ("forebay_producer_full", "forebay_messages_dropped"):
            telemetry.count(name, 0, stage=stage.name)

    def _make_producers(self) -> None:
        def full() -> None:
            self._telemetry.count("forebay_producer_full", stage=self.stage.name)

        self._emitter = Emitter(self._settings, self.stage.name, full, self.stage.packs)
        self._pointer_writer = clients.producer(
            self._settings, f"{self.stage.name}-point", **FOR_EVER, **{"linger.ms": 0}
        )

    def renew(self) -> None:
        """Forget all partitions, make new producers: what was not saved is read and emitted again, the same bytes."""
        self.release()
        self._make_producers()

    # ---- restoring

    def restore(self, partitions: Iterable[int]) -> dict[int, int]:
        """Take partitions over from their last saved state; returns the position to read each from.

        RefusedState where none of a partition's states can be read, or where its topic no longer holds the position.
        """
        wanted = [partition for partition in partitions if partition not in self._owned]
        known = self._pointers(wanted) if wanted else {}
        if wanted:
            self._identify()
        for partition in wanted:
            self._owned[partition] = self._restored(partition, known[partition])
        self._telemetry.gauge("forebay_partitions", len(self._owned))
        return {partition: owned.position for partition, owned in self._owned.items()}

    def _pointers(self, wanted: list[int]) -> dict[int, list[Pointer]]:
        def ignored(message: Message, error: BadData) -> None:
            topic, partition = self.stage.pointers, message.partition()
            self._log.warning("pointer ignored", partition=partition, offset=message.offset(), error=str(error))
            self._telemetry.count("forebay_malformed_records", topic=topic)

        return pointers.read(self._settings, self.stage.pointers, wanted, ignored=ignored)

    def _restored(self, partition: int, known: list[Pointer]) -> OwnedPartition[State]:
        first, end = self._bounds(partition)
        store = self._store(partition)
        catalog = SnapshotCatalog(self._storage, self.stage.source, partition)
        snapshot_us = max((entry.reached_us for entry in catalog.of(self._topic_id)), default=NOTHING_CAME_US)
        refused: RefusedState | None = None
        for pointer in known:
            try:
                snapshot, digests = parts.get(store, pointer.digest)
                apart = dict(zip(digests, store.get_many(digests.values()), strict=True))
            except RefusedState as error:
                # An older state is as good: what it leads to again carries the seq it had, and is recognised.
                self._log.warning("state refused, trying an older one", partition=partition, error=str(error))
                refused = refused or error
                continue
            self._expect_held(partition, pointer.position, first, end)
            recent = [needed for older in known[:RECENT_POINTERS] if (needed := self._needed(store, older))]
            state = self.stage.restore(partition, snapshot, apart)
            position = max(pointer.position, first)
            return OwnedPartition(state, position, position, None, recent, catalog, snapshot_us)
        if refused is not None:
            raise refused
        return OwnedPartition(self.stage.restore(partition, None, {}), first, first, None, [], catalog, snapshot_us)

    def _expect_held(self, partition: int, position: int, first: int, end: int) -> None:
        # The record behind the last one read is the mark of its transaction; retention may have taken it as well.
        if not first - MARK <= position <= end:
            raise PositionLost(
                f"{self.stage.source}[{partition}]: the saved state is for offset {position}, the topic "
                f"holds {first} to {end}; messages were deleted before they were read, or the topic was made anew: "
                "restore it, or start with another topic prefix"
            )

    def skips(self, partition: int, offset: int) -> bool:
        """Whether a message at this offset leaves others out: an aborted transaction, or what retention deleted."""
        owned = self._owned.get(partition)
        return owned is not None and offset > owned.position + MARK

    def expect_held(self, partition: int) -> None:
        """PositionLost where Kafka no longer holds what is to be read next; asks Kafka, so never in the event loop."""
        owned = self._owned.get(partition)
        if owned is not None:
            self._expect_held(partition, owned.position, *self._bounds(partition))

    def _identify(self) -> None:
        """Learn which topic this is; until it is known no snapshot is retained, and nothing else depends on it."""
        try:
            self._topic_id = topics.topic_id(self._settings, self.stage.source, IDENTIFY_S)
        except KafkaException as error:
            self._log.warning(
                "the topic's id is not known, no snapshot is retained", topic=self.stage.source, error=str(error)
            )

    def _needed(self, store: Store, pointer: Pointer) -> set[str]:
        """Every blob that a pointer's state needs; none where it cannot be read."""
        try:
            return {pointer.digest, *parts.get(store, pointer.digest)[1].values()}
        except RefusedState:
            return set()

    def _bounds(self, partition: int) -> tuple[int, int]:
        reader = clients.reader(self._settings, self.stage.name)
        try:
            first, end = reader.get_watermark_offsets(TopicPartition(self.stage.source, partition), timeout=30)
        except KafkaException as error:
            raise clients.unreachable(self._settings, error) from error
        finally:
            reader.close()
        return first, end

    def _store(self, partition: int) -> Store:
        return Store(self._storage, f"{self.stage.name}/{partition}")

    # ---- advancing

    def advance(self, messages: Sequence[tuple[Incoming, int]]) -> None:
        """A message of each of several partitions; left out are those of others' partitions, or before the position.

        With each the offset of the message that was fetched just before it; SequenceGap where that one never came.
        """
        ours = [message for message, before in messages if self._is_next(message, before)]
        states = [self._owned[message.partition].state for message in ours]
        advanced = self.stage.advance_together(list(zip(states, ours, strict=True)))
        for message, (state, outgoing) in zip(ours, advanced, strict=True):
            owned = self._owned[message.partition]
            self._emitter.emit(message.partition, list(outgoing))
            failpoints.reached(f"{self.stage.name}.emitted")
            owned.state = state
            owned.position = message.offset + 1

    def _is_next(self, message: Incoming, before: int) -> bool:
        owned = self._owned.get(message.partition)
        if owned is None or message.offset < owned.position:
            self._telemetry.count("forebay_messages_dropped", stage=self.stage.name)
            return False
        if before >= owned.position:
            raise SequenceGap(
                f"{self.stage.source}[{message.partition}]@{message.offset}: the message at {before} was fetched "
                f"and never came, the position is {owned.position}; start the worker again, it reads on "
                "from its saved state"
            )
        return True

    @property
    def blocked(self) -> bool:
        """Whether messages wait for space in the client's queue: nothing may be advanced until `drain` is through."""
        return self._emitter.blocked

    def drain(self) -> None:
        """Wait a moment for space in the client's queue; blocks, so never called in the event loop's thread."""
        self._emitter.drain(DRAIN_S, self._stopped)

    # ---- saving

    @property
    def unsaved(self) -> int:
        """Number of offsets advanced since the last save."""
        return sum(owned.position - owned.saved for owned in list(self._owned.values()))

    @property
    def due(self) -> bool:
        """Whether it is time to save, and the rest after the last save is over."""
        unsaved = self.unsaved
        if self._spacing.left_s(time.perf_counter()):
            return False
        return unsaved >= self._settings.state_every_messages or (
            unsaved > 0 and time.monotonic() - self._saved_at >= self._settings.state_every_s
        )

    @property
    def overdue(self) -> bool:
        """Whether so much was advanced since a save began that nothing more may be before it is through."""
        return self.unsaved - self._unsaved_at_begin >= MAX_SAVES_BESIDE * self._settings.state_every_messages

    def begin(self) -> list[int]:
        """Begin a save: the partitions that have advanced since they were saved."""
        self._unsaved_at_begin = self.unsaved
        return [number for number, owned in list(self._owned.items()) if owned.position != owned.saved]

    def save(self) -> dict[int, int]:
        """Save the partitions that have advanced; returns the positions that are now safe to commit.

        1. Capture each one's state as bytes. Nothing is advanced meanwhile, but from here on it may be.
        2. Write what has changed of it, under its digest, to where state lies.
        3. Wait until the broker has acknowledged every message emitted before the capture.
        4. Append the pointer records and wait until the broker has acknowledged them.
        5. Retain a snapshot for replays where one is due (replay_snapshots.py), call the positions saved (the caller
           commits them to Kafka, for lag metrics only).

        A crash before 4 leaves the old pointers: messages are read again from there, and what they lead to carries
        the same seq and the same bytes. Kafka may be away for any time: steps 3 and 4 wait for it. Raises Backpressure
        where the worker is asked to stop meanwhile, and what `Emitter.acknowledge` raises.
        """
        started = time.perf_counter()
        captured = [self.capture(partition) for partition in self.begin()]
        return self.point([(each, saved) for each in captured if (saved := self.write(each)) is not None], started)

    def capture(self, partition: int) -> Captured:
        """Step 1, for one partition."""
        owned, stage = self._owned[partition], self.stage
        parts_of = stage.parts(owned.state)
        known = owned.last.parts if owned.last is not None else {}
        changed = [part for name, part in parts_of.items() if known.get(name, (None, ""))[0] is not part]
        return Captured(
            partition,
            owned.position,
            stage.seq(owned.state),
            stage.reached_us(owned.state),
            stage.snapshot(owned.state),
            parts_of,
            {id(part): stage.part(part) for part in changed},
            self._emitter.emitted(partition),
        )

    def write(self, captured: Captured) -> Saved | None:
        """Step 2; None where a blob of before has vanished: then the next save writes everything."""
        owned = self._owned[captured.partition]
        try:
            store = self._store(captured.partition)
            saved = parts.put(store, captured.snapshot, captured.parts, captured.part, owned.last)
        except BlobGone as error:
            self._log.warning("state not saved, the next time all of it is written", error=str(error))
            owned.last = None
            return None
        failpoints.reached(f"{self.stage.name}.state written")
        return saved

    def point(self, written: list[tuple[Captured, Saved]], started: float) -> dict[int, int]:
        """Steps 3 to 5 of a save that `started` by `time.perf_counter`; returns the positions that are safe now."""
        if not written:
            self._saved_at = time.monotonic()
            return {}
        pointers_first = self._settings.broken_order == "state-pointers-first"
        if not pointers_first:
            self._acknowledge(written)  # 3
        failpoints.reached(f"{self.stage.name}.acknowledged")
        fresh = [
            Pointer(
                each.partition,
                each.position,
                each.seq,
                saved.digest,
                f"{self._store(each.partition).name}/{saved.digest}",
            )
            for each, saved in written
        ]
        pointers.write(self._pointer_writer, self.stage.pointers, fresh, self._stopped)  # 4
        failpoints.reached(f"{self.stage.name}.pointed")
        if pointers_first:
            self._acknowledge(written)
        for pointer, (captured, saved) in zip(fresh, written, strict=True):  # 5
            owned = self._owned[pointer.partition]
            owned.saved = pointer.position
            owned.last = saved
            owned.recent = [saved.digests, *owned.recent][:RECENT_POINTERS]
            self._retain(owned, pointer, captured.reached_us)
            self._telemetry.count("forebay_state_bytes_written", saved.written, stage=self.stage.name)
        self._saved_at, ended = time.monotonic(), time.perf_counter()
        self._spacing.ended(started, ended)
        self._telemetry.observe("forebay_state_save_seconds", ended - started, stage=self.stage.name)
        self._collect()
        return {pointer.partition: pointer.position for pointer in fresh}

    def _acknowledge(self, written: list[tuple[Captured, Saved]]) -> None:
        for captured, _saved in written:
            self._emitter.acknowledge(captured.emitted, self._stopped)

    def _retain(self, owned: OwnedPartition[State], pointer: Pointer, reached_us: int) -> None:
        """Retain the state just saved if event time has advanced far enough since the last retained snapshot."""
        max_snapshots = self._settings.state_kept
        if not (max_snapshots and owned.last and self._topic_id and reached_us > NOTHING_CAME_US):
            return
        if owned.snapshot_us > NOTHING_CAME_US and reached_us < owned.snapshot_us + self._settings.state_kept_every_us:
            return
        entry = RetainedSnapshot(
            self.stage.name,
            self.stage.source,
            self._topic_id,
            pointer.partition,
            pointer.position,
            pointer.seq,
            reached_us,
            pointer.digest,
            tuple(sorted(owned.last.digests)),
        )
        owned.catalog.retain(entry, max_snapshots)
        owned.snapshot_us = reached_us
        self._telemetry.count("forebay_states_kept", stage=self.stage.name)

    def _collect(self) -> None:
        if time.monotonic() - self._collected_at < COLLECT_EVERY_S:
            return
        self._collected_at = time.monotonic()
        if not self._topic_id:
            self._identify()
        for partition, owned in list(self._owned.items()):
            try:
                retained = owned.catalog.blobs
            except (OSError, ForebayError) as error:  # an entry that cannot be read may need any blob: try again later
                self._log.warning(
                    "retained snapshots not readable, nothing collected", partition=partition, error=str(error)
                )
                continue
            removed = self._store(partition).collect(retained.union(*owned.recent), MIN_BLOB_AGE_S)
            self._telemetry.count("forebay_states_collected", removed, stage=self.stage.name)

    def release(self) -> None:
        """Forget every partition, for another worker to take; what was not saved is repeated there."""
        self._owned.clear()
        self._telemetry.gauge("forebay_partitions", 0)

    @property
    def positions(self) -> dict[int, int]:
        """Next offset of every owned partition."""
        return {partition: owned.position for partition, owned in list(self._owned.items())}
