"""The demo's own eyes: a reader of `archive` and `alerts` beside the stages, never in their way."""

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow.compute as pc
from confluent_kafka import Message, TopicPartition

from pipeline.contracts.envelope import ScoredFacts
from pipeline.contracts.uids import RAW_POSITION
from pipeline.runtime.kafka import clients
from pipeline.runtime.wire.messages import read
from pipeline.settings import Settings

Position = tuple[int, int, int]


@dataclass(slots=True)
class SensorView:
    """What has been seen of one sensor's scored flows, a chunk a message."""

    end_ts_us: list[npt.NDArray[np.int64]] = field(default_factory=list)
    score: list[npt.NDArray[np.float32]] = field(default_factory=list)
    suspect: list[npt.NDArray[np.bool_]] = field(default_factory=list)
    rows: int = 0
    suspects: int = 0

    def series(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """Event times, scores and suspect flags of all flows seen."""
        if not self.rows:
            return np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.bool_)
        return np.concatenate(self.end_ts_us), np.concatenate(self.score), np.concatenate(self.suspect)


@dataclass(slots=True)
class SeenAlert:
    """The newest revision of one incident, and when its first one came."""

    document: dict[str, Any]
    revision: int
    first_seen_s: float
    opened_with: list[list[int]]  # the members of its first revision: [partition, offset, index, source_record]


class Watch:
    """Polls both topics; everything it knows is in plain attributes."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        names = settings.topics
        self._archive, self._alerts, self._raw, self._suspects = names.archive, names.alerts, names.raw, names.suspects
        watched = (self._archive, self._alerts, self._suspects)
        self._consumer = clients.reader(settings, "demo-watch")
        self._consumer.assign([TopicPartition(topic, p, 0) for topic in watched for p in range(settings.partitions)])
        # Never subscribes: it only asks what alert's group has committed.
        self._committed = clients.reader(settings, "demo-lag", **{"group.id": f"{settings.topic_prefix}alert"})
        self._suspects_ends: dict[int, int] = {}
        self.sensors: dict[str, SensorView] = {}
        self.alerts: dict[str, SeenAlert] = {}
        self.latency_ms: list[npt.NDArray[np.float64]] = []
        self.sent_at_us: dict[Position, int] = {}
        self.event_time_us = 0
        self.rows = 0
        self.idle = False  # whether the last poll found nothing

    def poll(self, timeout_s: float) -> list[SeenAlert]:
        """Take in what has come; the alerts seen for the first time are returned."""
        fresh: list[SeenAlert] = []
        messages = self._consumer.consume(500, timeout_s)
        self.idle = not messages
        for message in messages:
            clients.raise_for(message)
            payload = message.value()
            if payload is None:
                continue
            now_s = time.time()
            if message.topic() == self._suspects:
                self._suspects_ends[message.partition() or 0] = (message.offset() or 0) + 1
            elif message.topic() == self._archive:
                self._scored(message, now_s)
            else:
                alert = self._alert(payload, int(clients.headers_of(message).get("revision", b"0")), now_s)
                if alert is not None:
                    fresh.append(alert)
        return fresh

    def _scored(self, message: Message, now_s: float) -> None:
        batch, _ = read(message.value() or b"", ScoredFacts, clients.position_of(message))
        if batch.num_rows == 0:
            return
        sent_us = batch.column("ingest_ts_us").to_numpy()
        self.latency_ms.append(now_s * 1e3 - sent_us / 1e3)
        suspect = batch.column("suspect").to_numpy(zero_copy_only=False)
        end_ts_us = batch.column("end_ts_us").to_numpy()
        score = batch.column("score").to_numpy()
        self.rows += batch.num_rows
        self.event_time_us = max(self.event_time_us, int(end_ts_us.max()))
        positions = [batch.column(name).to_numpy()[suspect] for name in RAW_POSITION]
        self.sent_at_us.update(zip(zip(*(p.tolist() for p in positions), strict=True), sent_us[suspect], strict=True))
        for sensor in pc.unique(batch.column("sensor")).to_pylist():
            mine = pc.equal(batch.column("sensor"), sensor).to_numpy(zero_copy_only=False)
            view = self.sensors.setdefault(sensor, SensorView())
            view.end_ts_us.append(end_ts_us[mine].copy())
            view.score.append(score[mine].copy())
            view.suspect.append(suspect[mine])
            view.rows += int(mine.sum())
            view.suspects += int(suspect[mine].sum())

    def _alert(self, payload: bytes, revision: int, now_s: float) -> SeenAlert | None:
        document = orjson.loads(payload)
        uid = document["finding_info"]["uid"]
        known = self.alerts.get(uid)
        if known is None:
            self.alerts[uid] = SeenAlert(document, revision, now_s, document["unmapped"]["members"])
            return self.alerts[uid]
        if revision > known.revision:
            known.document, known.revision = document, revision
        return None

    def raw_messages(self) -> int:
        """How many messages the topic `raw` holds so far, end-of-source marks included."""
        total = 0
        for partition in range(self._settings.partitions):
            _, high = self._consumer.get_watermark_offsets(TopicPartition(self._raw, partition), timeout=5)
            total += high
        return total

    def alerts_complete(self) -> bool:
        """Whether alert has saved its state behind every suspects message seen here."""
        asked = [TopicPartition(self._suspects, partition) for partition in self._suspects_ends]
        done = {at.partition: at.offset for at in self._committed.committed(asked, timeout=5)} if asked else {}
        return all(done[partition] >= end for partition, end in self._suspects_ends.items())

    def close(self) -> None:
        """Leave."""
        self._consumer.close()
        self._committed.close()
