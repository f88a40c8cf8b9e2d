"""The retained states: those a replay starts with, fixed when it starts, and the list for people."""

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.errors import Usage
from pipeline.featurize.feature_sets import named
from pipeline.runtime.kafka import topics
from pipeline.runtime.state.replay_snapshots import RetainedSnapshot, SnapshotCatalog
from pipeline.runtime.state.store import Store
from pipeline.settings import Settings
from pipeline.tools.replay import history, start_points
from pipeline.tools.replay.partition_replay import own_states
from pipeline.tools.replay.request import ARCHIVE, Request
from pipeline.tools.replay.start_points import StartPoint, States, Wanted


def with_start_points(settings: Settings, request: Request, folder: Path) -> Request:
    """The request with where each partition starts, and what people have to know of that; `ends` is there already.

    The states chosen are copied into the run's folder. A run killed before that has not started: it chooses anew.
    """
    if request.source == ARCHIVE:
        return replace(request, began=tuple(StartPoint(partition, 0) for partition, _ in request.ends))
    names = settings.topics.flows, settings.topics.suspects
    ids = {name: topics.topic_id(settings, name) for name in names}
    feature_set = named(settings.feature_set, live=True)
    starts, warnings = [], []
    for partition, end in request.ends:
        first = next((first for number, first, _ in request.offsets if number == partition), None)
        wanted = Wanted(request.from_us, first, request.model is not None, request.warmup_us)
        windows, incidents = (
            _snapshots(settings, name, partition, ids[name]) if request.states and wanted.bounded else []
            for name in names
        )
        oldest = history.flows_first(settings, partition)
        if first is not None and not max(first, oldest) < end:
            raise Usage(
                f"--offsets: partition {partition} of topic flows holds none of them, expected some of those from "
                f"{oldest} on, below {dict(history.flows_ends(settings, settings.partitions))[partition]}"
            )
        states = States(settings.state_uri, partition, own_states(folder, partition), feature_set)
        start = states.start_point(windows, incidents, wanted, oldest)
        starts.append(start)
        since_us = start_points.warm_us(windows, wanted, oldest)
        warning = start_points.warning(start, end, wanted, states.refused, oldest, since_us)
        warnings += [warning] if warning else []
    return replace(request, began=tuple(starts), warnings=tuple(warnings))


def _snapshots(settings: Settings, topic: str, partition: int, topic_id: str) -> list[RetainedSnapshot]:
    return SnapshotCatalog(settings.state_uri, topic, partition).of(topic_id)


def listed(settings: Settings) -> list[dict[str, Any]]:
    """Every retained state of the topics with the settings' prefix: stage, position, event time, size, whether whole.

    `bytes` counts what states share in each of them; `alone` what only this one needs.
    """
    entries = [
        (of, entry)
        for topic in (settings.topics.flows, settings.topics.suspects)
        for partition in range(settings.partitions)
        for of in (SnapshotCatalog(settings.state_uri, topic, partition),)
        for entry in of.all()
    ]
    users: dict[str, int] = {}
    for _, entry in entries:
        for blob in entry.blobs:
            users[blob] = users.get(blob, 0) + 1
    now = time.time()
    described = ((of.written_s(entry), entry) for of, entry in entries)
    # One without a time was purged while they were listed.
    return [_described(settings, now - at, entry, users) for at, entry in described if not math.isnan(at)]


def _described(settings: Settings, age_s: float, entry: RetainedSnapshot, users: dict[str, int]) -> dict[str, Any]:
    store = Store(settings.state_uri, f"{entry.stage}/{entry.partition}")
    sizes = {blob: store.size(blob) for blob in entry.blobs}
    return {
        "room": entry.stage,
        "topic": entry.topic,
        "partition": entry.partition,
        "position": entry.position,
        "seq": entry.seq,
        "reached_us": entry.reached_us,
        "age_s": round(age_s, 1),
        "bytes": sum(size or 0 for size in sizes.values()),
        "alone": sum(size or 0 for blob, size in sizes.items() if users[blob] == 1),
        "whole": all(size is not None for size in sizes.values()),
        "digest": entry.digest,
    }
