"""One partition's featurize: several sensors' flows in, one features message out for each flows message.

`seq` counts the messages; the frontier is the lowest raw position still waiting in any of the partition's sensors.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.errors import RefusedState
from pipeline.featurize.computations import COMPUTATIONS
from pipeline.featurize.feature_set import FEATURE_SET, FeatureSet
from pipeline.featurize.ordering.reorder import NO_WATERMARK
from pipeline.featurize.sensor import SensorState, Turn, advance_together
from pipeline.featurize.snapshot import restore as restore_sensor
from pipeline.featurize.windows.calendars import NO_CALENDARS, Calendars
from pipeline.featurize.windows.kdd import OVERFLOWED
from pipeline.featurize.windows.tables import EVICTED
from pipeline.runtime.wire.batches import empty
from pipeline.runtime.wire.sensors import SensorName, sensors_of

MESSAGE_ROWS = 4_096
MESSAGE_BYTES = 2 * 1024 * 1024  # a quarter of what Kafka takes: rows are not all of one size

TIGHTEN_EVERY = 64  # messages: so long may a message's memory be held by one flow that waits

MAGIC = b"FOREBAY-PARTITION-3\n"


@dataclass(frozen=True, slots=True)
class PartitionState:
    """The sensors heard of since their last end of source, by (site, sensor), the number of the next message, the
    feature set computed, and the latest end time of all flows that have gone on, whose ever they were.
    """

    sensors: Mapping[SensorName, SensorState]
    seq: int
    feature_set: FeatureSet = FEATURE_SET
    reached_us: int = NO_WATERMARK

    @classmethod
    def empty(cls, feature_set: FeatureSet = FEATURE_SET) -> "PartitionState":
        """The state before the first message."""
        return cls({}, 0, feature_set)


def _by_sensor(flows: pa.RecordBatch) -> dict[SensorName, npt.NDArray[np.int64]]:
    """Where the rows of each sensor are, in raw order."""
    names, number = sensors_of(flows)
    order = np.argsort(number, kind="stable")
    firsts = np.searchsorted(number[order], np.arange(1, len(names)))
    return dict(zip(names, np.split(order, firsts), strict=True)) if names else {}


def frontier(state: PartitionState) -> list[int] | None:
    """[offset, index] of the lowest raw position that waits, or None."""
    lowest = [position for sensor in state.sensors.values() if (position := sensor.waiting.lowest) is not None]
    return list(min(lowest)) if lowest else None


def advance_partition(
    state: PartitionState,
    flows: pa.RecordBatch,
    meta: Mapping[str, Any],
    lateness_of: Callable[[str], int],
    stitch_of: Callable[[str], int] = lambda _site: 0,
    calendars: Calendars = NO_CALENDARS,
) -> tuple[PartitionState, pa.RecordBatch, dict[str, Any]]:
    """Take one flows message through its sensors.

    Parameters
    ----------
    state
        What the partition's earlier messages left; it is taken over.
    flows, meta
        The message's batch (`flow` schema, in raw order) and its facts: raw_partition, first, last, records, rejected,
        ended, silent; and flows_offset, its offset.
    lateness_of
        Lateness in us of a site.
    stitch_of
        Stitching window in us of a site; 0: records are not put together.
    calendars
        What has windows of its own.

    Returns
    -------
    The new state, the features message's batch, and its facts. Rows: on-time flows of all sensors, sensors in name
    order, each in event-time order; late flows after them, in raw order.
    """
    ended: list[SensorName] = [(site, sensor) for site, sensor in meta["ended"]]
    silent: list[SensorName] = [(site, sensor) for site, sensor in meta.get("silent", [])]
    places = _by_sensor(flows)
    sensors = dict(state.sensors)
    nowhere = np.zeros(0, np.int64)
    names = sorted({*places, *ended, *silent})
    turns = [
        Turn(
            state.sensors.get(name) or SensorState.empty(state.feature_set),
            places.get(name, nowhere),
            lateness_of(name[0]),
            name in ended,
            name in silent,
            stitch_of(name[0]),
            name[0],
        )
        for name in names
    ]
    if turns:
        after, rows = advance_together(turns, flows, calendars=calendars)
        sensors.update(zip(names, after, strict=True))
        for name in ended:
            sensors.pop(name, None)
    else:
        rows = empty("features", state.feature_set.width)
    if state.seq % TIGHTEN_EVERY == 0:
        sensors = {name: one.tight() for name, one in sensors.items()}
    watermarks = [
        [*name, sensors[name].gone_on_us(lateness_of(name[0]))]
        for name in sorted(sensors)
        if sensors[name].latest_us > NO_WATERMARK
    ]
    reached_us = max(state.reached_us, int(rows.column("end_ts_us").to_numpy().max(initial=NO_WATERMARK)))
    ordered = {name: sensors[name] for name in sorted(sensors)}
    after_all = PartitionState(ordered, state.seq + 1, state.feature_set, reached_us)
    facts = {
        "seq": state.seq,
        "raw_partition": meta["raw_partition"],
        "flows_offset": meta["flows_offset"],
        "feature_set": state.feature_set.name,
        "feature_hash": state.feature_set.hash,
        "frontier": frontier(after_all),
        "first": list(meta["first"]),
        "through": list(meta["last"]),
        "records": meta["records"],
        "rejected": meta["rejected"],
        "watermarks": watermarks,
        "ended": [list(name) for name in sorted(ended)],
    }
    return after_all, rows, facts


def messages(
    features: pa.RecordBatch, facts: Mapping[str, Any], rows: int = MESSAGE_ROWS, size: int = MESSAGE_BYTES
) -> list[tuple[pa.RecordBatch, dict[str, Any]]]:
    """What one flows message released, cut into messages Kafka takes: nearly always one.

    A jump in event time or an end of source releases everything that waited at once. Each part has a number of its own.
    The records of the raw range are stated by the first part; where the range ends, its rejects, the watermarks and the
    ends of sources belong to the last, when everything before them has been told.
    """
    each = max(1, min(rows, size * len(features) // max(1, features.nbytes)))
    if len(features) <= each:
        return [(features, dict(facts))]
    starts = range(0, len(features), each)
    waiting = [] if facts["frontier"] is None else [tuple(facts["frontier"])]
    offsets, indices = (features.column(name).to_numpy() for name in ("raw_offset", "raw_index"))
    lowest = min([*waiting, (int(offsets.min()), int(indices[offsets == offsets.min()].min()))])
    parts = []
    for number, start in enumerate(starts):
        own = {**facts, "seq": facts["seq"] + number}
        if start > 0:
            own["records"] = 0
        if start + each < len(features):
            own |= {"rejected": 0, "through": None, "watermarks": [], "ended": [], "frontier": list(lowest)}
        parts.append((features.slice(start, each), own))
    return parts


def numbered(state: PartitionState, parts: int) -> PartitionState:
    """The state after a flows message that became so many features messages."""
    return replace(state, seq=state.seq + parts - 1)


def evicted(state: PartitionState) -> dict[str, int]:
    """What each bounded table has turned out in the partition's present sensors, since their last end of source."""
    bounded = [
        kept for kept in COMPUTATIONS[state.feature_set.name].tables if kept.part != "time"
    ]  # those of the 2 s window only ever lose keys without flows
    totals = {f"{kept.part}.{kept.field}": 0 for kept in bounded} | {"time.queue": 0, "order.waiting": 0}
    for sensor in state.sensors.values():
        totals["order.waiting"] += sensor.hurried
        for windows in sensor.windows.values():
            for kept in bounded:
                table = getattr(getattr(windows, kept.part), kept.field)
                totals[f"{kept.part}.{kept.field}"] += int(table.cells[0, EVICTED])
            totals["time.queue"] += int(windows.time.queued[OVERFLOWED])
    return totals


def sensors_by_name(state: PartitionState) -> dict[str, SensorState]:
    """The sensors, each by a name of its own; one that no message has touched since is the same object."""
    return {json.dumps(name, ensure_ascii=False): sensor for name, sensor in state.sensors.items()}


def snapshot(state: PartitionState) -> bytes:
    """The state without its sensors as bytes: sequence number and event time, as a line of JSON."""
    return MAGIC + json.dumps({"reached_us": state.reached_us, "seq": state.seq}, separators=(",", ":")).encode()


def restore(saved: bytes, sensors: Mapping[str, bytes], feature_set: FeatureSet = FEATURE_SET) -> PartitionState:
    """The state in `saved` and its sensors' snapshots; raises RefusedState where the bytes are none, or are of another
    feature set.
    """
    try:
        if not saved.startswith(MAGIC):
            raise ValueError("another begin")
        facts = json.loads(saved[len(MAGIC) :])
        seq, reached_us = int(facts["seq"]), int(facts["reached_us"])
        names = {name: tuple(json.loads(name)) for name in sensors}
        if not all(len(name) == 2 and all(isinstance(word, str) for word in name) for name in names.values()):
            raise ValueError("sensors without names")
    except (ValueError, KeyError, TypeError) as error:
        raise RefusedState(
            f"partition state of {len(saved)} bytes: got {saved[:40]!r} ({error}), expected {MAGIC!r} and its facts; "
            "restore an older one, or start with empty state and replay"
        ) from error
    restored = {names[name]: restore_sensor(blob, feature_set=feature_set) for name, blob in sensors.items()}
    return PartitionState({name: restored[name] for name in sorted(restored)}, seq, feature_set, reached_us)
