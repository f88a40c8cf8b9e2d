"""How strong a suspect is by itself, and what many of them weigh."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.alert.levels import (
    BY_EVIDENCE,
    CERTAIN,
    CLEAR,
    FAINT,
    FLOOD,
    GRAVE,
    LEVELS,
    MANY,
    SLIGHT,
    grown,
    levels_after,
    levels_of,
    sign_of,
)
from pipeline.alert.techniques import shipped
from pipeline.contracts.baseline import SHOWN, Evidence, Phase
from tests.alert.suspects import members
from tests.alert.test_evidence import OUTSIDE, A, B, shown

USE = Evidence.NEW_SERVICE_USE


@pytest.mark.parametrize(
    ("evidence", "row", "level"),
    [
        (Evidence.NEW_CONTROLLER, {}, GRAVE),
        (Evidence.SEVERAL_HARDWARE, {}, CERTAIN),
        (Evidence.NEW_WRITER, {}, CERTAIN),
        (Evidence.NEW_WRITER, {"others": 1}, CERTAIN),
        (Evidence.NEW_WRITER, {"others": 2}, CLEAR),
        (Evidence.NEW_WRITER | USE, {"others": 2}, CERTAIN),
        (Evidence.NEW_WRITER | Evidence.NEW_HOST, {"others": 3}, CERTAIN),
        (Evidence.NEW_WRITER | Evidence.NEW_CONTROLLER, {"others": 3}, GRAVE),
        (Evidence.NEW_HARDWARE, {}, CLEAR),
        (Evidence.NEW_DEVICE, {}, CLEAR),
        (Evidence.NEW_DEVICE | USE, {}, CERTAIN),
        (Evidence.MORE_BYTES, {}, CLEAR),
        (USE | Evidence.STRANGE, {}, CLEAR),
        (USE, {}, SLIGHT),
        (Evidence.NEW_FUNCTION, {}, SLIGHT),
        (Evidence.STRANGE, {}, FAINT),
        (Evidence.STRANGE, {"class": "mitm"}, CERTAIN),
        (Evidence.STRANGE, {"class": "portscan"}, CLEAR),
        (Evidence.STRANGE, {"class": "unknown", "p_value": 1e-9}, FAINT),  # nothing is fitted to the sensor
        (Evidence.NEW_WRITER, {"phase": int(Phase.LEARNING), "class": "unknown"}, SLIGHT),
        (Evidence(0), {"class": "unknown", "p_value": 0.002}, SLIGHT),
        (Evidence(0), {"class": "unknown", "p_value": 0.0003}, CLEAR),
        (Evidence(0), {"class": "misconf"}, SLIGHT),
        (Evidence(0), {"class": "command_injection"}, GRAVE),
    ],
)
def test_a_flow_has_a_level_by_its_evidence_or_by_its_name(evidence: Evidence, row: dict[str, Any], level: int) -> None:
    assert levels_of(members([shown(evidence, **row)]).shown, shipped()).tolist() == [level]


def test_all_evidence_that_makes_a_suspect_has_a_level() -> None:
    assert Evidence(0).__or__(sum(bit for bit, _, _ in BY_EVIDENCE)) == SHOWN


@given(
    levels=st.lists(st.tuples(st.integers(0, GRAVE), st.booleans()), min_size=1, max_size=60),
    repeated=st.sampled_from([1, 20, 300]),
    cut=st.integers(0, 60),
)
def test_the_level_of_many_flows_is_that_of_one_at_a_time(
    levels: list[tuple[int, bool]], repeated: int, cut: int
) -> None:
    level, grow = (np.repeat(np.array(column), repeated) for column in zip(*levels, strict=True))
    counts, reached, expected = [0] * LEVELS, -1, []
    for one, adds in zip(level.tolist(), grow.tolist(), strict=True):
        counts[one] += adds
        sizes = [grown(each, sum(counts[each:])) for each in range(CERTAIN) if sum(counts[each:]) >= MANY]
        reached = max([reached, one, *sizes])
        expected.append(reached)
    cut = min(cut * repeated, len(level))
    before = [int(np.count_nonzero((level[:cut] == each) & grow[:cut])) for each in range(LEVELS)]
    first = levels_after(-1, [0] * LEVELS, level[:cut], grow[:cut]) if cut else np.empty(0, np.int64)
    reached = int(first[-1]) if cut else -1
    second = levels_after(reached, before, level[cut:], grow[cut:]) if cut < len(level) else np.empty(0, np.int64)
    assert [*first.tolist(), *second.tolist()] == expected


def test_sixteen_flows_weigh_a_level_more_and_a_flood_is_certain() -> None:
    assert [grown(FAINT, flows) for flows in (1, MANY - 1, MANY, FLOOD - 1, FLOOD)] == [0, 0, SLIGHT, SLIGHT, CERTAIN]
    assert [grown(level, FLOOD) for level in range(LEVELS)] == [CERTAIN, CERTAIN, CERTAIN, CERTAIN, GRAVE]


@pytest.mark.parametrize(
    ("row", "sign"),
    [
        (shown(USE), ("use", A, B)),
        (shown(USE, others=1), ("use", A, "")),
        # An answer: the target uses the source's service; unless the source opened the connection.
        (shown(USE, src_port=22, dst_port=50_001, conn_state="OTH"), ("use", B, A)),
        (shown(USE, src_port=22, dst_port=50_001, conn_state="SF"), ("use", A, B)),
        (shown(USE, dst_addr=OUTSIDE), ("use", A, "")),
        (shown(USE, src_addr=OUTSIDE), ("use", "a public address", B)),
        (shown(Evidence.NEW_HARDWARE | Evidence.AT_SOURCE), ("hardware", A, A)),
        (shown(Evidence.NEW_HARDWARE | Evidence.AT_TARGET), ("hardware", B, B)),
        (shown(Evidence.NEW_WRITER | Evidence.STRANGE, others=2), ("control", A, "")),
        (shown(Evidence.NEW_WRITER | USE), ("control", A, B)),
        (shown(USE, **{"class": "portscan"}), ("portscan", A, B)),
        (shown(Evidence(0)), ("unknown", A, "")),
        (shown(USE, src_port=None, dst_port=None, others=None), ("use", A, "")),
    ],
)
def test_what_a_flow_is_about(row: dict[str, Any], sign: tuple[str, str, str]) -> None:
    assert sign_of(members([row]).shown, 0) == sign
