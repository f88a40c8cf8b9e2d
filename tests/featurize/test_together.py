"""Messages of several partitions in one step: of each the same bytes and the same state as alone."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contracts.envelope import FlowsFacts
from pipeline.featurize.messages import Cutting, FeaturesMessage
from pipeline.featurize.partition import (
    FlowsMessage,
    PartitionState,
    SiteRules,
    advance_partitions,
    sensors_by_name,
    snapshot,
)
from pipeline.featurize.snapshot import snapshot as snapshot_sensor
from pipeline.runtime.wire.messages import read, write
from tests.contracts.facts import at, flows_facts
from tests.examples import examples
from tests.featurize.flows import SECOND, batch, flow_rows

PARTITIONS = 3
DAY_S = 86_400.0
RULES = SiteRules(lambda _site: 2 * SECOND, lambda _site: SECOND)


def _wire(partition: int, rows: list[dict[str, Any]], size: int) -> list[bytes]:
    """A partition's flows of two sensors as messages; the first sensor sends each direction as a record of its own."""
    named = [{**row, "sensor": f"s{number % 2}", "is_biflow": number % 2 > 0} for number, row in enumerate(rows)]
    payloads = []
    for number, first in enumerate(range(0, len(named), size)):
        ended = (("plant", "s1"),) if number % 3 == 2 else ()
        silent = (("plant", "s0"),) if number % 4 == 3 else ()
        facts = flows_facts(raw_partition=partition, last=(first + size, 0), ended=ended, silent=silent)
        payloads.append(write(batch(named[first : first + size], first), facts))
    return payloads


def _read(payload: bytes, partition: int, offset: int) -> FlowsMessage:
    return FlowsMessage(*read(payload, FlowsFacts, at("flows", partition, offset)), offset)


def _written(messages: list[FeaturesMessage]) -> list[bytes]:
    return [write(each.rows, each.facts) for each in messages]


def _saved(state: PartitionState) -> list[object]:
    return [snapshot(state), {name: snapshot_sensor(sensor) for name, sensor in sensors_by_name(state).items()}]


@pytest.mark.slow
@settings(max_examples=examples(40), deadline=None)
@given(
    st.lists(flow_rows(), min_size=PARTITIONS, max_size=PARTITIONS),
    st.lists(st.integers(1, 7), min_size=PARTITIONS, max_size=PARTITIONS),
    st.lists(st.sets(st.integers(0, PARTITIONS - 1), min_size=1), min_size=12, max_size=12),
    st.sampled_from([1.0, DAY_S]),
)
def test_what_comes_of_a_message_does_not_depend_on_what_came_with_it(
    rows: list[list[dict[str, Any]]], sizes: list[int], steps: list[set[int]], seconds: float
) -> None:
    """Records halves, late, ended, silent; with some days between them sensors expire in the midst of a message."""
    apart = [[{**row, "at": row["at"] * seconds} for row in of_partition] for of_partition in rows]
    wire = [_wire(partition, apart[partition], sizes[partition]) for partition in range(PARTITIONS)]
    alone, together = ([PartitionState.empty() for _ in range(PARTITIONS)] for _ in range(2))
    taken = [0] * PARTITIONS
    for step in [*steps, *[{partition} for partition in range(PARTITIONS)] * 3]:
        chosen = [partition for partition in sorted(step) if taken[partition] < len(wire[partition])]
        expected = []
        for partition in chosen:
            message = _read(wire[partition][taken[partition]], partition, taken[partition])
            [(alone[partition], made)] = advance_partitions([(alone[partition], message)], RULES)
            expected.append(_written(made))
        messages = [_read(wire[partition][taken[partition]], partition, taken[partition]) for partition in chosen]
        states = [together[partition] for partition in chosen]
        advanced = advance_partitions(list(zip(states, messages, strict=True)), RULES)
        assert [_written(made) for _, made in advanced] == expected
        for partition, (after, _) in zip(chosen, advanced, strict=True):
            together[partition] = after
            taken[partition] += 1
    assert [_saved(state) for state in together] == [_saved(state) for state in alone]


@pytest.mark.parametrize("cutting", [Cutting(), Cutting(max_rows=333), Cutting(max_bytes=76_008)])
def test_large_messages_together_are_the_same_bytes(cutting: Cutting) -> None:
    """Their rows are views of one batch before they are written, whose buffers do not end where theirs do; of one
    message alone a column has nulls.
    """
    rows = [{"at": number / 10, "sensor": f"s{number % 3}", "fwd_ttl_mean": None} for number in range(1_501)]
    flows = [batch(rows), *(batch([{**row, "fwd_ttl_mean": 1.0} for row in rows[:count]]) for count in (501, 900))]
    messages = [FlowsMessage(each, flows_facts(raw_partition=n), 0, cutting) for n, each in enumerate(flows)]
    alone = [_written(advance_partitions([(PartitionState.empty(), each)], RULES)[0][1]) for each in messages]
    advanced = advance_partitions([(PartitionState.empty(), each) for each in messages], RULES)
    assert [_written(made) for _, made in advanced] == alone


def test_no_messages_and_one_without_sensors() -> None:
    assert advance_partitions([], RULES) == []
    nothing = FlowsMessage(batch([]), flows_facts(), 0)
    some = FlowsMessage(batch([{"at": 1.0}]), flows_facts(raw_partition=1), 0)
    (_, [empty]), (_, [other]) = advance_partitions(
        [(PartitionState.empty(), nothing), (PartitionState.empty(), some)], RULES
    )
    assert (len(empty.rows), len(other.rows), other.facts.raw_partition) == (0, 0, 1)
