"""Halves find each other as a plain loop over the log would have it, however the log is cut."""

import random
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.featurize.ordering.buffer import keys_of
from pipeline.featurize.ordering.pairing import Kinds, group, kinds_of
from pipeline.featurize.ordering.reorder import in_event_order
from pipeline.featurize.sensor import SensorState, advance, featurize_file_rows
from pipeline.featurize.snapshot import restore, snapshot
from tests.examples import examples
from tests.featurize.flows import SECOND, START_US, batch

WINDOW_US = 2 * SECOND
THERE = {"src_addr": "10.0.0.1", "dst_addr": "10.0.0.2", "src_port": 40_000, "dst_port": 502}
BACK = {"src_addr": "10.0.0.2", "dst_addr": "10.0.0.1", "src_port": 502, "dst_port": 40_000}
HALF = {"is_biflow": False, "rev_pkts": 0, "rev_bytes": 0, "quality": "no_flags,no_rev,one_way"}


def half(at: float, way: dict[str, Any], **more: Any) -> dict[str, Any]:
    """One direction of a flow."""
    return {**HALF, **way, "at": at, **more}


def some_rows(count: int, seed: int, span_s: float) -> list[dict[str, Any]]:
    """Halves of few conversations, whole flows and logs of them, out of order and late."""
    pick = random.Random(seed)
    rows = []
    for _ in range(count):
        way = dict(pick.choice([THERE, BACK]))
        if pick.random() < 0.4:
            way |= {"src_port": way["dst_port"], "dst_port": way["src_port"]}
        row = half(pick.randrange(round(span_s * 4) + 1) / 4, way, record_id=pick.randrange(3))
        row["duration_us"] = pick.choice([0, SECOND // 2])
        row["fwd_tcp_flags"] = pick.choice([None, 2, 18, 27])
        if pick.random() < 0.7:
            row |= {"export_protocol": "netflow9", "exporter_addr": pick.choice([None, "192.0.2.1", "2001:db8::1"])}
            row |= {"export_domain": pick.choice([None, 0, 512]), "export_sequence": pick.randrange(2**32)}
        kind = pick.random()
        if kind < 0.15:
            row |= {"is_biflow": True, "quality": ""}
        elif kind < 0.35:
            row |= {"is_biflow": True, "record_kind": "ics", "quality": "no_bytes"}
        rows.append(row)
    return rows


def rows_of_a_sensor() -> st.SearchStrategy[list[dict[str, Any]]]:
    return st.builds(some_rows, st.integers(0, 50), st.integers(0, 2**32), st.just(8.0))


def plain(rows: list[dict[str, Any]], max_between: int) -> list[list[int]]:
    """The oracle: which rows, by their index in event-time order, are one flow."""
    flows: list[list[int]] = []
    waiting: list[int] = []  # halves
    collecting: dict[Any, int] = {}  # the flow that gathers what logs say of a conversation
    for at, row in enumerate(rows):
        there = (row["src_addr"], row["src_port"], row["dst_addr"], row["dst_port"])
        back = (*there[2:], *there[:2])
        name = min(there, back)

        def near(first: int, at: int = at, row: dict[str, Any] = row) -> bool:
            return row["end_ts_us"] <= rows[first]["end_ts_us"] + WINDOW_US and at - first <= max_between

        if name in collecting and not near(flows[collecting[name]][0]):
            del collecting[name]
        if row["record_kind"] == "ics":
            if name in collecting:
                flows[collecting[name]].append(at)
            else:
                collecting[name] = len(flows)
                flows.append([at])
            continue
        if not row["is_biflow"]:
            others = [
                other
                for other in waiting
                if near(other)
                and tuple(rows[other][key] for key in ("src_addr", "src_port", "dst_addr", "dst_port")) == back != there
            ]
            if others:
                waiting.remove(others[0])
                next(flow for flow in flows if flow[0] == others[0]).append(at)
            else:
                waiting.append(at)
                flows.append([at])
        elif name in collecting:
            flows[collecting.pop(name)].append(at)
        else:
            flows.append([at])
    return sorted(flows)


@pytest.mark.slow
@settings(max_examples=examples(150), deadline=None)
@given(rows_of_a_sensor(), st.sampled_from([1, 3, 65_536]))
def test_groups_are_those_of_a_plain_loop(rows: list[dict[str, Any]], max_between: int) -> None:
    flows = batch(rows)
    flows = flows.take(pa.array(in_event_order(keys_of(flows), np.zeros(len(flows), np.int64))))
    kinds: Kinds = kinds_of(flows)
    got = group(flows, kinds, WINDOW_US, max_between)
    members: dict[int, list[int]] = {}
    for at, first in enumerate(got.first.tolist()):
        members.setdefault(first, []).append(at)
    assert sorted(members.values()) == plain(flows.to_pylist(), max_between)


def records(rows: pa.RecordBatch) -> list[tuple[int, int]]:
    """Every raw position the rows stand for."""
    positions = []
    for row in rows.to_pylist():
        also = row["raw_also"] or []
        positions += [(row["raw_offset"], row["raw_index"]), *zip(also[::2], also[1::2], strict=True)]
    return positions


def numbers(row: dict[str, Any]) -> list[str]:
    """How each record of a row was numbered, in raw order; empty for one that was not."""
    fields = ("export_protocol", "exporter_addr", "export_domain", "export_sequence")
    first = (
        ""
        if row["export_sequence"] is None
        else " ".join("-" if row[name] is None else str(row[name]) for name in fields)
    )
    others = len(row["raw_also"] or []) // 2
    return [first, *([""] * others if row.get("export_also") is None else row["export_also"].split(","))]


def run(
    rows: list[dict[str, Any]], cuts: list[int], lateness_us: int, saved: bool
) -> tuple[list[list[Any]], list[list[Any]]]:
    """On-time rows in the order they were released, and late ones with how late, of a log cut at these offsets."""
    flows, state, out = batch(rows), SensorState.empty(), []
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    for start, end in pairwise(edges):
        state, part = advance(state, flows.slice(start, end - start), False, lateness_us, window_us=WINDOW_US)
        out += part.to_pylist()
        if saved:
            state = restore(snapshot(state))
    out += advance(state, flows.slice(0, 0), True, lateness_us, window_us=WINDOW_US)[1].to_pylist()
    on_time = [list(row.values()) for row in out if not row["late_by_us"]]
    late = sorted([row["raw_offset"], row["late_by_us"], *row["features"]] for row in out if row["late_by_us"])
    return on_time, late


@pytest.mark.slow
@settings(max_examples=examples(80), deadline=None)
@given(rows_of_a_sensor(), st.lists(st.integers(0, 50), max_size=6), st.integers(0, 3), st.booleans())
def test_cuts_change_nothing(rows: list[dict[str, Any]], cuts: list[int], lateness_s: int, saved: bool) -> None:
    """Not which halves meet, nor the order in which flows are released, their features, or what late ones see."""
    assert run(rows, cuts, lateness_s * SECOND, saved) == run(rows, [], lateness_s * SECOND, False)


@pytest.mark.slow
@settings(max_examples=examples(80), deadline=None)
@given(rows_of_a_sensor(), st.integers(0, 3))
def test_every_record_is_released_once_and_in_event_time_order(rows: list[dict[str, Any]], lateness_s: int) -> None:
    got = featurize_file_rows(batch(rows), lateness_s * SECOND, 7, WINDOW_US)
    assert sorted(records(got)) == [(offset, 0) for offset in range(len(rows))]
    numbering = dict(zip(records(got), (number for row in got.to_pylist() for number in numbers(row)), strict=True))
    alone = {
        **dict.fromkeys(("export_protocol", "exporter_addr", "export_domain", "export_sequence")),
        "raw_also": None,
    }
    assert numbering == {(offset, 0): numbers({**alone, **row})[0] for offset, row in enumerate(rows)}
    on_time = got.filter(pa.array(got.column("late_by_us").to_numpy() == 0))
    ends = on_time.column("end_ts_us").to_numpy()
    assert (np.diff(ends) >= 0).all()
    for row in got.to_pylist():
        also = [
            (row["raw_offset"], row["raw_index"]),
            *zip((row["raw_also"] or [])[::2], (row["raw_also"] or [])[1::2], strict=True),
        ]
        assert also == sorted(also) and (row["late_by_us"] == 0 or len(also) == 1)


def paired(*rows: dict[str, Any], window_us: int = WINDOW_US) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = featurize_file_rows(batch(rows), 0, window_us=window_us).to_pylist()
    return made


def test_two_halves_become_a_whole_flow() -> None:
    there = half(
        1.0, THERE, fwd_pkts=5, fwd_bytes=500, fwd_tcp_flags=2 | 16 | 1, fwd_ttl_mean=64.0, src_mac="00:00:00:00:00:01"
    )
    back = half(1.2, BACK, fwd_pkts=4, fwd_bytes=900, fwd_tcp_flags=2 | 16 | 1, fwd_ttl_mean=60.0, duration_us=50)
    there["duration_us"], back["src_mac"] = 900_000, "00:00:00:00:00:02"
    (flow,) = paired(there, back)
    assert (flow["src_addr"], flow["dst_port"], flow["is_biflow"]) == ("10.0.0.1", 502, True)
    assert (flow["fwd_pkts"], flow["rev_pkts"], flow["fwd_bytes"], flow["rev_bytes"]) == (5, 4, 500, 900)
    assert (flow["fwd_ttl_mean"], flow["rev_ttl_mean"], flow["rev_tcp_flags"]) == (64.0, 60.0, 19)
    assert (flow["src_mac"], flow["dst_mac"]) == ("00:00:00:00:00:01", "00:00:00:00:00:02")
    assert flow["start_ts_us"] == START_US + 100_000 and flow["end_ts_us"] == START_US + 1_200_000
    assert flow["duration_us"] == 1_100_000 and flow["conn_state"] == "SF"
    assert flow["quality"] == "no_flags"
    assert (flow["raw_offset"], flow["raw_also"]) == (0, [1, 0])


def test_a_row_of_two_records_says_how_both_were_numbered() -> None:
    mine = {
        "export_protocol": "netflow9",
        "exporter_addr": "192.0.2.1",
        "export_domain": 1,
        "export_sequence": 7,
    }
    (flow,) = paired(half(1.0, BACK, **mine), half(1.2, THERE, **{**mine, "export_domain": 2}))
    assert (flow["export_domain"], flow["export_sequence"]) == (1, 7), "of the record that names the row"
    assert flow["export_also"] == "netflow9 192.0.2.1 2 7"
    (flow,) = paired(half(1.0, BACK, **mine), half(1.2, THERE))
    assert (flow["export_sequence"], flow["export_also"]) == (7, None)
    (flow,) = paired(half(1.0, BACK), half(1.2, THERE, export_sequence=9))
    assert (flow["export_sequence"], flow["export_also"]) == (None, "- - - 9")


@pytest.mark.parametrize(
    ("first", "second", "originator"),
    [
        ({"duration_us": 100}, {"duration_us": 700_000}, 1),  # who started first, though it ended later
        ({"duration_us": 0, "fwd_tcp_flags": 18}, {"duration_us": 0, "fwd_tcp_flags": 2}, 1),  # who sent SYN alone
        ({"duration_us": 0, "fwd_tcp_flags": None}, {"duration_us": 0, "fwd_tcp_flags": None}, 0),  # the higher port
    ],
)
def test_the_originator_is_who_started(first: dict[str, Any], second: dict[str, Any], originator: int) -> None:
    rows = [half(1.0, THERE, **first), half(1.0, BACK, **second)]
    (flow,) = paired(*rows)
    assert flow["src_addr"] == rows[originator]["src_addr"]


def test_a_half_without_the_other_is_released_alone_after_the_window() -> None:
    state, rows = advance(SensorState.empty(), batch([half(1.0, THERE), {"at": 1.5}]), False, 0, window_us=WINDOW_US)
    assert len(rows) == 0 and len(state.waiting) == 2, "what ends later waits behind it"
    state, rows = advance(state, batch([{"at": 3.0}, {"at": 3.001}], 2), False, 0, window_us=WINDOW_US)
    assert rows.column("raw_offset").to_pylist() == [0, 1, 2]
    alone = rows.to_pylist()[0]
    assert alone["quality"] == "no_flags,no_rev,one_way" and not alone["is_biflow"] and alone["raw_also"] is None


def test_beyond_the_window_or_another_conversation_is_no_other_half() -> None:
    assert len(paired(half(1.0, THERE), half(3.001, BACK))) == 2
    assert len(paired(half(1.0, THERE), half(3.0, BACK))) == 1
    assert len(paired(half(1.0, THERE), half(1.0, THERE))) == 2
    assert len(paired(half(1.0, THERE), half(1.0, {**BACK, "src_port": 503}))) == 2
    assert len(paired(half(1.0, THERE), half(1.0, BACK, ip_proto=17))) == 2
    assert len(paired(half(1.0, THERE), half(1.0, BACK), window_us=0)) == 2


def test_a_late_half_stays_alone() -> None:
    rows = featurize_file_rows(batch([half(1.0, THERE), {"at": 1.1}, half(0.5, BACK)]), 0, 1, WINDOW_US).to_pylist()
    assert [row["late_by_us"] for row in rows].count(0) == 2 and all(row["raw_also"] is None for row in rows)


def test_whole_flows_wait_for_nobody() -> None:
    _, rows = advance(SensorState.empty(), batch([{"at": 1.0}, {"at": 1.1}]), False, 0, window_us=WINDOW_US)
    assert len(rows) == 1
