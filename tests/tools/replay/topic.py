"""A plant's `flows` without Kafka: its messages, the live results, and the states that were retained on the way."""

from dataclasses import dataclass, field
from typing import Any

import orjson
import pyarrow as pa
import pytest

from pipeline.alert.grouping import load_grouping
from pipeline.alert.ocsf import encode as encode_alert
from pipeline.alert.partition import PartitionState as Incidents
from pipeline.alert.partition import advance_partition as advance_incidents
from pipeline.alert.partition import snapshot as snapshot_incidents
from pipeline.featurize.feature_sets import named
from pipeline.featurize.messages import Cutting
from pipeline.featurize.partition import PartitionState as Windows
from pipeline.featurize.partition import advance_partition, sensors_by_name
from pipeline.featurize.partition import snapshot as snapshot_windows
from pipeline.featurize.snapshot import snapshot as snapshot_sensor
from pipeline.featurize.windows.calendars import Calendars
from pipeline.ingest.decode import decode_messages
from pipeline.ingest.messages import Messages, RawMessage
from pipeline.ingest.pack import pack
from pipeline.runtime.kafka import clients, topics
from pipeline.runtime.state import parts
from pipeline.runtime.state.replay_snapshots import RetainedSnapshot, SnapshotCatalog
from pipeline.runtime.state.store import Store
from pipeline.score.route import route
from pipeline.settings import Settings
from pipeline.tools.replay import history
from pipeline.tools.replay.scoring import Scoring

GAP = 3  # offsets between messages: transaction marks take some
TOPIC_ID = "made-up"


@dataclass
class Live:
    """One partition of `flows`, and what came of it."""

    steps: list[history.FlowsStep] = field(default_factory=list)
    scored: list[pa.RecordBatch] = field(default_factory=list)
    events: dict[str, dict[str, Any]] = field(default_factory=dict)
    first: int = 0

    @property
    def end(self) -> int:
        return self.steps[-1].position + GAP


def flows_of(settings: Settings, log: list[RawMessage], cut: int) -> Live:
    live = Live()
    came = (Messages.of(log[first : first + cut]) for first in range(0, len(log), cut))
    for raw_batch in came:
        for packed in pack(raw_batch, decode_messages(raw_batch, settings.max_future_us), settings.flows_rows):
            offset = len(live.steps) * GAP
            live.steps.append(history.FlowsStep(offset, packed.flows, packed.facts))
    return live


def went(settings: Settings, live: Live, scoring: Scoring, partition: int = 0, every: tuple[int, int] = (2, 3)) -> None:
    """Take the messages through the stages; after so many each, featurize and alert save and keep what they have."""
    windows, incidents, number = Windows.empty(named(settings.feature_set, live=True)), Incidents.empty(), 0
    calendars, grouping = Calendars(settings.calendars), load_grouping()
    for at, step in enumerate(live.steps, 1):
        windows, made = advance_partition(
            windows,
            step.rows,
            step.facts,
            step.position,
            settings.lateness_of,
            settings.stitch_of,
            calendars,
            settings.learning_of,
            Cutting(max_rows=80),
        )
        if at % every[0] == 0 and windows.reached_us > 0:
            saved = parts.put(
                Store(settings.state_uri, f"featurize/{partition}"),
                snapshot_windows(windows),
                sensors_by_name(windows),
                snapshot_sensor,  # type: ignore[arg-type]
                None,
            )
            digests = tuple(sorted(saved.digests))
            keep(settings, settings.topics.flows, partition, step.position + 1, windows, saved.digest, digests)
        for batch, facts in made:
            [scored] = scoring.score([batch])
            live.scored.append(scored)
            advanced = advance_incidents(incidents, route(scored).suspects, facts, grouping, scoring.baseline_of)
            incidents = advanced.state
            for event in (each for each in advanced.events if "notice" not in each["unmapped"]):
                live.events[event["finding_info"]["uid"]] = orjson.loads(encode_alert(event))
            number += 1
            if number % every[1] == 0 and incidents.reached_us > 0:
                digest = Store(settings.state_uri, f"alert/{partition}").put(snapshot_incidents(incidents))
                keep(settings, settings.topics.suspects, partition, number * GAP, incidents, digest, (digest,))


def keep(
    settings: Settings, topic: str, partition: int, position: int, state: Any, digest: str, blobs: tuple[str, ...]
) -> None:
    stage = "featurize" if topic == settings.topics.flows else "alert"
    entry = RetainedSnapshot(stage, topic, TOPIC_ID, partition, position, state.seq, state.reached_us, digest, blobs)
    SnapshotCatalog(settings.state_uri, topic, partition).retain(entry, 10**6)


def as_kafka(monkeypatch: pytest.MonkeyPatch, lives: dict[int, Live]) -> None:
    """Let replays read these partitions."""

    def flows(_settings: Settings, partition: int, position: int, end: int) -> Any:
        return (step for step in lives[partition].steps if position <= step.position < end)

    monkeypatch.setattr(history, "flows", flows)
    monkeypatch.setattr(history, "flows_first", lambda _settings, partition: lives[partition].first)
    ends = tuple((partition, live.end) for partition, live in lives.items())
    monkeypatch.setattr(history, "flows_ends", lambda _settings, _partitions: ends)
    monkeypatch.setattr(topics, "topic_id", lambda _settings, _name: TOPIC_ID)
    monkeypatch.setattr(clients, "require_broker", lambda _settings, _timeout_s: None)
    monkeypatch.setattr(Scoring, "_follow", lambda _self: None)
