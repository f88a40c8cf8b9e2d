"""What messages state holds at their sensor alone, from their first flow on, however the log is cut, saved or not."""

import json
from hashlib import sha256
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contracts.envelope import FeaturesFacts, SensorName
from pipeline.contracts.lateness import SensorLateness, StatedLateness
from pipeline.featurize import snapshot
from pipeline.featurize.partition import PartitionState, advance_partition
from pipeline.featurize.sensor import featurize_file_rows
from tests.contracts.facts import flows_facts
from tests.examples import examples
from tests.featurize.flows import SECOND, START_US, batch, by_position, flow_rows, saved_again

LEFT, TOP = ("plant", "left"), ("plant", "top")


def _two_seconds(_site: str) -> int:
    return 2 * SECOND


def said(stated: list[int | None], names: list[str], start: int, stop: int) -> tuple[StatedLateness, ...]:
    """As ingest says it of the rows, a message each: where it changes."""
    last, changes = dict[str, int | None](), list[StatedLateness]()
    for row in range(start, stop):
        if last.get(names[row]) != stated[row]:
            last[names[row]] = stated[row]
            changes.append(StatedLateness("plant", names[row], row, stated[row]))
    return tuple(changes)


def run(
    rows: list[dict[str, Any]], stated: list[int | None], cuts: list[int], saved: bool, silent_at: int = -1
) -> dict[int, tuple[int, bytes]]:
    """late_by_us and the feature row's bytes of every flow, cut there; a tick of both behind message `silent_at`."""
    flows, state, out = batch(rows), PartitionState.empty(), list[pa.RecordBatch]()
    names = [row["sensor"] for row in rows]
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    for start, end in pairwise(edges):
        facts = flows_facts(lateness=said(stated, names, start, end), last=(max(end - 1, 0), 0))
        state, made = advance_partition(state, flows.slice(start, end - start), facts, end, _two_seconds)
        out += [each.rows for each in made]
        state = saved_again(state) if saved else state
    ends = flows_facts(ended=(LEFT, TOP))
    state, made = advance_partition(state, flows.slice(0, 0), ends, 99, _two_seconds)
    return by_position([*out, *(each.rows for each in made)])


STATED = st.lists(st.sampled_from([None, None, 0, SECOND, 3 * SECOND, 20 * SECOND]), min_size=40, max_size=40)


@pytest.mark.slow
@settings(max_examples=examples(25), deadline=None)
@given(flow_rows(span_s=30.0), STATED, st.lists(st.integers(0, 40), max_size=4), st.booleans())
def test_cuts_and_restarts_change_nothing(
    rows: list[dict[str, Any]], stated: list[int | None], cuts: list[int], saved: bool
) -> None:
    named = [{**row, "sensor": ("left", "top")[number % 2]} for number, row in enumerate(rows)]
    assert run(named, stated, cuts, saved) == run(named, stated, [], False)


@pytest.mark.slow
@settings(max_examples=examples(25), deadline=None)
@given(flow_rows(span_s=30.0), st.lists(st.booleans(), min_size=40, max_size=40), st.lists(st.integers(0, 40)))
def test_two_sensors_with_a_lateness_each_give_what_each_alone_gives(
    rows: list[dict[str, Any]], which: list[bool], cuts: list[int]
) -> None:
    named = [{**row, "sensor": "top" if top else "left"} for row, top in zip(rows, which, strict=False)]
    stated: list[int | None] = [20 * SECOND if row["sensor"] == "top" else 0 for row in named]
    whole = batch(named)
    alone = [
        featurize_file_rows(whole.filter(pa.array([row["sensor"] == name for row in named], pa.bool_())), us)
        for name, us in (("left", 0), ("top", 20 * SECOND))
    ]
    assert run(named, stated, cuts, saved=False) == by_position(alone)


def _advance(
    state: PartitionState, rows: list[dict[str, Any]], first: int, us: int | None, **facts: Any
) -> tuple[PartitionState, list[tuple[float, int]], FeaturesFacts]:
    """A message of `left` that states `us`: the released (end, late by) in seconds, and its facts."""
    stated = () if us is None else (StatedLateness(*LEFT, first, us),)
    flows = batch(rows, first)
    state, [(out, made)] = advance_partition(state, flows, flows_facts(lateness=stated, **facts), first, _two_seconds)
    ends, late = ((out.column(name).to_numpy()).tolist() for name in ("end_ts_us", "late_by_us"))
    return state, [((end - START_US) / SECOND, by / SECOND) for end, by in zip(ends, late, strict=True)], made


def watermark_s(facts: FeaturesFacts) -> list[float]:
    return [(each.time_us - START_US) / SECOND for each in facts.watermarks]


def test_growing_takes_effect_at_once_and_what_was_released_stays_so() -> None:
    state, out, facts = _advance(PartitionState.empty(), [{"at": 10}, {"at": 20}], 0, None)
    assert (out, watermark_s(facts), facts.lateness) == ([(10, 0)], [18], ())
    state, out, facts = _advance(state, [{"at": 21}, {"at": 18.5}, {"at": 17}], 2, 10 * SECOND)
    assert out == [(17, 1)], "18 s is passed, whatever is stated now; what ended since waits"
    assert (watermark_s(facts), facts.lateness) == ([], ()), "a watermark that stands is not sent again"
    state, out, facts = _advance(saved_again(state), [{"at": 30}, {"at": 21}], 5, 10 * SECOND)
    assert (out, watermark_s(facts)) == ([(18.5, 0)], [20])
    assert facts.lateness == (SensorLateness(*LEFT, 10 * SECOND),)


def test_a_smaller_one_holds_an_hour_later_and_another_source_of_the_sensor_does_not_bring_it_down() -> None:
    state, _, _ = _advance(PartitionState.empty(), [{"at": 0}], 0, 10 * SECOND)
    state, _, facts = _advance(state, [{"at": 100}], 1, None)
    assert watermark_s(facts) == [90], "messages that state none are of a source with the site's"
    state, _, facts = _advance(state, [{"at": 3_600}], 2, SECOND)
    assert watermark_s(facts) == [3_590], "an hour after it was stated"
    state, _, facts = _advance(state, [{"at": 3_601}], 3, SECOND)
    assert (watermark_s(facts), facts.lateness) == ([3_600], (SensorLateness(*LEFT, SECOND),))


def test_a_smaller_one_of_the_site_holds_with_the_next_flow() -> None:
    def minute(_site: str) -> int:
        return 60 * SECOND

    state, _ = advance_partition(PartitionState.empty(), batch([{"at": 100}]), flows_facts(), 0, minute)
    _, out, facts = _advance(saved_again(state), [{"at": 101}], 1, None)
    assert (out, watermark_s(facts), facts.lateness) == ([], [99], ())


def test_a_tick_moves_the_clock_on_to_what_came_last_and_no_further() -> None:
    state, out, facts = _advance(PartitionState.empty(), [{"at": 10}], 0, 60 * SECOND, silent=(LEFT,))
    assert (out, watermark_s(facts)) == ([(10, 0)], [10])
    state, out, facts = _advance(saved_again(state), [{"at": 9}, {"at": 12}], 1, 60 * SECOND)
    assert (out, watermark_s(facts)) == ([(9, 1)], []), "before the tick: late; the clock stands"
    state, out, facts = _advance(state, [], 3, None, silent=(LEFT,))
    assert (out, watermark_s(facts)) == ([(12, 0)], [12])


def test_an_end_of_source_forgets_what_was_stated() -> None:
    state, _, facts = _advance(PartitionState.empty(), [{"at": 10}], 0, 60 * SECOND, ended=(LEFT,))
    assert (watermark_s(facts), facts.lateness) == ([], (SensorLateness(*LEFT, 60 * SECOND),)), "it says what held"
    _, out, facts = _advance(state, [{"at": 5}, {"at": 20}], 1, None, ended=(TOP,))
    assert (out, watermark_s(facts), facts.lateness) == ([(5, 0)], [18], ())


def test_a_state_from_before_sources_had_a_lateness_is_read_with_its_sites() -> None:
    state, _, _ = _advance(PartitionState.empty(), [{"at": 10}], 0, None)
    blob = snapshot.snapshot(state.sensors[LEFT])
    header, payload = snapshot._opened(blob)
    assert not {"lateness_us", "lateness_at_us"} & header["numbers"].keys(), "nothing was stated"
    del header["numbers"]["passed_us"]
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    body = b"".join((snapshot.MAGIC, len(text).to_bytes(8, "little"), text, bytes(payload)))
    old = snapshot.restore(body + sha256(body).digest())
    assert old.watermark_us(2 * SECOND) == START_US + 8 * SECOND
    name: SensorName = LEFT
    before = PartitionState({name: old}, 1, newest_us=state.newest_us, heard_us=state.heard_us)
    _, out, facts = _advance(before, [{"at": 9}, {"at": 7}], 1, 60 * SECOND)
    assert (out, watermark_s(facts)) == ([(7, 1)], [])
