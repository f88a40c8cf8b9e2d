"""What a sensor's baseline costs: a row, of all of featurize, and in bytes. `python -m tests.bench.bench_baseline`.

A plant at work (Westermo's bottom sensor, again and again), a phone on the Internet (slips-test2, where
FOREBAY_TEST_DATA names the folder), a flood of 100,000 kinds and relations that never were before, and networks of many
hosts that poll a controller each.
"""

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.contracts.notices import Notice
from pipeline.featurize import sensor as featurize
from pipeline.featurize.baseline import advance as advancing
from pipeline.featurize.baseline import relations as of_relations
from pipeline.featurize.baseline.advance import FlowBatch, advance, nothing_judged
from pipeline.featurize.baseline.coordinates import points_of
from pipeline.featurize.baseline.judge import COLUMNS, SensorBaseline, flow_batch, judge
from pipeline.featurize.baseline.keys import flow_relations
from pipeline.featurize.baseline.saved import baseline_in, baseline_out
from pipeline.featurize.baseline.sensor_baseline import Baseline, no_baseline
from pipeline.featurize.feature_set import FEATURE_SET
from pipeline.featurize.rows import rows_of
from pipeline.featurize.sensor import SensorInput, SensorState, advance_sensors, featurize_file
from pipeline.runtime.wire.batches import matrix
from pipeline.tools.offline.baselines.captures import Capture, plain, westermo
from pipeline.tools.offline.baselines.replayed import clock_of
from schemas.fields import arrow_schema, load
from schemas.learning import Learning
from tests.bench.ahead import compile_ahead
from tests.featurize.baseline.plant import QUICK, busy, flood
from tests.real_records import FOLDER

NAME = ("new", "s")
BATCH_ROWS = 4_096
FLOOD_ROWS = 100_000
PHONE = "formats/argus/slips-test2-malicious.binetflow"
FLOW = [field.name for field in arrow_schema("flow")]


def _again(rows: pa.RecordBatch, times: int, span_us: int) -> pa.RecordBatch:
    """The rows so many times, each time later by the span."""
    later = np.repeat(np.arange(times), len(rows)) * span_us
    every = rows.take(pa.array(np.tile(np.arange(len(rows)), times)))
    for name in ("start_ts_us", "end_ts_us"):
        number = every.schema.get_field_index(name)
        moved = pa.array(every.column(number).to_numpy() + later)
        every = every.set_column(number, every.schema.field(number), moved)
    return every


def _batches(rows: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    for start in range(0, len(rows), BATCH_ROWS):
        yield rows.slice(start, BATCH_ROWS)


def _us_a_row(work: Callable[[pa.RecordBatch], None], rows: pa.RecordBatch) -> float:
    began = time.process_time()
    for batch in _batches(rows):
        work(batch)
    return 1e6 * (time.process_time() - began) / len(rows)


class Judging:
    """A sensor's baseline that judges batch after batch."""

    def __init__(self, learning: Learning) -> None:
        self.baseline: Baseline = no_baseline()
        self.learning = learning
        self.took_s = 0.0

    def us_a_row(self, rows: pa.RecordBatch) -> float:
        """Processor time of judging rows in batches; what featurize has read of them already is not counted."""
        self.took_s = 0.0
        for batch in _batches(rows):
            self.judge(batch)
        return 1e6 * self.took_s / len(rows)

    def judge(self, rows: pa.RecordBatch) -> None:
        """All of it, as featurize calls it."""
        flows, features = rows.select(FLOW), matrix(rows)
        read, began = rows_of(flows), time.process_time()
        sensor = SensorBaseline(self.baseline, NAME, self.learning)
        order = np.arange(len(rows))
        [self.baseline], _, _ = judge(
            [sensor], [order], np.zeros(len(rows), np.bool_), flows, read, features, FEATURE_SET
        )
        self.took_s += time.process_time() - began

    def advance(self, prepared: tuple[FlowBatch, npt.NDArray[np.int64]]) -> None:
        """Only what goes row by row through the tables."""
        batch, order = prepared
        late = np.zeros(len(order), np.bool_)
        self.baseline, _ = advance(self.baseline, NAME, order, late, batch, nothing_judged(len(order)), self.learning)


def _prepared(rows: pa.RecordBatch) -> tuple[FlowBatch, npt.NDArray[np.int64]]:
    return flow_batch(rows.select(FLOW), matrix(rows)), np.arange(len(rows))


def _parts(rows: pa.RecordBatch, judging: Judging) -> dict[str, float]:
    """Microseconds a row of each part."""
    read = [rows_of(batch.select(FLOW)) for batch in _batches(rows)]
    ready = [_prepared(batch) for batch in _batches(rows)]
    parts = dict[str, float]()
    features = iter([matrix(batch) for batch in _batches(rows)])
    parts["points"] = _us_a_row(lambda _batch: _drop(points_of(next(features))), rows)
    each = iter(read)
    parts["relations"] = _us_a_row(lambda batch: _drop(flow_relations(batch.select(FLOW), next(each))), rows)
    prepared = iter(ready)
    parts["tables"] = _us_a_row(lambda _batch: judging.advance(next(prepared)), rows)
    return parts


def _drop(_made: Any) -> None:
    return None


def _memory(baseline: Baseline) -> int:
    """Bytes of the arrays, and about as many of the names as Python takes."""
    kinds, relations = baseline.kinds, baseline.relations
    arrays: list[npt.NDArray[Any]] = [baseline.clock, *baseline.blocks, baseline.histogram, *kinds, *relations.table]
    arrays += [relations.cells, relations.ends, relations.counts, relations.spares]
    names = sys.getsizeof(dict(baseline.names)) + sum(sys.getsizeof(name) + 32 for name in baseline.names.values())
    return sum(array.nbytes for array in arrays) + names


def _state(baseline: Baseline) -> str:
    saved = sum(array.nbytes for array in baseline_out(baseline).values())
    return f"{saved / 1e3:.1f} kB saved, {_memory(baseline) / 1e3:.0f} kB in memory"


def _network(what: str, capture: Capture, times: int) -> Baseline:
    """A capture learnt once, then again and again: the cost of what comes after the first time."""
    learning = clock_of(capture.span_us).learning
    rows = featurize_file(capture.flows, 2_000_000, learning=learning).rows
    rows = rows.filter(pa.array(rows.column("late_by_us").to_numpy() == 0))
    judging = Judging(learning)
    span_us = capture.span_us + 1_000_000
    first = judging.us_a_row(rows)
    every = _again(rows, times, span_us)
    again = [judging.us_a_row(every.slice(number * len(rows), len(rows))) for number in range(1, times)]
    parts = _parts(_again(rows, times + 3, span_us).slice(times * len(rows)), judging)
    print(
        f"{what}: {np.median(again):.2f} us a row ({', '.join(f'{name} {us:.2f}' for name, us in parts.items())}), "
        f"{first:.2f} while it learns; {judging.baseline.phase.name.lower()}, {_state(judging.baseline)}"
    )
    return judging.baseline


def _flooded(baseline: Baseline, capture: Capture) -> None:
    """A flood within a block that is anchored, and within ten minutes."""
    learning = clock_of(capture.span_us).learning
    at_s = 86_400.0 * 10
    rows = featurize_file(flood(FLOOD_ROWS, at_s, 600.0), 0, learning=learning).rows
    judging = Judging(learning)
    judging.baseline = baseline
    us = judging.us_a_row(rows)
    print(f"a flood of {FLOOD_ROWS:,} new kinds and relations: {us:.2f} us a row, {_state(judging.baseline)}")


def _many_hosts(hosts: int) -> None:
    """A network of many hosts that has been learnt: a row, a block that closes, a save and its way back."""
    rows = featurize_file(busy(hosts, 60, 5.0), 0, batch_rows=BATCH_ROWS, learning=QUICK).rows
    judging, learnt, closing_ms = Judging(QUICK), len(rows) * 5 // 6, list[float]()
    close_block = advancing._close_block

    def timed(*given: Any) -> list[Notice]:
        began = time.process_time()
        notices = close_block(*given)
        closing_ms.append(1e3 * (time.process_time() - began))
        return notices

    judging.us_a_row(rows.slice(0, learnt))
    with mock.patch.object(advancing, "_close_block", timed):
        us = judging.us_a_row(rows.slice(learnt))
    began = time.process_time()
    saved = baseline_out(judging.baseline)
    out = time.process_time()
    baseline_in(saved)
    took = [1e3 * (out - began), 1e3 * (time.process_time() - out)]
    usual = int(judging.baseline.relations.counts[of_relations.USUAL_RELATIONS])
    print(
        f"{hosts:,} hosts, {usual:,} usual relations: {us:.2f} us a row, a block closes in {np.median(closing_ms):.2f} "
        f"ms, saved in {took[0]:.1f} ms and read in {took[1]:.1f}; {judging.baseline.phase.name.lower()}, "
        f"{_state(judging.baseline)}"
    )


def _nothing(sensors: Any, _orders: Any, _on_time: int, flows: pa.RecordBatch, *_rest: Any) -> Any:
    """In place of `judge`: no baseline."""
    types = [load("features").field(name).arrow.type for name in COLUMNS]
    return [each.baseline for each in sensors], [pa.nulls(len(flows), of_type) for of_type in types], []


class Featurizing:
    """One sensor's state, through featurize batch after batch."""

    def __init__(self, learning: Learning) -> None:
        self.state = SensorState.empty()
        self.learning = learning

    def advance(self, flows: pa.RecordBatch) -> None:
        """The next flows."""
        sensor = SensorInput(self.state, np.arange(len(flows)), 2_000_000, learning=self.learning)
        (self.state,), *_ = advance_sensors([sensor], flows)


def _share(capture: Capture, times: int) -> None:
    """Featurize with baselines and without in turn, once the plant has been learnt."""
    flows = _again(capture.flows, times, capture.span_us + 1_000_000)
    learning = clock_of(capture.span_us).learning
    usual, bare = Featurizing(learning), Featurizing(learning)
    took = []
    for number in range(times):
        part = flows.slice(number * capture.flows.num_rows, capture.flows.num_rows)
        with_baselines = _us_a_row(usual.advance, part)
        with mock.patch.object(featurize, "judge", _nothing):
            took.append((with_baselines, _us_a_row(bare.advance, part)))
    both, without = np.median(took[1:], axis=0)
    print(
        f"featurize in messages of {BATCH_ROWS:,} flows: {both:.2f} us a row, {without:.2f} without baselines; "
        f"they are {both - without:.2f} us, {100 * (1 - without / both):.0f} %"
    )


def main() -> None:
    """Print all of it."""
    compile_ahead()
    plant = westermo("bottom")
    baseline = _network("a plant at work", plant, 8)
    if (FOLDER / PHONE).is_file():
        _network("a phone on the Internet", plain("phone", FOLDER / PHONE), 20)
    _flooded(baseline, plant)
    _share(plant, 8)
    for hosts in (250, 1_000, 4_000, 8_000, 16_000):
        _many_hosts(hosts)


if __name__ == "__main__":
    main()
