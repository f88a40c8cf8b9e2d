"""What is missing between sequence numbers: by hand, and against the plain rules on troubled streams."""

from itertools import groupby
from random import Random

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.archive.upkeep.exporter_loss import sequences
from pipeline.archive.upkeep.exporter_loss.sequences import (
    BELIEVED,
    FALL,
    MAX_AHEAD,
    MAX_RANGES,
    REORDERED,
    WRAP,
    Sequence,
)
from tests.archive.upkeep.exporter_loss import sequence_oracle
from tests.examples import examples


def counted(numbers: list[int], cuts: tuple[int, ...] = ()) -> Sequence:
    sequence = Sequence()
    for start, stop in zip((0, *cuts), (*cuts, len(numbers)), strict=True):
        times = np.arange(start, stop)
        sequence = sequences.count(sequence, np.array(numbers[start:stop], np.int64), times)
    return sequences.as_of_now(sequence)


def packets(numbers: list[int]) -> list[tuple[int, int, int]]:
    return [gap[:3] for gap in counted(numbers).packets.ranges]


def flows(*sent: tuple[int, int]) -> list[tuple[int, int, int]]:
    """Ranges missing in packets, each a number and how many records."""
    return [gap[:3] for gap in counted([number for number, records in sent for _ in range(records)]).flows.ranges]


def test_a_lost_packet_is_named() -> None:
    assert packets([5, 5, 6, 9, 10]) == [(7, 8, 2)]
    assert packets([7]) == packets([]) == packets([3, 4, 5]) == []
    assert counted([5, 5, 6, 9, 10]).packets.ranges[0].until_us == 3


def test_records_are_counted_by_packet() -> None:
    assert flows((100, 30), (130, 30), (190, 2), (192, 1)) == [(160, 189, 30)]
    assert flows((0, 3), (3, 1), (4, 1)) == []
    # A record of the packet that nobody wrote.
    assert flows((0, 2), (3, 3), (6, 1)) == [(2, 2, 1)]


def test_packets_out_of_order_are_no_loss() -> None:
    shuffled = list(range(1000, 3000))
    random = Random(3)
    shuffled.sort(key=lambda number: number + random.uniform(0, 500))
    assert shuffled != sorted(shuffled)
    sequence = counted(shuffled)
    assert (sequence.packets.missing, sequence.resets, sequence.stragglers) == (0, 0, 0)
    del shuffled[700]
    assert counted(shuffled).packets.missing == 1


def test_records_of_packets_mixed_with_one_another() -> None:
    assert counted([0, 3, 0, 3, 0, 5, 5]).flows.ranges == ()


def test_numbers_wrap() -> None:
    top = WRAP - 2
    assert packets([top, top + 1, 0, 1]) == []
    assert packets([top, 1, 2]) == [(WRAP - 1, 0, 2)]
    assert flows((WRAP - 30, 30), (0, 30), (60, 30)) == [(30, 59, 30)]
    assert packets([0, WRAP - 1, 1]) == []


def test_duplicates_are_no_loss_and_no_gain() -> None:
    assert packets([1, 2, 3, 2, 3, 4, 4, 5, 1]) == []
    assert packets([1, 2, 2, 4, 2]) == [(3, 3, 1)]


@pytest.mark.parametrize("top", [1005, 100_000, 3_000_000_000, WRAP - MAX_AHEAD - 10])
def test_a_restart_is_a_restart(top: int) -> None:
    sequence = counted([*range(top - 5, top), 0, 1, 2, 4])
    assert (sequence.resets, [gap[:3] for gap in sequence.packets.ranges]) == (1, [(3, 3, 1)])


def test_a_restart_after_a_few_is_not_told_from_duplicates_and_costs_nothing() -> None:
    sequence = counted([*range(FALL - 100), *range(FALL)])
    assert (sequence.resets, sequence.packets.missing) == (0, 0)


def test_a_long_outage_is_a_gap_of_so_many() -> None:
    assert packets([1, 2, 3, 1_000_000, 1_000_001, 1_000_002]) == [(4, 999_999, 999_996)]
    sequence = counted([1, 2, 3, MAX_AHEAD + 4, MAX_AHEAD + 5, MAX_AHEAD + 6])
    assert (sequence.resets, sequence.packets.missing) == (1, 0)


def test_a_straggler_is_neither_loss_nor_restart() -> None:
    sequence = counted([*range(50_000, 50_010), 7, *range(50_010, 50_020)])
    assert (sequence.resets, sequence.stragglers, sequence.packets.missing) == (0, 1, 0)
    # A late packet of before the restart, after it.
    sequence = counted([*range(5000, 5010), 0, 5010, 1, 2, 3, 4])
    assert (sequence.resets, sequence.packets.missing) == (1, 0)


def test_what_broke_off_is_believed_once_enough_of_it_came() -> None:
    before = list(range(50_000, 50_010))
    assert counted([*before, *range(BELIEVED - 1)]).resets == 0
    assert counted([*before, *range(BELIEVED)]).resets == 1


def test_two_engines_under_one_name_are_told_to_be_mixed() -> None:
    two = [number + engine * 1_000_000 for number in range(500) for engine in (0, 1)]
    assert counted(two).mixed
    bursts = [part * 10 + at + engine * 1_000_000 for part in range(50) for engine in (0, 1) for at in range(10)]
    assert counted(bursts).mixed
    assert not counted([*range(5000), *range(3000), *range(2000)]).mixed


def test_what_the_numbers_count_shows() -> None:
    sequence = counted([number for number in range(0, 3000, 30) for _ in range(30)])
    assert (sequence.like_flows, sequence.like_packets) == (99, 0)
    sequence = counted([number for number in range(100) for _ in range(30)])
    assert (sequence.like_flows, sequence.like_packets) == (0, 99)


def test_ranges_are_bounded_and_their_sum_is_not() -> None:
    sequence = counted(list(range(0, 10_000, 2))).packets
    assert (sequence.missing, sequence.count, len(sequence.ranges)) == (4999, 4999, MAX_RANGES)
    assert sequence.ranges[-1][:3] == (9997, 9997, 1)


STEPS = st.one_of(
    st.just(1),
    st.integers(0, 4),
    st.integers(-40, 40),
    st.integers(-2 * REORDERED, 2 * REORDERED),
    st.sampled_from([-REORDERED, REORDERED, -FALL, MAX_AHEAD, MAX_AHEAD + 1, WRAP // 2, -(WRAP // 2)]),
)
STARTS = st.one_of(st.integers(0, 600), st.integers(0, WRAP - 1), st.sampled_from([0, WRAP - 1, WRAP - 20]))


@st.composite
def streams(draw: st.DrawFn) -> list[int]:
    numbers: list[int] = []
    for start, steps in draw(st.lists(st.tuples(STARTS, st.lists(STEPS, max_size=20)), max_size=5)):
        at = start
        for step in steps:
            numbers += [at % WRAP] * draw(st.integers(1, 3))
            at += step
    return numbers


@pytest.mark.slow
@given(numbers=streams(), data=st.data())
@example(numbers=[*range(3, 12), 4107, 0, 1], data=None)
@example(numbers=[1, 5000, 9000, 13_000, 9000, 5000, 1, 14_000, 14_001], data=None)
@example(numbers=[*range(8193, 8201), 12_287, 8192, 8191, *range(8192, 8203), 8189, 4094, 4094], data=None)
@settings(max_examples=examples(300), deadline=None)
def test_against_the_plain_rules_however_it_is_cut(numbers: list[int], data: st.DataObject | None) -> None:
    cuts = (
        data.draw(st.lists(st.integers(0, len(numbers)), max_size=6).map(sorted)) if data else (3, 4, len(numbers) - 1)
    )
    sequence, wanted = counted(numbers, tuple(cuts)), sequence_oracle.missing(numbers, range(len(numbers)))
    for gaps, ranges in ((sequence.packets, wanted.packets), (sequence.flows, wanted.flows)):
        assert sorted(gaps.ranges) == sorted(ranges)
        assert (gaps.missing, gaps.count) == (sum(gap[2] for gap in ranges), len(ranges))
    assert (sequence.like_packets, sequence.like_flows) == wanted.like
    assert (sequence.resets, sequence.stragglers) == (wanted.resets, wanted.stragglers)
    assert sequence.runs == len(list(groupby(numbers)))
    assert sequence.records == len(numbers)


@pytest.mark.slow
def test_long_streams_are_settled_as_they_go_and_hold_little() -> None:
    random = Random(5)
    lost = set(random.sample(range(10_001, 409_999), 3000))
    received = [number for number in range(10_000, 410_000) if number not in lost]
    received.sort(key=lambda number: number + random.uniform(0, 1000))
    sequence = sequences.count(Sequence(), np.array(received, np.int64), np.zeros(len(received), np.int64))
    assert len(sequence.pending.numbers) <= 2 * REORDERED + 2
    assert sequences.as_of_now(sequence).packets.missing == len(lost)
