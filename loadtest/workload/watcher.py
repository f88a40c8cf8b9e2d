"""What comes out of a run, as a customer sees it: rows of `flows` and `archive`, rejects, alerts, and when."""

import multiprocessing
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from confluent_kafka import Consumer, Message, TopicPartition

from loadtest.conn_json import Ints
from loadtest.workload.histogram import Histogram
from loadtest.workload.rows import rows_of
from loadtest.workload.scenario import LoadScenario
from loadtest.workload.schedule import Schedule
from loadtest.workload.streams import Stream

FLOWS, SCORED, REJECTS, ALERTS, SUSPECTS = "flows", "archive", "rejects", "alerts", "suspects"
FEATURES = "features"
WATCHED = (FLOWS, SCORED, REJECTS, ALERTS, SUSPECTS)
HOPS = (FLOWS, FEATURES, SCORED, SUSPECTS, ALERTS)
"""The topics on the way to an alert, in order."""
LEARNING = 1  # of column phase: the sensor does not know yet what is usual, and shows nothing
PAGE = "page"  # an alert's disposition: somebody should look now
SAMPLE_US = 250_000
REST_S = 1.0
"""Nothing may have come for so long before a run is over."""
_SENSOR_BITS = 40
_START_S, _LEAVE_S = 60.0, 5.0
_READ = {"enable.auto.commit": False, "isolation.level": "read_committed", "fetch.wait.max.ms": 100}


@dataclass(slots=True)
class AttackSeen:
    """What became of an attack's records at one sensor, in one turn of its stretch.

    scored, learning, suspects: rows, those while the sensor was learning, those that were shown. alert_us: when the
    first alert with one of them came.
    """

    scored: int = 0
    learning: int = 0
    suspects: int = 0
    alert_us: int | None = None


@dataclass(slots=True)
class IncidentSeen:
    """What an incident's alerts said of it so far: whether it paged, and whether it holds a record of an attack."""

    page: bool = False
    attack: bool = False


@dataclass(slots=True)
class Seen:
    """What has come of a run so far."""

    latencies: dict[str, Histogram] = field(default_factory=lambda: {name: Histogram() for name in HOPS})
    rows: dict[str, int] = field(default_factory=lambda: dict.fromkeys((*WATCHED, FEATURES), 0))
    messages: dict[str, int] = field(default_factory=lambda: dict.fromkeys((*WATCHED, FEATURES), 0))
    merged: int = 0
    """Records that stand in another record's row."""
    suspects: int = 0
    doubled: int = 0
    incidents: dict[str, IncidentSeen] = field(default_factory=dict)
    """By their uid."""
    attacks: dict[tuple[int, int], AttackSeen] = field(default_factory=dict)
    series: list[tuple[int, int]] = field(default_factory=list)
    """(clock in us, records that have come out of `archive` and `rejects`)."""
    last_us: int = 0

    @property
    def records(self) -> int:
        """Records that have come out, doubled ones counted once each time."""
        return self.rows[SCORED] + self.merged + self.rows[REJECTS]


class Watch:
    """Takes messages in; what it knows is in `seen`. Rows of sensors that are none of the run's are left aside."""

    def __init__(self, scenario: LoadScenario, streams: list[Stream], schedule: Schedule, warm_up_us: int = 0) -> None:
        self.seen = Seen()
        self._streams, self._schedule = streams, schedule
        self._from_us = schedule.start_us + warm_up_us
        self._sensors = {f"{site}/{sensor}": number for number, (site, sensor) in enumerate(scenario.sensor_names)}
        self._names = pa.array(list(self._sensors))
        self._identities: list[Ints] = []

    def take(self, kind: str, payload: bytes, now_us: int) -> None:
        """Take one message of a watched topic in."""
        if kind == ALERTS:
            self._alert(orjson.loads(payload), now_us)
            return
        batch = rows_of(payload)
        sensor = self._sensor(batch)
        mine = sensor >= 0
        if not mine.any():
            return
        self.seen.rows[kind] += int(mine.sum())
        self.seen.messages[kind] += 1
        self.seen.last_us = now_us
        if kind == REJECTS:
            return
        due = self._schedule.due_us(batch.column("end_ts_us").to_numpy(), sensor)
        self.seen.latencies[kind].add((now_us - due)[mine & (due >= self._from_us)])
        if kind == SCORED:
            self._scored(batch, sensor, mine)

    def sample(self, now_us: int) -> None:
        """Note how far it is."""
        self.seen.series.append((now_us, self.seen.records))

    def finish(self) -> Seen:
        """What has come, with the rows counted that came more than once."""
        if self._identities:
            every = np.concatenate(self._identities)
            self.seen.doubled = len(every) - len(np.unique(every))
        return self.seen

    def _sensor(self, batch: pa.RecordBatch) -> Ints:
        names = pc.binary_join_element_wise(batch.column("site"), batch.column("sensor"), "/")
        index: Ints = pc.fill_null(pc.index_in(names, self._names), -1).to_numpy(zero_copy_only=False)
        return index.astype(np.int64)

    def _scored(self, batch: pa.RecordBatch, sensor: Ints, mine: Any) -> None:
        numbers = batch.column("source_record").fill_null(-1).to_numpy(zero_copy_only=False)
        known = mine & (numbers >= 0)
        self._identities.append((sensor[known] << _SENSOR_BITS) | numbers[known])
        # Offset and index of each record that stands in another one's row.
        merged = batch.column("raw_also").filter(pa.array(mine))
        self.seen.merged += (pc.sum(pc.list_value_length(merged)).as_py() or 0) // 2
        suspect = batch.column("suspect").to_numpy(zero_copy_only=False)
        self.seen.suspects += int(suspect[mine].sum())
        phase = batch.column("phase").fill_null(0).to_numpy(zero_copy_only=False)
        for each in np.unique(sensor[known]).tolist():
            if self._streams[each].tapes.attacked.attack_start_us is None:
                continue
            rows = np.flatnonzero(known & (sensor == each))
            attacks = self._streams[each].attacks(numbers[rows])
            for attack in np.unique(attacks[attacks >= 0]).tolist():
                those = rows[attacks == attack]
                found = self.seen.attacks.setdefault((each, attack), AttackSeen())
                found.scored += len(those)
                found.learning += int((phase[those] == LEARNING).sum())
                found.suspects += int(suspect[those].sum())

    def _alert(self, document: dict[str, Any], now_us: int) -> None:
        about = document["unmapped"]
        sensor = self._sensors.get(f"{about['site']}/{about['sensor']}")
        if sensor is None:
            return
        self.seen.messages[ALERTS] += 1
        self.seen.last_us = now_us
        numbers = np.array([member[3] for member in about["members"] if member[3] is not None], np.int64)
        stream = self._streams[sensor]
        uid = document["finding_info"]["uid"]
        if uid not in self.seen.incidents:
            self.seen.incidents[uid] = IncidentSeen()
            if len(numbers):
                event_us = self._schedule.event_start_us + stream.event_us(numbers)
                due = self._schedule.due_us(event_us, sensor).max()
                if due >= self._from_us:
                    self.seen.latencies[ALERTS].add(np.array([now_us - due]))
        incident = self.seen.incidents[uid]
        incident.page |= about.get("disposition") == PAGE
        if len(numbers) and stream.tapes.attacked.attack_start_us is not None:
            for attack in np.unique(stream.attacks(numbers)).tolist():
                found = self.seen.attacks.setdefault((sensor, attack), AttackSeen()) if attack >= 0 else None
                incident.attack |= attack >= 0
                if found is not None and found.alert_us is None:
                    found.alert_us = now_us


def _assigned(connection: Mapping[str, Any], topics: Mapping[str, str]) -> Consumer:
    """A consumer at the ends of the watched topics: what was there before is none of the run's."""
    consumer = Consumer({**connection, **_READ, "group.id": "forebay-load-watch"})
    places = []
    for topic in topics.values():
        for partition in consumer.list_topics(topic, timeout=_START_S).topics[topic].partitions:
            _, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=_START_S)
            places.append(TopicPartition(topic, partition, end))
    consumer.assign(places)
    return consumer


class _Alerts:
    """Whether the stage that makes alerts has worked off every message of `suspects` seen here."""

    def __init__(self, connection: Mapping[str, Any], topic: str, group: str) -> None:
        # Never subscribes: it only asks what the group has committed.
        self._consumer = Consumer({**connection, "group.id": group, "enable.auto.commit": False})
        self._topic = topic
        self.ends: dict[int, int] = {}

    def complete(self) -> bool:
        asked = [TopicPartition(self._topic, partition) for partition in self.ends]
        done = {at.partition: at.offset for at in self._consumer.committed(asked, timeout=_START_S)} if asked else {}
        return all(done[partition] >= end for partition, end in self.ends.items())

    def close(self) -> None:
        self._consumer.close()


def _watch(
    watch: Watch, consumer: Consumer, kinds: Mapping[str, str], pipe: Connection, drain_s: float, alerts: _Alerts
) -> Seen:
    """Read until as many records came as the other end of `pipe` says were sent, or `drain_s` after that."""
    wanted: int | None = None
    until_us = next_us = 0
    while True:
        # The first ends the wait: none has the time of one that came after it.
        first = consumer.consume(1, 0.05)
        for message in [*first, *(consumer.consume(500, 0) if first else ())]:
            _take(watch, message, kinds, alerts)
        now_us = time.time_ns() // 1000
        if now_us >= next_us:
            watch.sample(now_us)
            next_us = now_us + SAMPLE_US
        if wanted is None and pipe.poll():
            wanted = pipe.recv()
            if wanted is None:
                return watch.finish()
            until_us = now_us + round(drain_s * 1e6)
        if wanted is None or now_us <= until_us:
            complete = wanted is not None and watch.seen.records >= wanted
            if not (complete and now_us - watch.seen.last_us > REST_S * 1e6 and alerts.complete()):
                continue
        return watch.finish()


def _take(watch: Watch, message: Message, kinds: Mapping[str, str], alerts: _Alerts) -> None:
    if message.error() is not None:
        return  # librdkafka tries again by itself; what does not come at all is lost in the report
    payload, kind = message.value(), kinds[message.topic() or ""]
    if kind == SUSPECTS:
        alerts.ends[message.partition() or 0] = (message.offset() or 0) + 1
    if payload and (kind != SUSPECTS or FEATURES in kinds.values()):
        try:
            watch.take(kind, payload, time.time_ns() // 1000)
        except ValueError as error:
            raise ValueError(f"{message.topic()}[{message.partition()}]@{message.offset()}: {error}") from error


@dataclass(frozen=True, slots=True)
class Watching:
    """What a watcher needs to know before a run starts.

    topics: the names of WATCHED where the system is, and of FEATURES where latencies of every hop are asked for.
    alert_group: of the consumers that make alerts of suspects.
    """

    scenario: LoadScenario
    streams: list[Stream]
    warm_up_us: int
    connection: Mapping[str, Any]
    topics: Mapping[str, str]
    alert_group: str
    drain_s: float


def _run(task: Watching, pipe: Connection) -> None:
    # Ctrl-C reaches every process of the terminal; whoever started this one says when it is over.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    consumer = _assigned(task.connection, task.topics)
    alerts = _Alerts(task.connection, task.topics[SUSPECTS], task.alert_group)
    try:
        pipe.send("ready")
        watch = Watch(task.scenario, task.streams, pipe.recv(), task.warm_up_us)
        kinds = {topic: kind for kind, topic in task.topics.items()}
        pipe.send(_watch(watch, consumer, kinds, pipe, task.drain_s, alerts))
    except EOFError:
        return  # whoever started it has gone
    finally:
        consumer.close()
        alerts.close()


class Watcher:
    """A watch in a process of its own, so that it takes no time from whoever sends."""

    def __init__(self, task: Watching) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_run, args=(task, theirs), daemon=True)
        self._process.start()
        theirs.close()
        self._receive()

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._process.pid or 0

    def begin(self, schedule: Schedule) -> None:
        """The run starts, by this schedule."""
        self._pipe.send(schedule)

    def seen(self, sent: int | None) -> Seen:
        """What came of so many records, once it has; at once where that is None."""
        self._pipe.send(sent)
        seen: Seen = self._receive()
        return seen

    def stop(self) -> None:
        """End it, whatever it does."""
        self._pipe.close()
        self._process.join(_LEAVE_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _receive(self) -> Any:
        try:
            return self._pipe.recv()
        except EOFError:
            self._process.join()
            raise RuntimeError(f"the watcher ended with {self._process.exitcode}; its error is above") from None
