"""One partition's replay: its history through the stages' functions, in chunks, each with the state behind it.

A chunk is written, then the state after it, then the checkpoint that names both: killed between any two, it resumes
from the last checkpoint and writes the same bytes again. Where a chunk ends is decided by the rows released and their
event time alone.
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.alert.grouping import load_grouping
from pipeline.alert.ocsf import encode as encode_alert
from pipeline.alert.partition import PartitionState as Incidents
from pipeline.alert.partition import advance_partition as advance_incidents
from pipeline.alert.partition import restore as restore_incidents
from pipeline.alert.partition import snapshot as snapshot_incidents
from pipeline.alert.site_techniques import meanings_of_sites
from pipeline.archive.parquet import ROWS_A_PIECE, writer_options
from pipeline.contracts.envelope import RowsFacts
from pipeline.errors import RefusedState
from pipeline.featurize.feature_sets import named
from pipeline.featurize.partition import PartitionState as Windows
from pipeline.featurize.partition import advance_partition as advance_windows
from pipeline.featurize.partition import restore as restore_windows
from pipeline.featurize.partition import sensors_by_name
from pipeline.featurize.partition import snapshot as snapshot_windows
from pipeline.featurize.sensor import SensorState
from pipeline.featurize.snapshot import snapshot as snapshot_sensor
from pipeline.featurize.windows.calendars import Calendars
from pipeline.runtime import failpoints
from pipeline.runtime.files import write_atomic
from pipeline.runtime.state import parts
from pipeline.runtime.state.parts import Saved
from pipeline.runtime.state.store import Store
from pipeline.settings import Settings
from pipeline.tools.replay import history, pace
from pipeline.tools.replay.outlet import Outlet, ReplayedFacts
from pipeline.tools.replay.request import ARCHIVE, Request
from pipeline.tools.replay.scoring import Scoring
from pipeline.tools.replay.start_points import StartPoint

CHUNK_ROWS = 131_072
BATCH_ROWS = 16_384
# A message without a row costs memory too, some 40 KiB with its facts: both are bounded by messages as well.
CHUNK_MESSAGES = 16_384
BATCH_MESSAGES = 1_024
# A replay at a speed writes a chunk at least so often, or little would be left of it after a kill.
CHUNK_S = 60.0
POLL_S = 0.5
NO_TIME = -1

Notify = Callable[["Checkpoint"], None]


class Message(NamedTuple):
    """Rows with features, what holds of them, and the step of the history they came from."""

    rows: pa.RecordBatch
    facts: RowsFacts
    position: int


@dataclass
class Checkpoint:
    """How far a partition is: what of its history has been taken in, and what came of it."""

    position: int
    seq: int = 0
    done: bool = False
    windows: str = ""
    incidents: str = ""
    chunks: list[dict[str, Any]] = field(default_factory=list)
    taken: int = 0
    rows: int = 0
    suspects: int = 0
    reached_us: int = NO_TIME
    first_us: int = NO_TIME

    def encode(self) -> bytes:
        """As JSON."""
        return orjson.dumps(self.__dict__, option=orjson.OPT_SORT_KEYS)


class PartitionReplay:
    """The replay of one partition, from its start point to `end`; nobody else may work on it."""

    def __init__(
        self, settings: Settings, request: Request, folder: Path, start: StartPoint, end: int, scoring: Scoring
    ) -> None:
        self._settings, self._request, self._folder, self._partition = settings, request, folder, start.partition
        self._start, self._end, self._scoring = start, end, scoring
        self._feature_set = named(settings.feature_set, live=True)
        self._calendars = Calendars(settings.calendars)
        self._grouping = load_grouping()
        self._meanings_of = meanings_of_sites(settings.techniques, settings.site_techniques)
        self._store = own_states(folder, self._partition)
        self._windows, self._incidents = Windows.empty(self._feature_set), Incidents.empty()
        self._saved: Saved | None = None
        self._outlet = Outlet(settings, request, self._partition)
        self.checkpoint = self._restored()
        self._rows: list[pa.RecordBatch] = []
        self._events: list[bytes] = []

    # ---- state

    @property
    def _checkpoint_path(self) -> Path:
        return self._folder / f"p{self._partition}.json"

    def _restored(self) -> Checkpoint:
        """Where the replay was; what lies in its folder beyond that is deleted."""
        if self._checkpoint_path.is_file():
            checkpoint = Checkpoint(**orjson.loads(self._checkpoint_path.read_bytes()))
        else:
            start = self._start
            checkpoint = Checkpoint(start.position, start.seq, windows=start.windows, incidents=start.incidents)
            self._incidents.seq = start.incidents_seq
        if checkpoint.windows and not checkpoint.done:
            rest, digests = parts.get(self._store, checkpoint.windows)
            sensors = {name: self._store.get(digest) for name, digest in digests.items()}
            self._windows = restore_windows(rest, sensors, self._feature_set)
        if checkpoint.incidents and not checkpoint.done:
            self._incidents = restore_incidents(self._store.get(checkpoint.incidents))
        listed = {name for chunk in checkpoint.chunks for name in (chunk["rows_file"], chunk["events_file"])}
        for kind in ("rows", "events"):
            for path in (self._folder / kind).glob(f"p{self._partition}-*"):
                if f"{kind}/{path.name}" not in listed:
                    path.unlink()
        return checkpoint

    def _save(self) -> None:
        """1. The chunk; 2. the state behind it; 3. the checkpoint."""
        checkpoint, number = self.checkpoint, len(self.checkpoint.chunks)
        rows = sum(len(batch) for batch in self._rows)
        if rows or self._events:
            names = f"rows/p{self._partition}-{number:06d}.parquet", f"events/p{self._partition}-{number:06d}.jsonl"
            chunk = {
                "rows_file": names[0],
                "rows": rows,
                "rows_sha256": _write(self._folder / names[0], _parquet(self._rows)),
                "events_file": names[1],
                "events": len(self._events),
                "events_sha256": _write(self._folder / names[1], b"".join(event + b"\n" for event in self._events)),
            }
            checkpoint.chunks.append(chunk)
        self._outlet.flush()
        if checkpoint.done:
            # What comes next needs no windows, and the states of its start point are collected below.
            checkpoint.windows, self._saved = "", None
        elif self._request.source != ARCHIVE:
            sensors = sensors_by_name(self._windows)
            self._saved = parts.put(self._store, snapshot_windows(self._windows), sensors, _sensor, self._saved)
            checkpoint.windows = self._saved.digest
        checkpoint.incidents = self._store.put(snapshot_incidents(self._incidents))
        _write(self._checkpoint_path, checkpoint.encode())
        needed = {checkpoint.incidents} | (self._saved.digests if self._saved else set())
        self._store.collect(needed, 0.0)
        self._rows, self._events = [], []

    # ---- the walk

    def run(self, notify: Notify = lambda _checkpoint: None) -> Checkpoint:
        """From where the replay is to its end."""
        if self.checkpoint.done:
            return self.checkpoint
        waiting: list[Message] = []
        due, since_us = pace.Pace(self._request.speed, self._request.to_us), self.checkpoint.reached_us
        released = messages = 0
        for step in self._steps():
            if self._request.speed and due.wait_s(step) > 0:
                self._take(waiting)  # what there is comes out when it is due, not when more is
                waiting = []
                while (left_s := due.wait_s(step)) > 0:
                    notify(self.checkpoint)
                    time.sleep(min(left_s, POLL_S))
            made = self._features(step)
            waiting += made
            self.checkpoint.position = step.position + 1
            released += sum(len(message.rows) for message in made)
            messages += len(made)
            ends_us = [message.rows.column("end_ts_us").to_numpy() for message in made if len(message.rows)]
            if since_us == NO_TIME and ends_us:
                since_us = int(ends_us[0].min())
            now_us = max((int(times_us.max()) for times_us in ends_us), default=since_us)
            full = released >= CHUNK_ROWS or messages >= CHUNK_MESSAGES
            full = full or 0 < CHUNK_S * 1e6 * self._request.speed <= now_us - since_us
            batch_is_full = (
                sum(len(message.rows) for message in waiting) >= BATCH_ROWS or len(waiting) >= BATCH_MESSAGES
            )
            if full or batch_is_full:
                self._take(waiting)
                waiting = []
                notify(self.checkpoint)
            if full:
                self._save()
                released, messages, since_us = 0, 0, self.checkpoint.reached_us
        self._take(waiting)
        self.checkpoint.done = True
        self._save()
        notify(self.checkpoint)
        return self.checkpoint

    def _steps(self) -> Iterator[history.Step]:
        position, speed = self.checkpoint.position, self._request.speed
        if self._request.source != ARCHIVE:
            first = history.flows_first(self._settings, self._partition)
            # The record behind the last one read is the mark of its transaction; retention may have taken it as well.
            if position < min(first - 1, self._end):
                raise RefusedState(
                    f"partition {self._partition}: the replay is to read from offset {position} on, topic flows holds "
                    f"{first} on; messages were deleted meanwhile: start another --run"
                )
            return history.flows(self._settings, self._partition, min(max(position, first), self._end), self._end)
        archive, bounds = self._settings.archive_uri, self._request.read_us
        if not speed:
            return history.archived(archive, self._partition, position, self._end, bounds)
        sensors = history.archived_by_sensor(archive, self._partition, self._end, bounds)
        return pace.side_by_side(sensors, pace.slice_us(speed), position)

    def _features(self, step: history.Step) -> list[Message]:
        if isinstance(step, history.ArchivedStep):
            return [Message(step.rows, step.facts, step.position)]
        self._windows, messages = advance_windows(
            self._windows,
            step.rows,
            step.facts,
            step.position,
            self._settings.lateness_of,
            self._settings.stitch_of,
            self._calendars,
            self._settings.learning_of,
        )
        return [Message(rows, facts, step.position) for rows, facts in messages]

    def _take(self, waiting: list[Message]) -> None:
        """Score what waits as one batch, then group its suspects message by message.

        Messages that the incidents know already are scored only where rows of theirs are to come out.
        """
        from pipeline.score.route import suspects_of

        if not waiting:
            return
        checkpoint = self.checkpoint
        for features in sorted({(message.facts.feature_set, message.facts.feature_hash) for message in waiting}):
            self._scoring.expect(*features)
        wanted = [self._wanted(message.rows, message.position) for message in waiting]
        known = max(0, self._incidents.seq - checkpoint.seq)
        needed = [number >= known or bool(rows.any()) for number, rows in enumerate(wanted)]
        retained_rows: list[pa.RecordBatch] = []
        to_score = [message.rows for message, need in zip(waiting, needed, strict=True) if need]
        scores = iter(self._scoring.score(to_score))
        for number, (message, rows) in enumerate(zip(waiting, wanted, strict=True)):
            # The archive's steps may leave numbers out; what the incidents' state wants is their order.
            # Notices are left out: the archive has none, and a replay of it is to give what one of the topic does.
            message = message._replace(facts=replace(message.facts, seq=checkpoint.seq, notices=()))
            self._note(message.rows)
            if needed[number]:
                scored = next(scores)
                suspects = suspects_of(scored)
                events = self._events_of(suspects, message) if number >= known else []
                self._outlet.put(scored, suspects, events, ReplayedFacts(message.facts, message.position))
                retained_rows += self._selected(scored, rows)
            checkpoint.seq += 1
            checkpoint.taken += len(message.rows)
        if sum(map(len, retained_rows)) < ROWS_A_PIECE * len(retained_rows):
            retained_rows = [pa.concat_batches(retained_rows)]  # small ones are mostly overhead
        self._rows += retained_rows

    def _events_of(self, suspects: pa.RecordBatch, message: Message) -> list[tuple[str, bytes]]:
        """A message's incidents, those that hold flows of the times that were asked for."""
        advanced = advance_incidents(
            self._incidents,
            suspects,
            message.facts,
            self._grouping,
            self._scoring.baseline_of,
            self._meanings_of,
            self._settings.pages_of,
        )
        self._incidents = advanced.state
        asked = self._request
        first = max((first for partition, first, _ in asked.offsets if partition == self._partition), default=0)
        events = [
            (event["finding_info"]["uid"], encode_alert(event))
            for event in advanced.events
            if "notice" not in event["unmapped"]
            and (asked.from_us is None or event["unmapped"]["last_ts_us"] >= asked.from_us)
            and (asked.to_us is None or event["unmapped"]["first_ts_us"] < asked.to_us)
            and message.position >= first
        ]
        self._events += [event for _, event in events]
        return events

    def _note(self, batch: pa.RecordBatch) -> None:
        """How far event time has come."""
        if not len(batch):
            return
        checkpoint, end_us = self.checkpoint, batch.column("end_ts_us").to_numpy()
        checkpoint.reached_us = max(checkpoint.reached_us, int(end_us.max()))
        checkpoint.first_us = (
            int(end_us.min()) if checkpoint.first_us == NO_TIME else min(checkpoint.first_us, int(end_us.min()))
        )

    def _wanted(self, batch: pa.RecordBatch, position: int) -> npt.NDArray[np.bool_]:
        """Which of a message's rows were asked for."""
        end_us = batch.column("end_ts_us").to_numpy()
        wanted = np.ones(len(batch), np.bool_)
        if self._request.from_us is not None:
            wanted &= end_us >= self._request.from_us
        if self._request.to_us is not None:
            wanted &= end_us < self._request.to_us
        for partition, first, end in self._request.offsets:
            if partition == self._partition:
                wanted &= first <= position < end
        return wanted

    def _selected(self, scored: pa.RecordBatch, wanted: npt.NDArray[np.bool_]) -> list[pa.RecordBatch]:
        """Of what came out of a message, the rows that were asked for; nothing where there is none."""
        if not wanted.all():
            scored = scored.filter(pa.array(wanted))
        if not self._request.features:
            scored = scored.drop_columns(["features"])
        if not len(scored):
            return []
        self.checkpoint.rows += len(scored)
        self.checkpoint.suspects += int(np.count_nonzero(scored.column("suspect").to_numpy(zero_copy_only=False)))
        return [scored]

    def close(self) -> None:
        """Leave Kafka."""
        self._outlet.flush()


def own_states(folder: Path, partition: int) -> Store:
    """The states of a run's partition, those it started with too."""
    return Store(folder / "state", str(partition))


def _sensor(part: object) -> bytes:
    if not isinstance(part, SensorState):
        raise RefusedState(f"replay: got {part!r} to save, expected a sensor's state")
    return snapshot_sensor(part)


def _parquet(batches: list[pa.RecordBatch]) -> bytes:
    if not batches:
        return b""
    sink = pa.BufferOutputStream()
    # Where pages end depends on where a table's pieces do, and those on when rows came: one piece.
    table = pa.Table.from_batches(batches).combine_chunks()
    pq.write_table(table, sink, **writer_options(table.schema))
    return bytes(sink.getvalue())


def _write(path: Path, data: bytes) -> str:
    """A file whole or not at all; its SHA-256."""
    failpoints.reached("replay.next file")
    write_atomic(path, data, durable=False)
    return hashlib.sha256(data).hexdigest()
