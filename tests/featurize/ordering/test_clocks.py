"""Sensors' clocks against an oracle, flow by flow; that no cut changes them, and that no watermark goes back."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts.lateness import HOLD_US, UNSTATED_US
from pipeline.featurize.ordering.clocks import NO_WATERMARK, Clock, Ints, clocks_in, clocks_of, run_clocks

HOUR = HOLD_US
FLOWS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.one_of(st.integers(0, 60), st.sampled_from([HOUR // 2, HOUR, HOUR + 1, 3 * HOUR])),
        st.sampled_from([UNSTATED_US, UNSTATED_US, 0, 3, 10, 40]),
    ),
    max_size=25,
)
SITES = st.tuples(*(st.integers(0, 12),) * 3)


def run(
    clocks: Sequence[Clock], site_us: Sequence[int], flows: Sequence[tuple[int, int, int]]
) -> tuple[list[Clock], dict[int, int]]:
    """The clocks after flows (sensor, end, stated), and the watermark when each came."""
    arrays = clocks_of(clocks, site_us)
    rows = [[at for at, flow in enumerate(flows) if flow[0] == sensor] for sensor in range(len(clocks))]
    order = [at for of_sensor in rows for at in of_sensor]
    bounds = np.cumsum([0, *map(len, rows)])
    watermark: Ints = np.empty(len(order), np.int64)
    ends, stated = (np.array([flows[at][column] for at in order], np.int64) for column in (1, 2))
    run_clocks(ends, stated, bounds, arrays, watermark)
    return clocks_in(arrays), dict(zip(order, watermark.tolist(), strict=True))


def oracle(site_us: Sequence[int], flows: Sequence[tuple[int, int, int]]) -> list[int]:
    """The watermark when each flow came, from all that came before: the definition, slowly."""
    states: dict[int, dict[str, Any]] = {}
    out = []
    for sensor, end, says in flows:
        it = states.setdefault(sensor, {"latest": None, "passed": NO_WATERMARK, "holds": site_us[sensor], "at": None})
        out.append(it["passed"])
        if says != UNSTATED_US and it["at"] is None and it["latest"] is not None:
            it["at"] = it["latest"]
        it["latest"] = end if it["latest"] is None else max(it["latest"], end)
        if says != UNSTATED_US or it["at"] is not None:
            value = site_us[sensor] if says == UNSTATED_US else says
            if it["at"] is None or value >= it["holds"] or it["latest"] - it["at"] > HOUR:
                it["holds"], it["at"] = value, it["latest"]
        it["passed"] = max(it["passed"], it["latest"] - it["holds"])
    return out


@given(FLOWS, SITES)
def test_agrees_with_the_oracle(flows: list[tuple[int, int, int]], site_us: tuple[int, int, int]) -> None:
    _, watermark = run([Clock()] * 3, site_us, flows)
    assert [watermark[at] for at in range(len(flows))] == oracle(site_us, flows)


@given(FLOWS, SITES, st.lists(st.integers(0, 25), max_size=4))
def test_cuts_change_nothing_and_no_watermark_goes_back(
    flows: list[tuple[int, int, int]], site_us: tuple[int, int, int], cuts: list[int]
) -> None:
    whole, watermark = run([Clock()] * 3, site_us, flows)
    clocks, edges = [Clock()] * 3, [0, *sorted(min(cut, len(flows)) for cut in cuts), len(flows)]
    for start, end in pairwise(edges):
        before, (clocks, of_part) = clocks, run(clocks, site_us, flows[start:end])
        assert of_part == {at - start: watermark[at] for at in range(start, end)}
        for old, new, us in zip(before, clocks, site_us, strict=True):
            assert new.watermark_us(us) >= old.watermark_us(us)
    assert clocks == whole


@given(FLOWS, st.integers(0, 12))
def test_what_all_messages_state_is_as_if_it_were_set_for_the_site(flows: list[tuple[int, int, int]], us: int) -> None:
    _, stated = run([Clock()] * 3, [7] * 3, [(sensor, end, us) for sensor, end, _ in flows])
    _, of_site = run([Clock()] * 3, [us] * 3, [(sensor, end, UNSTATED_US) for sensor, end, _ in flows])
    assert stated == of_site


def test_two_sources_of_a_sensor_have_the_larger_one_and_it_may_shrink_and_grow() -> None:
    flows = [(0, 100, 2), (0, 101, 30), (0, 140, 2), (0, 141, 30), (0, 145, 2), (0, 200 + HOUR, 2), (0, 201 + HOUR, 60)]
    _, watermark = run([Clock()], [5], [*flows, (0, 202 + HOUR, 2)])
    # 98 is passed when the larger is stated: what may be released stays so; then 30 behind, and with 2 from an hour on.
    assert list(watermark.values()) == [NO_WATERMARK, 98, 98, 110, 111, 115, 198 + HOUR, 198 + HOUR]


def test_a_source_that_states_less_waits_for_one_that_states_none() -> None:
    flows = [(0, 1_000, UNSTATED_US), (0, 1_001, 2), (0, 1_002, UNSTATED_US), (0, 1_003 + HOUR, 2)]
    _, watermark = run([Clock()], [300], [*flows, (0, 1_004 + HOUR, 2)])
    assert list(watermark.values()) == [NO_WATERMARK, 700, 701, 702, 1_001 + HOUR]


def test_the_clock_of_an_earlier_state_has_the_sites_watermark() -> None:
    clock = Clock(latest_us=100)
    assert (clock.watermark_us(7), Clock().watermark_us(7), clock.passed(95).watermark_us(7)) == (93, NO_WATERMARK, 95)
    _, watermark = run([clock], [7], [(0, 90, UNSTATED_US), (0, 95, 40)])
    assert list(watermark.values()) == [93, 93]
