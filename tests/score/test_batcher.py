"""The batcher under any arrivals and any compute: nothing lost, order kept, bounds and deadlines kept."""

import heapq
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.score.batcher import TILE, Batcher, Limits

LIMITS = st.builds(
    lambda most, more, engines, budget: Limits(most, most + more, engines, budget),
    st.integers(1, 3_000),
    st.integers(0, 6_000),
    st.integers(1, 3),
    st.integers(0, 20_000),
)
ARRIVALS = st.lists(st.tuples(st.integers(0, 5_000), st.integers(1, 3_000)), max_size=40)


@dataclass
class Run:
    """What became of requests: a simulation of engines that take so long a tile."""

    limits: Limits
    tile_us: int
    taken: list[tuple[int, int, int]] = field(default_factory=list)
    """Number, rows, arrival of each that was taken in."""
    refused: list[int] = field(default_factory=list)
    batches: list[tuple[int, list[tuple[int, int, int]], int]] = field(default_factory=list)
    """When each was dispatched, what was in it, and how many were being computed besides."""
    finished_us: dict[int, int] = field(default_factory=dict)

    def play(self, arrivals: list[tuple[int, int]]) -> "Run":
        batcher: Batcher[tuple[int, int, int]] = Batcher(self.limits)
        working: list[tuple[int, int, int]] = []
        now_us, coming = 0, []
        for number, (gap_us, rows) in enumerate(arrivals):
            now_us += gap_us
            coming.append((now_us, number, min(rows, self.limits.max_rows)))
        now_us = 0
        while coming or working or batcher.waiting_rows:
            due_us = batcher.due_us()
            times = [each[0][0] for each in (coming, working) if each] + ([] if due_us is None else [due_us])
            now_us = max(now_us, min(times))
            while working and working[0][0] <= now_us:
                _, rows, took_us = heapq.heappop(working)
                batcher.done(rows, took_us)
            while coming and coming[0][0] <= now_us:
                at_us, number, rows = coming.pop(0)
                if batcher.offer((number, rows, at_us), rows, now_us):
                    self.taken.append((number, rows, at_us))
                else:
                    self.refused.append(number)
            while batch := batcher.next_batch(now_us):
                self.batches.append((now_us, batch, len(working)))
                rows = sum(each[1] for each in batch)
                took_us = self.tile_us * -(-rows // TILE)
                heapq.heappush(working, (now_us + took_us, rows, took_us))
                self.finished_us |= {each[0]: now_us + took_us for each in batch}
        assert batcher.working == 0
        return self


@given(LIMITS, ARRIVALS, st.integers(1, 9_000))
def test_nothing_is_lost_order_is_kept_and_no_batch_is_too_large(
    limits: Limits, arrivals: list[tuple[int, int]], tile_us: int
) -> None:
    run = Run(limits, tile_us).play(arrivals)
    assert [each for _, batch, _ in run.batches for each in batch] == run.taken
    assert sorted([*(number for number, _, _ in run.taken), *run.refused]) == list(range(len(arrivals)))
    for _, batch, beside in run.batches:
        assert 0 < sum(rows for _, rows, _ in batch) <= limits.max_rows
        assert beside < limits.engines


@given(LIMITS, ARRIVALS, st.integers(1, 9_000))
def test_while_nothing_is_computed_nothing_waits(limits: Limits, arrivals: list[tuple[int, int]], tile_us: int) -> None:
    run = Run(limits, tile_us).play(arrivals)
    busy_until = 0
    for at_us, batch, beside in run.batches:
        first_us = batch[0][2]
        if beside == 0:
            assert at_us == max(first_us, min(busy_until, at_us)), "an idle engine and a request that waited"
        busy_until = max([busy_until, *(run.finished_us[number] for number, _, _ in batch)])


@given(LIMITS, ARRIVALS, st.integers(1, 9_000))
def test_what_is_held_for_company_is_answered_in_time_where_compute_allows(
    limits: Limits, arrivals: list[tuple[int, int]], tile_us: int
) -> None:
    """A request that an engine was free for, all the time, is late only by what computing its batch takes."""
    run = Run(limits, tile_us).play(arrivals)
    finishes = [(at_us, max(run.finished_us[each[0]] for each in batch)) for at_us, batch, _ in run.batches]
    for at_us, batch, _ in run.batches:
        _, _, first_us = batch[0]
        # Over the whole time it waited: batches being computed, and those dispatched before it.
        always_free = all(
            sum(start <= moment < end for start, end in finishes) < limits.engines
            for moment in {first_us, *(start for start, _ in finishes if first_us <= start < at_us)}
        )
        earlier = any(first_us <= start < at_us for start, _ in finishes)
        if always_free and not earlier:
            took_us = run.finished_us[batch[0][0]] - at_us
            assert run.finished_us[batch[0][0]] - first_us <= max(limits.budget_us, took_us)


def test_a_batch_is_held_until_it_is_full_or_due() -> None:
    batcher: Batcher[str] = Batcher(Limits(max_rows=2_048, max_waiting_rows=4_096, engines=2, budget_us=10_000))
    assert batcher.due_us() is None and batcher.offer("a", 1, 0)
    assert batcher.next_batch(0) == ["a"]
    batcher.done(1, 2_000)
    assert batcher.predicted_us(1) == 2_000 and batcher.predicted_us(2_048) == batcher.predicted_us(9_999) == 4_000
    assert batcher.offer("b", 5, 100) and batcher.next_batch(100) == ["b"]
    assert batcher.offer("c", 5, 200) and batcher.next_batch(200) == []
    assert batcher.due_us() == 200 + 10_000 - 2_000
    assert batcher.next_batch(8_199) == [] and batcher.next_batch(8_200) == ["c"]
    assert batcher.offer("d", 5, 8_300) and batcher.next_batch(99_999) == [], "every engine works"
    batcher.failed()
    assert batcher.offer("e", 2_043, 8_400) and batcher.next_batch(8_400) == ["d", "e"], "full"


def test_what_does_not_fit_is_turned_away_and_may_come_again() -> None:
    batcher: Batcher[int] = Batcher(Limits(max_rows=10, max_waiting_rows=20, engines=1, budget_us=0))
    assert batcher.offer(1, 10, 0) and batcher.next_batch(0) == [1]
    assert batcher.offer(2, 10, 1) and batcher.offer(3, 10, 1) and not batcher.offer(4, 1, 1)
    assert batcher.backlog_us() == 0, "before the first was computed nothing is known"
    batcher.done(10, 500)
    assert batcher.backlog_us() == 500
    assert batcher.next_batch(2) == [2] and batcher.offer(4, 1, 2)
    for rows in (0, 11):
        with pytest.raises(ValueError, match=f"got {rows} rows, expected 1 to 10"):
            batcher.offer(5, rows, 2)


@pytest.mark.parametrize("limits", [(0, 1, 1, 0), (1, 0, 1, 0), (1, 1, 0, 0), (1, 1, 1, -1)])
def test_limits_that_cannot_be(limits: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="batcher: got Limits"):
        Limits(*limits)
