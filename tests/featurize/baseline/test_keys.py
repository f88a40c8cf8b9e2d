"""Which relations a flow has: who with whom, by which service, by which hardware; and what counts as one."""

from typing import Any

import numpy as np
import pytest

from pipeline.contracts.services import EPHEMERAL
from pipeline.featurize.baseline.keys import (
    OUTSIDE,
    USE,
    FlowRelations,
    flow_relations,
    kind_and_service,
    kind_of,
    what,
)
from pipeline.featurize.rows import rows_of
from tests.featurize.baseline.plant import poll
from tests.featurize.flows import NOBODY, batch


def _of(*rows: dict[str, Any]) -> FlowRelations:
    flows = batch(rows)
    return flow_relations(flows, rows_of(flows))


def _same(relations: FlowRelations, name: str) -> bool:
    first, second = getattr(relations, name).tolist()
    return bool(first == second)


HTTPS = {"src_port": 50_000, "dst_port": 443}


def test_public_addresses_count_as_one_and_others_do_not() -> None:
    outside = _of(poll(0, target="203.0.113.1"), poll(0, target="2001:db8::1"))
    assert _same(outside, "use") and outside.dst.tolist() == [OUTSIDE, OUTSIDE]
    assert not outside.dst_address.any() and not outside.dst_hardware.any() and not outside.dst_unstable.any()
    assert not _same(_of(poll(0, target="10.0.0.20"), poll(0, target="10.0.0.21")), "use")


def test_ephemeral_ports_count_as_one_and_industrial_ones_do_not() -> None:
    high = ({"dst_port": 50_001, "src_port": 40_000}, {"dst_port": 60_000, "src_port": 40_000})
    assert _same(_of(*(poll(0) | ports for ports in high)), "use")
    industrial = ({"dst_port": 44_818, "src_port": 40_000}, {"dst_port": 47_808, "src_port": 40_000})
    assert not _same(_of(*(poll(0) | ports for ports in industrial)), "use")


def test_an_answer_is_the_same_use_as_its_question() -> None:
    question = poll(0, "10.0.0.1", "10.0.0.20") | {"src_port": 50_000, "dst_port": 502}
    answer = poll(0, "10.0.0.20", "10.0.0.1") | {"src_port": 502, "dst_port": 50_000, "conn_state": "OTH"}
    relations = _of(question, answer)
    assert _same(relations, "use") and _same(relations, "served") and _same(relations, "source")
    assert not _same(relations, "src") and not _same(relations, "src_address")
    assert kind_and_service(int(what(USE, relations.service[1]))) == (USE, 6, 502)


@pytest.mark.parametrize(
    ("shows", "asked"),
    [
        ({"fwd_tcp_flags": 2}, True),
        ({"fwd_tcp_flags": 18}, False),
        ({"history": "ShADadFf"}, True),
        ({"history": "DadA"}, False),
        ({"conn_state": "S0", "history": None}, True),
        ({"ics_proto": "modbus"}, True),
        ({"fwd_tcp_flags": 2, "source_type": "icsflow"}, False),
        ({"fwd_tcp_flags": 2, "ip_proto": 17}, False),
        ({}, False),
    ],
)
def test_who_is_shown_to_have_asked_from_a_low_port_uses_the_service(shows: dict[str, Any], asked: bool) -> None:
    flow = poll(0, "10.0.0.1", "10.0.0.20") | {"src_port": 22_023, "dst_port": 50_001, "fwd_bytes": 1, "rev_bytes": 256}
    plain = {"source_type": "zeek", "conn_state": "OTH", "history": None, "ics_proto": None, "fwd_tcp_flags": None}
    relations = _of(flow | plain | shows)
    source, target = (relations.src, relations.dst) if asked else (relations.dst, relations.src)
    assert (relations.source.tolist(), relations.target.tolist()) == (source.tolist(), target.tolist())
    port = EPHEMERAL if asked else 22_023
    assert kind_and_service(int(what(USE, relations.service[0])))[2] == port
    assert relations.sent_bits.tolist() == [1 if asked else 9]


def test_a_scan_from_many_low_ports_is_one_use() -> None:
    """An IoT bot that sends SYNs from ports below 32768 to high ones had a relation for each of them."""
    scan = [
        poll(0, "10.0.0.1", "203.0.113.9") | {"src_port": 1024 + n, "dst_port": 60_000 - n, "fwd_tcp_flags": 2}
        for n in range(100)
    ]
    assert len(set(_of(*scan).use.tolist())) == 1


def test_what_has_no_service_is_talk() -> None:
    arp = {"ether_type": 0x0806, "ip_proto": None, "src_port": None, "dst_port": None}
    rows = [poll(0), poll(0) | arp, poll(0, target="224.0.0.22") | {"ip_proto": 17}, poll(0) | {"ip_proto": 1}]
    relations = _of(*rows)
    assert (relations.use != 0).tolist() == [True, False, False, False]
    assert (relations.talk != 0).tolist() == [False, True, True, True]
    assert len(set(relations.talk.tolist())) == 4
    assert relations.has_transport.tolist() == [True, False, True, False]
    assert relations.is_office.tolist() == [False, False, False, False], "502 is Modbus"
    assert _of(poll(0) | HTTPS).is_office.tolist() == [True]


def test_who_writes_and_who_controls() -> None:
    relations = _of(poll(0), poll(0) | {"ics_write_cnt": 2}, poll(0) | {"ics_control_cnt": 1})
    assert (relations.write != 0).tolist() == (relations.written != 0).tolist() == [False, True, False]
    assert (relations.control != 0).tolist() == (relations.controlled != 0).tolist() == [False, False, True]


def test_functions_are_of_who_asks_whom_by_which_protocol() -> None:
    asked = {"ics_proto": "modbus", "ics_functions": [3, 10, 16, 1]}
    relations = _of(poll(0), poll(0) | asked, poll(0) | {**asked, "ics_proto": "s7comm"}, poll(0, "10.0.0.2") | asked)
    counts = (relations.function_end - relations.function_start).tolist()
    assert counts == [0, 2, 2, 2] and len(set(relations.function.tolist())) == 6


def test_hardware_is_that_of_addresses_inside() -> None:
    macs = {"src_mac": "00:07:7c:00:00:01", "dst_mac": "00:07:7c:00:00:02"}
    relations = _of(poll(0) | macs, poll(0) | {**macs, "src_mac": None}, poll(0, target="203.0.113.5") | macs)
    assert (relations.src_hardware != 0).tolist() == [True, False, True]
    assert (relations.dst_hardware != 0).tolist() == [True, True, False]
    # A device that speaks under its hardware address has no other.
    link = {"src_addr": macs["src_mac"], "dst_addr": "ff:ff:ff:ff:ff:ff", "ip_proto": None, "ether_type": 0x88CC}
    named = _of(poll(0) | macs | link | {"src_port": None, "dst_port": None, "dst_mac": None})
    assert not named.src_hardware.any() and named.src_device.tolist() == named.src_address.tolist()
    several = _of(poll(0) | {**macs, "src_mac_count": 2}, poll(0) | {**macs, "src_mac_count": None})
    assert several.src_several.tolist() == [several.src_unstable[0], 0] and not several.dst_several.any()


def test_bytes_that_the_source_sent_have_so_many_digits() -> None:
    sizes = [(0, 7), (1, 7), (255, 7), (256, 7), (2**60, 7)]
    sent = _of(*(poll(0) | {"src_port": 50_000, "fwd_bytes": fwd, "rev_bytes": rev} for fwd, rev in sizes))
    assert sent.sent_bits.tolist() == [0, 1, 8, 9, 61]
    ports = {"src_port": 502, "dst_port": 50_000, "conn_state": "OTH"}
    answer = _of(poll(0) | ports | {"fwd_bytes": 1, "rev_bytes": 256})
    assert answer.sent_bits.tolist() == [9]


@pytest.mark.parametrize("port", [-1, 0, 502, EPHEMERAL, 65_535])
def test_a_service_is_a_number_and_back(port: int) -> None:
    number = what(7, np.uint64((17 << 17) + port + 1))
    assert kind_and_service(int(number)) == (7, 17, port)
    assert kind_of(np.array([number], np.uint64)).tolist() == [7]


def test_no_flows_have_no_relations() -> None:
    nothing = _of()
    assert all(values.shape[-1] == 0 for name, values in nothing._asdict().items() if name != "function")


def test_nothing_known_is_a_relation_all_the_same() -> None:
    """No ports, no hardware, no bytes, the address of nobody."""
    nobody = {"src_addr": NOBODY, "src_port": None, "dst_port": None, "ip_proto": None, "ether_type": None}
    relations = _of(poll(0) | nobody | {"src_mac": None, "dst_mac": None, "fwd_bytes": 0, "rev_bytes": 0})
    assert relations.talk[0] != 0 and relations.use[0] == 0
    assert relations.src_address[0] == relations.src_hardware[0] == 0
