"""One partition's featurize: several sensors' flows in, at least one features message out for each flows message.

`seq` counts the messages; the frontier is the lowest raw position still waiting in any of the partition's sensors.
"""

import json
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.contracts.baseline import Phase
from pipeline.contracts.baseline_commands import BaselineCommand
from pipeline.contracts.envelope import FeaturesFacts, FlowsFacts, RawPosition, SensorName, SensorWatermark
from pipeline.contracts.lateness import UNSTATED_US, SensorLateness, StatedLateness
from pipeline.contracts.notices import Notice
from pipeline.errors import RefusedState
from pipeline.featurize.baseline.commands import carry_out
from pipeline.featurize.baseline.relations import MOST_RELATIONS
from pipeline.featurize.computations import COMPUTATIONS
from pipeline.featurize.feature_set import FEATURE_SET, FeatureSet
from pipeline.featurize.messages import CUTTING, Cutting, FeaturesMessage, split_message
from pipeline.featurize.ordering.clocks import NO_WATERMARK
from pipeline.featurize.sensor import (
    Advanced,
    MessageInput,
    SensorInput,
    SensorState,
    advance_messages,
    tight_sensors,
)
from pipeline.featurize.sensor_retention import cuts, expired, heard, retained
from pipeline.featurize.snapshot import restore as restore_sensor
from pipeline.featurize.windows.calendars import NO_CALENDARS, Calendars
from pipeline.featurize.windows.kdd import OVERFLOWED
from pipeline.featurize.windows.tables import EVICTED, USED
from pipeline.runtime.wire.batches import empty
from pipeline.runtime.wire.sensors import sensors_of
from schemas.learning import SHIPPED_LEARNING, Learning

# All sensors' watermarks travel whenever seq passes a multiple of it, those that changed with every message: a reader
# that begins in the middle lacks one for so long. Those of 256 sensors are 11 to 72 kB, in one message of 64.
ALL_WATERMARKS_EVERY = 64

TIGHTEN_EVERY = 64  # messages: for twice as many may one waiting flow hold a whole message's memory

MAGIC = b"FOREBAY-PARTITION-3\n"


@dataclass(frozen=True, slots=True)
class PartitionState:
    """The sensors that have sent flows since their last end of source or eviction, and those of which the baseline is
    retained, by (site, sensor); the number of the next message; the feature set computed; the latest end time of all
    flows released, of any sensor.

    newest_us: the latest end time of all flows that came. heard_us: what that was at each sensor's last flow.
    """

    sensors: Mapping[SensorName, SensorState]
    seq: int
    feature_set: FeatureSet = FEATURE_SET
    reached_us: int = NO_WATERMARK
    newest_us: int = NO_WATERMARK
    heard_us: Mapping[SensorName, int] = field(default_factory=dict)

    @classmethod
    def empty(cls, feature_set: FeatureSet = FEATURE_SET) -> "PartitionState":
        """The state before the first message."""
        return cls({}, 0, feature_set)

    @property
    def idle(self) -> set[SensorName]:
        """The sensors of which nothing but the baseline is left."""
        return {name for name, sensor in self.sensors.items() if sensor.is_idle}


def _by_sensor(flows: pa.RecordBatch) -> dict[SensorName, npt.NDArray[np.int64]]:
    """Where the rows of each sensor are, in raw order."""
    names, number = sensors_of(flows)
    if len(names) == 1:
        return {names[0]: np.arange(len(flows))}
    order = np.argsort(number, kind="stable")
    firsts = np.searchsorted(number[order], np.arange(1, len(names)))
    return dict(zip(names, np.split(order, firsts), strict=True)) if names else {}


def frontier(state: PartitionState) -> RawPosition | None:
    """The lowest raw position that waits, or None."""
    lowest = [position for sensor in state.sensors.values() if (position := sensor.waiting.lowest) is not None]
    return min(lowest, default=None)


class FlowsMessage(NamedTuple):
    """A message of `flows`: its batch (`flow` schema, in raw order), its facts, its offset, and what a features message
    of what it releases may hold.
    """

    flows: pa.RecordBatch
    facts: FlowsFacts
    offset: int
    cutting: Cutting = CUTTING


Step = Generator[MessageInput, Advanced, tuple[PartitionState, list[FeaturesMessage]]]
"""A partition's way through a message, which yields what is to be taken through its sensors: mostly all at once."""


class SiteRules(NamedTuple):
    """What is set for sites.

    lateness_of, stitch_of: lateness and stitching window (0: records are not merged) in us of a site; calendars: which
    rows have windows of their own; learning_of: for how long the sensors of a site learn.
    """

    lateness_of: Callable[[str], int]
    stitch_of: Callable[[str], int] = lambda _site: 0
    calendars: Calendars = NO_CALENDARS
    learning_of: Callable[[str], Learning] = lambda _site: SHIPPED_LEARNING


def advance_partitions(
    messages: Sequence[tuple[PartitionState, FlowsMessage]], rules: SiteRules
) -> list[tuple[PartitionState, list[FeaturesMessage]]]:
    """Take a message of each of several partitions of one feature set through their sensors together.

    What comes of each is what `advance_partition` gives, bit for bit: it costs less, for what a message costs whatever
    it holds is paid once.
    """
    steps = [_step(state, message, rules) for state, message in messages]
    done = dict[int, tuple[PartitionState, list[FeaturesMessage]]]()
    advanced: Mapping[int, Advanced | None] = dict.fromkeys(range(len(steps)))
    while advanced:
        inputs = dict[int, MessageInput]()
        for number, of_message in advanced.items():
            try:
                inputs[number] = steps[number].send(of_message)  # type: ignore[arg-type]  # None to begin with
            except StopIteration as end:
                done[number] = end.value
        came = advance_messages(list(inputs.values()), calendars=rules.calendars) if inputs else []
        advanced = dict(zip(inputs, came, strict=True))
    return [done[number] for number in range(len(steps))]


def advance_partition(
    state: PartitionState,
    flows: pa.RecordBatch,
    facts: FlowsFacts,
    flows_offset: int,
    lateness_of: Callable[[str], int],
    stitch_of: Callable[[str], int] = lambda _site: 0,
    calendars: Calendars = NO_CALENDARS,
    learning_of: Callable[[str], Learning] = lambda _site: SHIPPED_LEARNING,
    cutting: Cutting = CUTTING,
) -> tuple[PartitionState, list[FeaturesMessage]]:
    """Take one flows message through its sensors.

    Parameters
    ----------
    state
        What the partition's earlier messages left; it is taken over.
    flows, facts, flows_offset, cutting
        As in FlowsMessage.
    lateness_of, stitch_of, calendars, learning_of
        As in SiteRules.

    Returns
    -------
    The new state, and the features messages, numbered on from the state's: at least one, nearly always exactly one.
    The last one has the watermarks that changed (all, now and then), the ends of sources, and what else the range says.
    Their rows in order: on-time flows of all sensors, sensors in name order, each in event-time order; late flows after
    them, in raw order.
    """
    message = FlowsMessage(flows, facts, flows_offset, cutting)
    [advanced] = advance_partitions([(state, message)], SiteRules(lateness_of, stitch_of, calendars, learning_of))
    return advanced


def _step(state: PartitionState, message: FlowsMessage, rules: SiteRules) -> Step:
    flows, facts = message.flows, message.facts
    rows_of, end_us = _by_sensor(flows), flows.column("end_ts_us").to_numpy()
    bounds = [0, *cuts(state.newest_us, state.heard_us, rows_of, end_us, state.idle), len(flows)]
    after, messages = state, list[FeaturesMessage]()
    for number, (cut, rows_of_cut) in enumerate(_cuts(flows, rows_of, bounds)):
        is_last = number == len(bounds) - 2
        part = replace(facts, records=facts.records if number == 0 else 0)
        if not is_last:
            part = replace(part, rejected=0, ended=(), silent=(), commands=())
        after, rows, whole = yield from _step_of_rows(after, cut, rows_of_cut, part, message.offset, rules)
        if not is_last:
            whole = replace(whole, through=None, frontier=_lowest(whole.frontier, flows, bounds[number + 1]))
        messages += split_message(rows, whole, message.cutting)
        after = replace(after, seq=state.seq + len(messages))
    if after.seq // TIGHTEN_EVERY > state.seq // TIGHTEN_EVERY:  # one flows message may count for several
        after = replace(after, sensors=tight_sensors(after.sensors))
    touched = sorted({*rows_of, *facts.silent} & after.sensors.keys())
    watermarks = _watermarks_to_send(state, after, touched, messages, rules.lateness_of)
    last = messages[-1].facts
    said = replace(last, watermarks=watermarks, lateness=(*_lateness_of(after, watermarks), *last.lateness))
    messages[-1] = messages[-1]._replace(facts=said)
    return after, messages


def _cuts(
    flows: pa.RecordBatch, rows_of: Mapping[SensorName, npt.NDArray[np.int64]], bounds: Sequence[int]
) -> Iterator[tuple[pa.RecordBatch, Mapping[SensorName, npt.NDArray[np.int64]]]]:
    """The flows between bounds, and where the rows of each sensor are among them: mostly all at once."""
    if len(bounds) == 2:
        yield flows, rows_of
        return
    for start, stop in pairwise(bounds):
        cut = flows.slice(start, stop - start)
        yield cut, _by_sensor(cut)


def _step_of_rows(
    state: PartitionState,
    flows: pa.RecordBatch,
    rows_of: Mapping[SensorName, npt.NDArray[np.int64]],
    facts: FlowsFacts,
    flows_offset: int,
    rules: SiteRules,
) -> Generator[MessageInput, Advanced, tuple[PartitionState, pa.RecordBatch, FeaturesFacts]]:
    """Take flows, `rows_of` each sensor, through their sensors among which no sensor expires before a flow of its own:
    the state after them, with its seq unchanged, the rows released, and the facts of a message that holds all of them,
    without watermarks.
    """
    newest_us, heard_us = heard(state.newest_us, state.heard_us, rows_of, flows.column("end_ts_us").to_numpy())
    over = {*facts.ended, *(state.idle - rows_of.keys())}
    silenced = [name for name in expired(newest_us, heard_us) if name not in over]
    inputs = _inputs(state, flows, rows_of, facts, silenced, rules)
    advanced = Advanced([], empty("features", state.feature_set.width), (), [])
    if inputs:
        advanced = yield MessageInput(list(inputs.values()), flows)
    rows, sensors = advanced.rows, {**state.sensors, **dict(zip(inputs, advanced.states, strict=True))}
    # A sensor that is named in a mark alone has nothing to remember.
    idle = {name: each.baseline.phase for name, each in sensors.items() if each.is_idle and each.baseline.is_remembered}
    stay = retained(newest_us, heard_us, idle)
    sensors = {name: sensor for name, sensor in sensors.items() if name in stay or not sensor.is_idle}
    notices = advanced.notices + _carry_out(sensors, facts.commands)
    reached_us = max(state.reached_us, int(rows.column("end_ts_us").to_numpy().max(initial=NO_WATERMARK)))
    ordered = {name: sensors[name] for name in sorted(sensors)}
    heard_us = {name: heard_us[name] for name in ordered}
    after = PartitionState(ordered, state.seq, state.feature_set, reached_us, newest_us, heard_us)
    whole = FeaturesFacts(
        seq=state.seq,
        raw_partition=facts.raw_partition,
        feature_set=state.feature_set.name,
        feature_hash=state.feature_set.hash,
        ended=tuple(sorted(facts.ended)),
        evicted=tuple(silenced),
        notices=notices,
        lateness=_stated_before_end(inputs, advanced, facts.ended),
        flows_offset=flows_offset,
        frontier=frontier(after),
        first=facts.first,
        through=facts.last,
        records=facts.records,
        rejected=facts.rejected,
    )
    return after, rows, whole


def _inputs(
    state: PartitionState,
    flows: pa.RecordBatch,
    rows_of: Mapping[SensorName, npt.NDArray[np.int64]],
    facts: FlowsFacts,
    silenced: Sequence[SensorName],
    rules: SiteRules,
) -> dict[SensorName, SensorInput]:
    """What flows and marks hold for each sensor that they touch, and for those that are silenced; by name."""
    no_rows = np.zeros(0, np.int64)
    stated_of = _stated(facts.lateness, rows_of, flows)
    return {
        name: SensorInput(
            state.sensors.get(name) or SensorState.empty(state.feature_set),
            rows_of.get(name, no_rows),
            rules.lateness_of(name[0]),
            name in facts.ended or name in silenced,
            name in facts.silent,
            rules.stitch_of(name[0]),
            name[0],
            rules.learning_of(name[0]),
            name[1],
            stated_of.get(name),
        )
        for name in sorted({*rows_of, *facts.ended, *facts.silent, *silenced})
    }


def _stated(
    said: Sequence[StatedLateness], rows_of: Mapping[SensorName, npt.NDArray[np.int64]], flows: pa.RecordBatch
) -> dict[SensorName, npt.NDArray[np.int64]]:
    """The lateness that the messages of each row state, or UNSTATED_US, of the sensors of which any states one."""
    if not said:
        return {}
    of_sensor = dict[SensorName, list[tuple[int, int]]]()
    for site, sensor, raw_offset, us in said:
        of_sensor.setdefault((site, sensor), [(-1, UNSTATED_US)]).append(
            (raw_offset, UNSTATED_US if us is None else us)
        )
    offsets, stated = flows.column("raw_offset").to_numpy(), dict[SensorName, npt.NDArray[np.int64]]()
    for name in of_sensor.keys() & rows_of.keys():
        begins, us_from = np.array(of_sensor[name], np.int64).T
        stated[name] = us_from[np.searchsorted(begins, offsets[rows_of[name]], "right") - 1]
    return stated


def _carry_out(sensors: dict[SensorName, SensorState], commands: Iterable[BaselineCommand]) -> tuple[Notice, ...]:
    """Carry commands out at sensors that have a baseline, which are replaced; the notices of it."""
    notices = []
    for command in commands:
        name = command.site, command.sensor
        if name in sensors and sensors[name].baseline.phase != Phase.NONE:
            baseline, notice = carry_out(sensors[name].baseline, command)
            sensors[name] = replace(sensors[name], baseline=baseline)
            notices.append(notice)
    return tuple(notices)


def _lowest(waiting: RawPosition | None, flows: pa.RecordBatch, start: int) -> RawPosition:
    """The lowest raw position among what waits and the flows from `start` on, which are in raw order."""
    following = int(flows.column("raw_offset")[start].as_py()), int(flows.column("raw_index")[start].as_py())
    return following if waiting is None else min(waiting, following)


def _watermarks(
    state: PartitionState, names: Iterable[SensorName], lateness_of: Callable[[str], int]
) -> dict[SensorName, int]:
    """How far the event time of these sensors has come; a source that ended has none."""
    return {
        name: sensor.watermark_us(lateness_of(name[0])) for name in names if not (sensor := state.sensors[name]).is_idle
    }


def _lateness_of(state: PartitionState, watermarks: Iterable[SensorWatermark]) -> tuple[SensorLateness, ...]:
    """Which lateness holds at sensors whose messages state one."""
    clocks = (((each.site, each.sensor), state.sensors[each.site, each.sensor].clock) for each in watermarks)
    return tuple(SensorLateness(*name, clock.stated_us) for name, clock in clocks if clock.stated_us != UNSTATED_US)


def _stated_before_end(
    sensors: Iterable[SensorName], advanced: Advanced, ended: Sequence[SensorName]
) -> tuple[SensorLateness, ...]:
    """Which lateness held at those of these sensors whose sources end, and whose messages had stated one: their clocks
    are forgotten.
    """
    stated = zip(sensors, advanced.stated_us, strict=True)
    return tuple(SensorLateness(*name, us) for name, us in stated if name in ended and us != UNSTATED_US)


def _watermarks_to_send(
    before: PartitionState,
    after: PartitionState,
    touched: Sequence[SensorName],
    messages: Sequence[FeaturesMessage],
    lateness_of: Callable[[str], int],
) -> tuple[SensorWatermark, ...]:
    """The watermarks that the last of these messages carries: all now and then, else those that changed."""
    known = dict[SensorName, int]()
    if messages[-1].facts.seq // ALL_WATERMARKS_EVERY > (before.seq - 1) // ALL_WATERMARKS_EVERY:
        now = _watermarks(after, after.sensors, lateness_of)
    else:
        now = _watermarks(after, touched, lateness_of)
        started_anew = {name for message in messages for name in message.facts.evicted}
        known = _watermarks(before, before.sensors.keys() & set(touched) - started_anew, lateness_of)
    return tuple(SensorWatermark(*name, time_us) for name, time_us in now.items() if known.get(name) != time_us)


def evicted(state: PartitionState) -> dict[str, int]:
    """Keys that each bounded table of the partition's sensors has evicted since the sensor's last end of source."""
    bounded = [
        spec for spec in COMPUTATIONS[state.feature_set.name].tables if spec.part != "time"
    ]  # those of the 2 s window only ever lose keys without flows
    totals = {f"{spec.part}.{spec.field}": 0 for spec in bounded} | {"time.queue": 0, "order.waiting": 0}
    for sensor in state.sensors.values():
        totals["order.waiting"] += sensor.released_early
        for windows in sensor.windows.values():
            for spec in bounded:
                table = getattr(getattr(windows, spec.part), spec.field)
                totals[f"{spec.part}.{spec.field}"] += int(table.cells[0, EVICTED])
            totals["time.queue"] += int(windows.time.queued[OVERFLOWED])
    return totals


def phases(state: PartitionState) -> dict[str, int]:
    """How many of the partition's sensors are in each phase of learning, by its name in lower case."""
    counted = Counter(sensor.baseline.phase for sensor in state.sensors.values())
    return {phase.name.lower(): counted[phase] for phase in Phase}


def full_sensors(state: PartitionState) -> int:
    """How many of the partition's sensors have as many relations as a sensor can have."""
    return sum(
        int(sensor.baseline.relations.table.cells[0, USED]) >= MOST_RELATIONS for sensor in state.sensors.values()
    )


def sensors_by_name(state: PartitionState) -> dict[str, SensorState]:
    """The sensors by a distinct name each; a sensor that no message has touched since is the same object."""
    return {json.dumps(name, ensure_ascii=False): sensor for name, sensor in state.sensors.items()}


def snapshot(state: PartitionState) -> bytes:
    """The state without its sensors as bytes: numbers, and when each sensor last sent, as a line of JSON."""
    facts = {
        "heard_us": [[*name, heard_us] for name, heard_us in sorted(state.heard_us.items())],
        "newest_us": state.newest_us,
        "reached_us": state.reached_us,
        "seq": state.seq,
    }
    return MAGIC + json.dumps(facts, separators=(",", ":")).encode()


def restore(saved: bytes, sensors: Mapping[str, bytes], feature_set: FeatureSet = FEATURE_SET) -> PartitionState:
    """The state in `saved` and its sensors' snapshots; raises RefusedState where the bytes are none, or are of another
    feature set.
    """
    try:
        if not saved.startswith(MAGIC):
            raise ValueError("another begin")
        facts = json.loads(saved[len(MAGIC) :])
        seq, reached_us = int(facts["seq"]), int(facts["reached_us"])
        # States from before sensors were evicted lack both: then every sensor counts as having sent just now.
        newest_us = None if facts.get("newest_us") is None else int(facts["newest_us"])
        written = {(str(site), str(sensor)): int(time_us) for site, sensor, time_us in facts.get("heard_us", [])}
        names = {name: tuple(json.loads(name)) for name in sensors}
        if not all(len(name) == 2 and all(isinstance(word, str) for word in name) for name in names.values()):
            raise ValueError("sensors without names")
    except (ValueError, KeyError, TypeError) as error:
        raise RefusedState(
            f"partition state of {len(saved)} bytes: got {saved[:40]!r} ({error}), expected {MAGIC!r} and its facts; "
            "restore an older one, or start with empty state and replay"
        ) from error
    restored = {names[name]: restore_sensor(blob, feature_set=feature_set) for name, blob in sensors.items()}
    ordered = {name: restored[name] for name in sorted(restored)}
    if newest_us is None:  # a tick takes a sensor's own clock further than its flows do
        newest_us = max([reached_us, *(sensor.clock.latest_us for sensor in ordered.values())])
    heard_us = {name: written.get(name, newest_us) for name in ordered}
    return PartitionState(ordered, seq, feature_set, reached_us, newest_us, heard_us)
