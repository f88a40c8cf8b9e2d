"""What is said of an incident's flows is so: counts, targets, ports and requests are those of the flows."""

import re
from collections import Counter
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.alert.deeds import MAX_DEEDS, MAX_TARGETS
from pipeline.alert.facts import facts_of
from pipeline.alert.incident import Incident, as_document, of_document
from pipeline.alert.incidents import incidents_of
from pipeline.alert.phrases import read_phrases
from pipeline.contracts.class_names import is_name
from pipeline.errors import Misconfigured
from schemas.validation import violation
from tests.alert.suspects import members, scored
from tests.alert.test_incident import fresh
from tests.examples import examples

A, B = "10.0.0.7", "10.0.0.20"
BOTH = {"fwd_pkts": 3, "rev_pkts": 2}
ONE = {"fwd_pkts": 3, "rev_pkts": 0}


def told(*rows: dict[str, Any]) -> str:
    """The facts, without time and place."""
    incident = fresh()
    incident.absorb(members([{"src_addr": A, "dst_addr": B, **row} for row in rows]))
    return re.sub(r"(, within [^,]*)?, since .*", "", facts_of(incident).says)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([{**BOTH, "dst_port": 102}] * 237, f"{A} opened 237 S7 connections (tcp/102) to {B}"),
        (
            [{**ONE, "dst_port": 9999, "conn_state": "S0"}],
            f"{A} opened 1 connection (tcp/9999) to {B}, and got no answer",
        ),
        (
            [{**BOTH, "dst_port": 22, "conn_state": "REJ"}] * 2 + [{**BOTH, "dst_port": 22}],
            f"{A} opened 3 SSH connections (tcp/22) to {B}, 2 of them refused",
        ),
        ([{**BOTH, "conn_state": "OTH"}] * 2, f"{A} had 2 Modbus flows (tcp/502) with {B}"),
        (
            [{"ip_proto": 17, "dst_port": 53, "src_port": 40_000 + n, "dst_addr": "8.8.8.8", **ONE} for n in range(18)],
            f"{A} sent DNS queries (udp/53) to 8.8.8.8 in 18 flows, and got no answer",
        ),
        (
            [{"ip_proto": 17, "dst_port": 5355, "dst_addr": "ff02::1:3", **ONE}] * 13,
            f"{A} sent name queries (LLMNR, udp/5355) to a group (ff02::1:3) in 13 flows",
        ),
        (
            [{"ip_proto": None, "ether_type": 0x0806, "dst_port": None, "dst_addr": "ff:ff:ff:ff:ff:ff"}],
            f"{A} sent ARP to everybody (ff:ff:ff:ff:ff:ff) in 1 flow",
        ),
        (
            [{"ics_proto": "modbus", "ics_functions": [43, 1], "ics_read_cnt": 1, "ics_exception_cnt": 1}] * 2,
            f"{A} asked for the device's identification (function 43) twice at {B} over Modbus (tcp/502) in 2 flows; "
            "the answer was an exception twice",
        ),
        (
            [{"ics_proto": "modbus", "ics_functions": [3, 200, 16, 14], "ics_read_cnt": 200, "ics_write_cnt": 14}],
            f"{A} wrote registers (function 16) 14 times and read registers (function 3) 200 times at {B} over Modbus "
            "(tcp/502) in 1 flow",
        ),
        (
            [{"ics_proto": "s7comm", "ics_control_cnt": 2, "dst_port": 102}],
            f"{A} sent commands that change program, mode or configuration twice at {B} over S7 (tcp/102) in 1 flow",
        ),
        # Four ports: what a scan does; the source among the targets is no target.
        (
            [{**ONE, "dst_port": port, "conn_state": "S0"} for port in range(4)] + [{"dst_addr": A, "dst_port": 9}],
            f"{A} tried 5 tcp ports of {B} in 5 flows, 4 of them without an answer",
        ),
        (
            [{"dst_addr": f"10.0.1.{n}", "dst_port": 23} for n in range(9)],
            f"{A} opened 9 Telnet connections (tcp/23) to 9 addresses",
        ),
        ([{"dst_addr": "a"}, {"dst_addr": "b"}], f"{A} opened 2 Modbus connections (tcp/502) to a and b"),
        # An answer of a service: who uses it asked. A SYN says the opposite.
        (
            [{"src_port": 502, "dst_port": 50_001, "conn_state": "OTH", "src_addr": B, "dst_addr": A}],
            f"{A} had 1 Modbus flow (tcp/502) with {B}",
        ),
        (
            [{"src_port": 22_023, "dst_port": 50_001, "conn_state": "S0", **ONE}],
            f"{A} opened 1 connection (tcp/50001, an ephemeral port) to {B}, and got no answer",
        ),
        (
            [{"src_port": 22_023, "dst_port": 50_001, "conn_state": "OTH", "is_biflow": False, "fwd_tcp_flags": 2}],
            f"{A} had 1 flow (tcp/50001, an ephemeral port) with {B}",
        ),
        # A sensor that orders ends by address, and counts SYNs, or does not.
        (
            [{"source_type": "icsflow", "dst_port": None, "fwd_syn_pkts": 0, "rev_syn_pkts": 900, **BOTH}] * 2,
            f"{B} had 2 TCP flows with {A}, with 1,800 connection attempts; tcp ports are not known",
        ),
        (
            [{"source_type": "icsflow", "dst_port": None, "src_addr": a, "dst_addr": "x"} for a in "abc"],
            "x had traffic with 3 addresses by TCP in 3 flows; tcp ports are not known",
        ),
        (
            [{"dst_port": None}, {"dst_port": None}, {"dst_port": 80}],
            f"{A} opened 2 TCP connections to {B}; opened 1 HTTP connection (tcp/80) to {B}; "
            "some tcp ports are not known",
        ),
        (
            [{"dst_port": None}] * 3 + [{"ip_proto": 17, "dst_port": None, **BOTH}] * 2 + [{"dst_port": 80}],
            f"{A} opened 3 TCP connections to {B}; sent UDP to {B} in 2 flows; 1 further flow of {A}; "
            "some tcp and udp ports are not known",
        ),
        # Many against one.
        (
            [{"src_addr": f"10.1.0.{n}", "dst_port": 80, **ONE} for n in range(40)],
            f"40 addresses opened 40 HTTP connections (tcp/80) to {B}, and got no answer",
        ),
        # Whoever writes comes first, however many others there are.
        (
            [{"dst_port": 80}] * 9
            + [{"src_addr": "w", "ics_proto": "modbus", "ics_functions": [6, 1], "ics_write_cnt": 1}],
            f"w wrote a register (function 6) once at {B} over Modbus (tcp/502) in 1 flow; "
            f"9 further flows of {A}",
        ),
        # Where the sensor does not count the way back, nobody can say that there was no answer.
        (
            [{**ONE, "quality": "no_rev,one_way", "is_biflow": False}],
            f"{A} opened 1 Modbus connection (tcp/502) to {B}",
        ),
    ],
)  # fmt: skip
def test_facts_are_said_in_the_fields_words(rows: list[dict[str, Any]], says: str) -> None:
    assert told(*rows) == says


PROTOS = st.sampled_from([None, "modbus", "s7comm", "\x1b[31mevil"])
ROW = st.fixed_dictionaries(
    {
        "src_addr": st.sampled_from(["a", "b", "c", "d", "e"]),
        "dst_addr": st.sampled_from(["a", "b", "x", "y", "ff:ff:ff:ff:ff:ff", "\x1b[2J\u202e"]),
        "src_port": st.sampled_from([None, 50_001, 102]),
        "dst_port": st.sampled_from([None, 102, 22, 23, 80, 8080, 50_001]),
        "ip_proto": st.sampled_from([None, 6, 6, 6, 17, 1]),
        "conn_state": st.sampled_from(["S0", "SF", "REJ", "OTH"]),
        "source_type": st.sampled_from(["zeek", "zeek", "icsflow"]),
        "fwd_pkts": st.integers(0, 2),
        "rev_pkts": st.integers(0, 2),
        "fwd_syn_pkts": st.sampled_from([None, 0, 1, 5]),
        "rev_syn_pkts": st.sampled_from([None, 0, 1, 5]),
        "ics_proto": PROTOS,
        "ics_functions": st.sampled_from([None, [3, 5], [3, 5, 16, 2], [4242, 1]]),
        "ics_write_cnt": st.sampled_from([None, 0, 2]),
        "ics_control_cnt": st.sampled_from([None, None, 1]),
        "class": st.sampled_from(["portscan", "unknown", "mitm"]),
    }
)
ROWS = st.lists(ROW, min_size=1, max_size=12)


def absorbed(rows: list[dict[str, Any]]) -> Incident:
    incident = fresh()
    incident.absorb(members(rows))
    return incident


@settings(max_examples=examples(75))
@given(rows=ROWS)
def test_the_deeds_add_up_to_the_flows(rows: list[dict[str, Any]]) -> None:
    incident = absorbed(rows)
    deeds = list(incident.deeds.of.values())
    assert sum(deed.flows for deed in deeds) == incident.count == len(rows)
    assert all(sum(deed.targets.values()) == deed.flows for deed in deeds)
    for name, column in (("writes", "ics_write_cnt"), ("controls", "ics_control_cnt")):
        assert sum(getattr(deed, name) for deed in deeds) == sum(row[column] or 0 for row in rows)
    asked: Counter[int] = Counter()
    for row in rows:
        listed = row["ics_functions"] or []
        asked.update(dict(zip(listed[::2], listed[1::2], strict=True)))
    of_deeds: Counter[int] = Counter()
    for deed in deeds:
        of_deeds.update(deed.functions)
    assert of_deeds == asked
    ends = Counter(frozenset((row["src_addr"], row["dst_addr"])) for row in rows)
    assert ends == sum(
        (Counter({frozenset((deed.source, to)): n for to, n in deed.targets.items()}) for deed in deeds), Counter()
    )


FLOWS_SAID = re.compile(r"(?:opened|had) ([\d,]+)(?: or more)? |in ([\d,]+)(?: or more)? flows?|([\d,]+) further flow")


@settings(max_examples=examples(75))
@given(rows=ROWS)
def test_the_sentence_accounts_for_every_flow(rows: list[dict[str, Any]]) -> None:
    says = facts_of(absorbed(rows)).says.rsplit(", since ", 1)[0]
    said = [int(next(filter(None, match)).replace(",", "")) for match in FLOWS_SAID.findall(says)]
    assert sum(said) == len(rows), says
    assert " or more" not in says


@settings(max_examples=examples(75))
@given(rows=ROWS)
def test_targets_never_count_the_actor(rows: list[dict[str, Any]]) -> None:
    incident = absorbed(rows)
    says = facts_of(incident).title
    subject = says.split(" ", 1)[0]
    for number in re.findall(r"(?:to|with|of|at) ([\d,]+) addresses", says):
        partners = {row["dst_addr"] for row in rows} | {row["src_addr"] for row in rows}
        assert int(number) <= len(partners - {subject})
    assert f"to {subject}" not in says.split(";")[0].split(" in ")[0].split(", ")[0].split(" and ")


@settings(max_examples=examples(75))
@given(rows=ROWS)
def test_a_scan_is_of_several_ports_or_hosts(rows: list[dict[str, Any]]) -> None:
    for event in incidents_of([scored([{**row, "at": at / 10} for at, row in enumerate(rows)])]):
        assert violation(event, "alert") is None
        text = f"{event['finding_info']['title']} {event['message']}"
        assert "\x1b" not in text and "\u202e" not in text
        if "scan" in text.lower():
            hosts = {row["dst_addr"] for row in rows} | {row["src_addr"] for row in rows}
            attempts = sum(max(row["fwd_syn_pkts"] or 0, row["rev_syn_pkts"] or 0) for row in rows)
            ports = {port for row in rows for port in (row["src_port"], row["dst_port"])}
            assert len(hosts) > 2 or len(ports) > 1 or attempts >= 4
        named = is_name(event["unmapped"]["class"])
        assert named or "looks like" not in text


@settings(max_examples=examples(50))
@given(rows=ROWS, cuts=st.sets(st.integers(1, 11)))
def test_batches_and_a_restart_in_between_change_nothing(rows: list[dict[str, Any]], cuts: set[int]) -> None:
    whole, divided = absorbed(rows), fresh()
    edges = [0, *sorted(cut for cut in cuts if cut < len(rows)), len(rows)]
    for first, last in pairwise(edges):
        divided.absorb(members(rows[first:last]))
        divided = of_document(orjson.loads(orjson.dumps(as_document(divided))))
    assert divided.deeds == whole.deeds
    assert facts_of(divided) == facts_of(whole)


def test_what_is_retained_of_a_flood_is_bounded_and_said_so() -> None:
    incident = fresh()
    for part in range(3):
        rows = [{"dst_addr": f"10.{part}.{n // 250}.{n % 250}", "dst_port": 23, **ONE} for n in range(1_000)]
        incident.absorb(members(rows))
    assert sum(len(deed.targets) for deed in incident.deeds.of.values()) == MAX_TARGETS
    says = facts_of(incident).says
    assert "opened 3,000 Telnet connections (tcp/23) to 2,048 or more addresses, and got no answer" in says
    scan = fresh()
    scan.absorb(members([{"dst_port": port, **ONE} for port in range(1_000)]))
    assert len(scan.deeds.of) == MAX_DEEDS
    assert "tried 256 or more tcp ports of 198.18.134.15 in 256 or more flows" in facts_of(scan).says
    flood = fresh()
    flood.absorb(members([{"src_addr": f"10.0.{n >> 8}.{n & 255}", **ONE} for n in range(1_000)]))
    says = facts_of(flood).says
    assert says.startswith("256 or more addresses opened 256 or more Modbus connections (tcp/502) to 198.18.134.15")
    assert "744 further flows of others" in says
    assert len(orjson.dumps(as_document(flood))) < 400_000


def test_an_incident_of_a_state_before_says_at_least() -> None:
    incident = absorbed([{"dst_port": 102}] * 3)
    document = orjson.loads(orjson.dumps(as_document(incident)))
    del document["deeds"]
    older = of_document(document)
    assert facts_of(older).says.startswith("198.18.134.11: 3 further flows of 198.18.134.11")
    older.absorb(members([{"dst_port": 102}] * 2))
    assert facts_of(older).says.startswith("198.18.134.11 opened 2 or more S7 connections (tcp/102) to 198.18.134.15")


@pytest.mark.parametrize(
    ("text", "says"),
    [("nonsense", "no TOML"), ("[clauses]\nopened = 'x'", "too few"), ("[clauses]\nx = 'x'", "too many")],
)
def test_wrong_phrases_are_named(text: str, says: str) -> None:
    with pytest.raises(Misconfigured, match=says):
        read_phrases(text)
