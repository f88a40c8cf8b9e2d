"""One partition's replay: its history through the rooms' functions, in chunks, each with the state behind it.

A chunk is written, then the state after it, then the head that names both: killed between any two, the part goes on
from the last head and writes the same bytes again.
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.alert.grouping import load_grouping
from pipeline.alert.ocsf import encode as encode_alert
from pipeline.alert.partition import PartitionState as Incidents
from pipeline.alert.partition import advance_partition as advance_incidents
from pipeline.alert.partition import restore as restore_incidents
from pipeline.alert.partition import snapshot as snapshot_incidents
from pipeline.errors import RefusedState
from pipeline.featurize.calendars import Calendars
from pipeline.featurize.feature_sets import named
from pipeline.featurize.partition import PartitionState as Windows
from pipeline.featurize.partition import advance_partition as advance_windows
from pipeline.featurize.partition import messages as features_messages
from pipeline.featurize.partition import numbered, sensors_by_name
from pipeline.featurize.partition import restore as restore_windows
from pipeline.featurize.partition import snapshot as snapshot_windows
from pipeline.featurize.sensor import SensorState
from pipeline.featurize.snapshot import snapshot as snapshot_sensor
from pipeline.replay import history
from pipeline.replay.outlet import Outlet
from pipeline.replay.request import ARCHIVE, Request
from pipeline.replay.scoring import Scoring
from pipeline.settings import Settings
from pipeline.state import parts
from pipeline.state.parts import Saved
from pipeline.state.store import Store

CHUNK_ROWS = 131_072
TOGETHER_ROWS = 16_384
NO_TIME = -1
# Nearly every row has a value of its own: a dictionary would be built, given up, and make the file larger.
SELDOM_TWICE = frozenset(
    ("record_id", "start_ts_us", "end_ts_us", "community_id", "sensor_uid", "score", "novelty", "features")
)

Told = Callable[["Head"], None]


@dataclass
class Head:
    """How far a part is: what of its history has been taken in, and what came of it."""

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


class Pace:
    """When a step of the topic is due, by its latest flow, at so many times the speed at which it happened."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._first: tuple[float, int] | None = None

    def wait_s(self, step: history.Step) -> float:
        """Seconds until it is due, 0 where it is."""
        if step.flows is None or not len(step.flows):
            return 0.0
        end_us = int(step.flows.column("end_ts_us").to_numpy().max())
        if self._first is None:
            self._first = time.monotonic(), end_us
        began_s, first_us = self._first
        return max(0.0, began_s + (end_us - first_us) / 1e6 / self._speed - time.monotonic())


class Part:
    """The replay of one partition."""

    def __init__(
        self, settings: Settings, request: Request, folder: Path, partition: int, end: int, scoring: Scoring
    ) -> None:
        self._settings, self._request, self._folder, self._partition = settings, request, folder, partition
        self._end, self._scoring = end, scoring
        self._feature_set = named(settings.feature_set, live=True)
        self._calendars = Calendars(settings.calendars)
        self._grouping = load_grouping()
        self._store = Store(folder / "state", str(partition))
        self._windows, self._incidents = Windows.empty(self._feature_set), Incidents.empty()
        self._saved: Saved | None = None
        self._outlet = Outlet(settings, request, partition)
        self.head = self._restored()
        self._rows: list[pa.RecordBatch] = []
        self._events: list[bytes] = []

    # ---- state

    @property
    def _head_path(self) -> Path:
        return self._folder / f"p{self._partition}.json"

    def _restored(self) -> Head:
        """Where the part was; what lies in its folder beyond that is deleted."""
        if self._head_path.is_file():
            head = Head(**orjson.loads(self._head_path.read_bytes()))
            if head.windows:
                rest, digests = parts.get(self._store, head.windows)
                sensors = {name: self._store.get(digest) for name, digest in digests.items()}
                self._windows = restore_windows(rest, sensors, self._feature_set)
            if head.incidents:
                self._incidents = restore_incidents(self._store.get(head.incidents))
        else:
            first = 0 if self._request.source == ARCHIVE else history.flows_first(self._settings, self._partition)
            head = Head(first)
        listed = {name for chunk in head.chunks for name in (chunk["rows_file"], chunk["events_file"])}
        for kind in ("rows", "events"):
            for path in (self._folder / kind).glob(f"p{self._partition}-*"):
                if f"{kind}/{path.name}" not in listed:
                    path.unlink()
        return head

    def _save(self) -> None:
        """1. The chunk; 2. the state behind it; 3. the head."""
        head, number = self.head, len(self.head.chunks)
        rows = sum(len(batch) for batch in self._rows)
        if rows or self._events:
            names = f"rows/p{self._partition}-{number:06d}.parquet", f"events/p{self._partition}-{number:06d}.jsonl"
            chunk = {
                "rows_file": names[0],
                "rows": rows,
                "rows_sha256": _write(self._folder / names[0], _parquet(self._rows)),
                "events_file": names[1],
                "events": len(self._events),
                "events_sha256": _write(self._folder / names[1], b"".join(one + b"\n" for one in self._events)),
            }
            head.chunks.append(chunk)
        self._outlet.flush()
        if not head.done and self._request.source != ARCHIVE:
            sensors = sensors_by_name(self._windows)
            self._saved = parts.put(self._store, snapshot_windows(self._windows), sensors, _sensor, self._saved)
            head.windows = self._saved.digest
        head.incidents = self._store.put(snapshot_incidents(self._incidents))
        _write(self._head_path, head.encode())
        kept = {head.incidents} | (self._saved.digests if self._saved else set())
        self._store.collect(kept, 0.0)
        self._rows, self._events = [], []

    # ---- the walk

    def run(self, told: Told = lambda _head: None) -> Head:
        """From where the part is to its end."""
        if self.head.done:
            return self.head
        waiting: list[tuple[pa.RecordBatch, dict[str, Any]]] = []
        pace = Pace(self._request.speed)
        for step in self._steps():
            if self._request.speed and pace.wait_s(step) > 0:
                self._take(waiting)  # what there is comes out when it is due, not when more is
                waiting = []
                told(self.head)
                time.sleep(pace.wait_s(step))
            waiting += self._features(step)
            self.head.position = step.position + 1
            if sum(len(batch) for batch, _ in waiting) >= TOGETHER_ROWS:
                self._take(waiting)
                waiting = []
                told(self.head)
                if sum(len(batch) for batch in self._rows) >= CHUNK_ROWS:
                    self._save()
        self._take(waiting)
        self.head.done = True
        self._save()
        told(self.head)
        return self.head

    def _steps(self) -> Iterator[history.Step]:
        if self._request.source == ARCHIVE:
            since_us = None if self._request.from_us is None else self._request.from_us - self._request.warmup_us
            bounds = since_us, self._request.to_us
            archive = self._settings.archive_uri
            return history.archived(archive, self._partition, self.head.position, self._end, bounds)
        return history.flows(self._settings, self._partition, self.head.position, self._end)

    def _features(self, step: history.Step) -> list[tuple[pa.RecordBatch, dict[str, Any]]]:
        if step.scored is not None:
            return [(step.scored, {**step.facts, "position": step.position})]
        if step.flows is None:
            raise RefusedState(f"partition {self._partition}, step {step.position}: got nothing, expected flows")
        self._windows, rows, facts = advance_windows(
            self._windows,
            step.flows,
            step.facts,
            self._settings.lateness_of,
            self._settings.stitch_of,
            self._calendars,
        )
        made = features_messages(rows, facts)
        self._windows = numbered(self._windows, len(made))
        return [(batch, {**own, "position": step.position}) for batch, own in made]

    def _take(self, waiting: list[tuple[pa.RecordBatch, dict[str, Any]]]) -> None:
        """Score what waits together, then group its suspects message by message."""
        from pipeline.score.route import suspects_of

        if not waiting:
            return
        head = self.head
        for _, facts in waiting[:1]:
            self._scoring.expect(facts["feature_set"], facts["feature_hash"])
        for scored, (_, facts) in zip(self._scoring.score([batch for batch, _ in waiting]), waiting, strict=True):
            suspects = suspects_of(scored)
            # The archive's steps may leave numbers out; what the incidents' state wants is their order.
            numbered_facts = {**facts, "seq": head.seq}
            advanced = advance_incidents(
                self._incidents, suspects, numbered_facts, self._grouping, self._scoring.baseline_of
            )
            self._incidents = advanced.state
            events = [(event["finding_info"]["uid"], encode_alert(event)) for event in advanced.events]
            self._events += [event for _, event in events]
            self._outlet.put(scored, suspects, events, numbered_facts)
            head.seq += 1
            head.taken += len(scored)
            self._keep(scored, facts["position"])

    def _keep(self, scored: pa.RecordBatch, position: int) -> None:
        """Of what came out, the rows that were asked for."""
        if not len(scored):
            return
        head, end_us = self.head, scored.column("end_ts_us").to_numpy()
        head.reached_us = max(head.reached_us, int(end_us.max()))
        head.first_us = int(end_us.min()) if head.first_us == NO_TIME else min(head.first_us, int(end_us.min()))
        wanted = np.ones(len(scored), np.bool_)
        if self._request.from_us is not None:
            wanted &= end_us >= self._request.from_us
        if self._request.to_us is not None:
            wanted &= end_us < self._request.to_us
        for partition, first, end in self._request.offsets:
            if partition == self._partition:
                wanted &= first <= position < end
        if not wanted.all():
            scored = scored.filter(pa.array(wanted))
        if not self._request.features:
            scored = scored.drop_columns(["features"])
        if len(scored):
            self._rows.append(scored)
            head.rows += len(scored)
            head.suspects += int(np.count_nonzero(scored.column("suspect").to_numpy(zero_copy_only=False)))

    def close(self) -> None:
        """Leave Kafka."""
        self._outlet.flush()


def _sensor(part: object) -> bytes:
    if not isinstance(part, SensorState):
        raise RefusedState(f"replay: got {part!r} to save, expected a sensor's state")
    return snapshot_sensor(part)


def _parquet(batches: list[pa.RecordBatch]) -> bytes:
    if not batches:
        return b""
    sink = pa.BufferOutputStream()
    table = pa.Table.from_batches(batches).combine_chunks()
    dictionaries = [name for name in table.column_names if name not in SELDOM_TWICE]
    pq.write_table(table, sink, compression="zstd", compression_level=1, use_dictionary=dictionaries)
    return bytes(sink.getvalue())


def _write(path: Path, data: bytes) -> str:
    """A file whole or not at all; its SHA-256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(data)
    partial.replace(path)
    return hashlib.sha256(data).hexdigest()
