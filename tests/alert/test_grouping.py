import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.alert.grouping import (
    Grouping,
    clock_order,
    group_sensors,
    keys_of,
    load_grouping,
    tokens_of,
    weights_of,
)
from pipeline.alert.incident import CROWD
from pipeline.errors import Misconfigured
from tests.alert.oracle import Flow, incidents
from tests.alert.suspects import SECOND, START_US, scored
from tests.examples import examples

ROWS = st.lists(
    st.tuples(
        st.integers(0, 40), st.sampled_from("abcdef"), st.sampled_from("abcdef"), st.sampled_from(["normal", "mitm"])
    ),
    max_size=60,
)


@pytest.mark.slow
@settings(max_examples=examples(120), deadline=None)
@given(
    rows=ROWS,
    gap=st.integers(0, 12),
    count=st.integers(1, 4),
    max_open=st.integers(1, 3),
    max_waiting=st.integers(1, 4),
    max_tokens=st.integers(1, 4),
)
def test_the_kernel_agrees_with_grouping_a_flow_at_a_time(
    rows: list[tuple[int, str, str, str]], gap: int, count: int, max_open: int, max_waiting: int, max_tokens: int
) -> None:
    grouping = Grouping(
        link="address",
        open_count=count,
        open_count_of={"mitm": 1},
        gap_us=gap,
        max_open=max_open,
        max_waiting=max_waiting,
        max_tokens=max_tokens,
    )
    rows = sorted(rows, key=lambda row: row[0])
    batch = scored(
        [{"end_ts_us": at, "start_ts_us": 0, "src_addr": a, "dst_addr": b, "class": kind} for at, a, b, kind in rows]
    )
    bounds = np.array([0, len(rows)])
    order, clock_us = clock_order(batch, bounds, np.zeros(1, np.int64))
    [(linked, _)] = group_sensors(batch.take(order), clock_us, bounds, [[]], grouping)
    flows = [Flow(at, (a, b), 1.0 if kind == "mitm" else 1 / count) for at, a, b, kind in rows]
    expected = incidents(flows, gap, max_open, max_waiting, max_tokens)
    final = linked.into[linked.group_of]
    opened = [n for n in range(len(linked.into)) if linked.into[n] == n and linked.opened_row[n] >= 0]
    opened.sort(key=lambda number: int(linked.opened_row[number]))
    got = [np.flatnonzero(final == number).tolist() for number in opened]
    assert got == [sorted(incident.members) for incident in expected]
    assert [int(clock_us[linked.opened_row[number]]) for number in opened] == [incident.opened for incident in expected]
    assert [int(linked.last_us[number]) for number in opened] == [incident.last for incident in expected]


def test_a_late_flow_counts_when_it_came_not_when_it_ended() -> None:
    batch = scored([{"at": 10.0}, {"at": 3.0, "late_by_us": 7 * SECOND}, {"at": 4.0, "late_by_us": SECOND}])
    order, clock_us = clock_order(batch, np.array([0, 3]), np.zeros(1, np.int64))
    assert order.tolist() == [2, 1, 0]  # late ones first where the clock is the same
    assert (clock_us - START_US).tolist() == [5 * SECOND, 10 * SECOND, 10 * SECOND]


@pytest.mark.parametrize(
    ("key", "groups"),
    [
        ((), 1),
        (("actor",), 2),
        (("target",), 4),
        (("pair",), 3),
        (("class",), 2),
        (("class_group",), 1),
        (("service",), 2),
        (("class_group", "actor", "service"), 3),
    ],
)
def test_the_key_decides_what_is_one_group(key: tuple[str, ...], groups: int) -> None:
    batch = scored(
        [
            {"src_addr": "a", "dst_addr": "b", "class": "misconf"},
            {"src_addr": "b", "dst_addr": "a", "class": "duplication"},
            {"src_addr": "a", "dst_addr": "c", "class": "misconf", "dst_port": None},
            {"src_addr": "a", "dst_addr": "d", "class": "misconf"},
        ]
    )
    keys = keys_of(batch, Grouping(key=key, class_groups={"duplication": "misconf"}))
    assert len(set(keys.to_pylist())) == groups


MAC_A, MAC_B = "b8:27:eb:6d:4f:4b", "00:07:7c:8c:43:63"


@pytest.mark.parametrize(
    ("row", "tokens"),
    [
        ({"src_mac": MAC_A, "dst_mac": MAC_B}, [MAC_A, MAC_B]),
        ({"src_mac": MAC_A, "dst_mac": "ff:ff:ff:ff:ff:ff"}, [MAC_A, None]),
        ({"src_mac": MAC_A, "dst_mac": "01:00:5e:00:00:16"}, [MAC_A, None]),
        ({"src_mac": None, "dst_mac": MAC_B}, [None, MAC_B]),
        ({"src_addr": "10.0.0.1", "dst_addr": "10.0.0.2"}, ["10.0.0.1", "10.0.0.2"]),
        ({"src_addr": "10.0.0.1", "dst_addr": "224.0.0.22"}, ["10.0.0.1", None]),
        ({"src_addr": "10.0.0.1", "dst_addr": "FF02::1"}, ["10.0.0.1", None]),
        ({"src_addr": MAC_A, "dst_addr": "ff:ff:ff:ff:ff:ff"}, [MAC_A, None]),
        ({"src_addr": "::", "dst_addr": "255.255.255.255"}, ["::", None]),
        ({"src_mac": "ff:ff:ff:ff:ff:ff", "src_addr": "a", "dst_addr": "b"}, ["a", "b"]),
    ],
)
def test_what_links_a_flow_to_others(row: dict[str, str | None], tokens: list[str | None]) -> None:
    columns = tokens_of(scored([row]), Grouping(link="mac"))
    assert [column[0].as_py() for column in columns] == [None if token is None else "\x1f" + token for token in tokens]


def test_no_address_can_spell_another_groups_key_or_the_crowds() -> None:
    batch = scored([{"src_addr": CROWD}, {"src_addr": "crowd\x1f"}, {"src_addr": ""}])
    keys = keys_of(batch, Grouping(key=("actor",))).to_pylist()
    assert CROWD not in keys
    assert len(set(keys)) == 3


def test_a_strong_suspect_is_evidence_enough() -> None:
    batch = scored([{"p_value": 0.01}, {"p_value": 0.0001}, {"p_value": float("nan")}])
    assert weights_of(batch, Grouping(open_count=4, strong_p_value=0.001)).tolist() == [0.25, 1.0, 0.25]
    assert weights_of(batch, Grouping(open_count=4)).tolist() == [0.25] * 3


def test_the_shipped_parameters_can_be_read() -> None:
    grouping = load_grouping()
    opening = {name: getattr(grouping, name) for name in ("opening_evidence", "opening_ports")}
    assert grouping == Grouping(class_groups={"duplication": "misconf"}, **opening)
    assert grouping.max_open >= 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('key = ["mood"]', "mood"),
        ('link = "blood"', "blood"),
        ("open_count = 0", "open_count"),
        ("gap_us = -1", "gap_us"),
        ("nonsense = 1", "nonsense"),
        ("[open_count_of]\nmitm = 0", "open_count_of.mitm"),
    ],
)
def test_wrong_parameters_are_named(text: str, says: str) -> None:
    with pytest.raises(Misconfigured, match=says):
        load_grouping(text)
