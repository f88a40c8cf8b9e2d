"""What a sensor's baseline says is new, in an incident: what opens it, what is retained, what is said."""

from itertools import pairwise
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.alert.evidence_words import read_evidence_words, sentences, shipped_evidence_words
from pipeline.alert.explain import Baseline, read_baseline
from pipeline.alert.grouping import Grouping, load_grouping, opens_alone
from pipeline.alert.incident import as_document, of_document
from pipeline.alert.incidents import closed_incidents, incidents_of
from pipeline.alert.members import members_of
from pipeline.alert.shown_evidence import SAID, name_of
from pipeline.contracts.baseline import SHOWN, Evidence, Phase, shown_evidence
from pipeline.contracts.services import INDUSTRIAL_PORTS
from pipeline.errors import Misconfigured
from pipeline.runtime.wire.batches import filled
from schemas.validation import violation
from tests.alert.suspects import manifest, members, scored
from tests.alert.test_incident import fresh
from tests.examples import examples

A, B, OUTSIDE = "10.0.0.7", "10.0.0.20", "93.184.216.34"
MAC_A, MAC_B = "b8:27:eb:6d:4f:4b", "00:07:7c:88:6e:83"
Phases = st.sampled_from([None, *Phase])


def shown(evidence: Evidence, **row: Any) -> dict[str, Any]:
    """A suspect that its sensor's baseline shows, of a service that opens nothing alone."""
    plain = {"class": "unknown", "nearest_class": "portscan", "src_addr": A, "dst_addr": B, "src_port": 50_001}
    plain |= {"dst_port": 8080, "phase": int(Phase.ANCHORED), "strangeness": 2.311, "strange_from": 1.75}
    return plain | {"strange_p": 0.01, "others": 0, "baseline": 3, "evidence": int(evidence)} | row


def says(evidence: Evidence, kind: Evidence | None = None, **row: Any) -> str:
    """The sentence of one kind of evidence about a flow."""
    incident = fresh()
    incident.absorb(members([shown(evidence, **row)]))
    chosen = name_of(kind or evidence)
    [sentence] = [each.says for each in sentences(incident.shown, shipped_evidence_words()) if each.kind.name == chosen]
    return sentence


USE, COMMON, AGAIN = Evidence.NEW_SERVICE_USE, Evidence.NEW_COMMON_USE, Evidence.NEW_AGAIN


# ---- what opens an incident


@pytest.mark.parametrize(
    ("evidence", "row", "opens"),
    [
        (Evidence.SEVERAL_HARDWARE, {}, True),
        (Evidence.NEW_HARDWARE, {}, True),
        (Evidence.NEW_WRITER, {}, True),
        (Evidence.NEW_CONTROLLER, {}, True),
        (Evidence.NEW_FUNCTION, {}, True),
        (Evidence.NEW_DEVICE, {}, True),
        (Evidence.MORE_BYTES, {}, True),
        (Evidence.STRANGE, {}, False),
        (USE, {}, False),
        (USE | Evidence.STRANGE, {}, True),
        (USE | AGAIN, {}, True),
        (USE, {"dst_port": 502}, True),
        (USE, {"dst_port": 22}, True),
        (USE, {"dst_port": None}, True),
        # An answer: the service is the source's; unless the source opened the connection.
        (USE, {"src_port": 22, "dst_port": 50_001, "conn_state": "OTH"}, True),
        (USE, {"src_port": 22, "dst_port": 50_001, "conn_state": "SF"}, False),
        (USE, {"src_port": 50_001, "dst_port": 50_002}, False),
        (USE, {"src_port": 22, "dst_port": 8080}, False),
        (Evidence.NEW_WRITER, {"phase": int(Phase.LEARNING)}, False),
        (Evidence.NEW_WRITER, {"phase": None}, False),
        (Evidence.NEW_WRITER, {"phase": int(Phase.CHANGED)}, True),
        (Evidence.NEW_DEVICE, {"phase": int(Phase.CHANGED)}, False),
        (USE | Evidence.STRANGE | Evidence.MUCH_IS_NEW, {"dst_port": 502}, False),
        (COMMON | Evidence.STRANGE, {"dst_port": 22}, False),
    ],
)
def test_strong_evidence_opens_an_incident_alone(evidence: Evidence, row: dict[str, Any], opens: bool) -> None:
    rows = scored([shown(evidence, **row)])
    assert opens_alone(rows, load_grouping()).tolist() == [opens]
    assert len(closed_incidents([rows])) == opens


def test_every_other_suspect_counts_half() -> None:
    weak = [shown(Evidence.STRANGE), shown(USE, at=1)]
    assert closed_incidents([scored(weak[:1])]) == []
    assert len(closed_incidents([scored(weak)])) == 1


def test_without_a_baseline_nothing_opens_alone() -> None:
    assert not opens_alone(scored([{}, {"at": 1}]), load_grouping()).any()


def test_the_ports_that_open_alone_have_those_of_industrial_protocols() -> None:
    assert set(INDUSTRIAL_PORTS) <= set(load_grouping().opening_ports)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"opening_evidence": ("new_writer", "new_king")}, "new_king"),
        ({"opening_evidence": ("new_writer + ",)}, "''"),
        ({"opening_ports": (22, 70_000)}, "70000"),
    ],
)
def test_a_wrong_rule_is_named(values: dict[str, Any], named: str) -> None:
    with pytest.raises(Misconfigured, match=named):
        Grouping(**values)


# ---- what is retained


FLOWS = st.lists(
    st.tuples(Phases, st.integers(0, 2 ** len(Evidence) - 1), st.sampled_from([None, 1.8, 2.5, float("inf")])),
    min_size=1,
    max_size=30,
)


def rows_of(flows: list[tuple[Any, int, float | None]]) -> list[dict[str, Any]]:
    return [
        shown(Evidence(bits), phase=phase, strangeness=strangeness, at=at, dst_port=at, raw_offset=at)
        for at, (phase, bits, strangeness) in enumerate(flows)
    ]


@settings(max_examples=examples(60), deadline=None)
@given(flows=FLOWS, cuts=st.sets(st.integers(1, 29)))
def test_batches_and_a_restart_in_between_change_nothing(flows: list[Any], cuts: set[int]) -> None:
    rows, whole, divided = rows_of(flows), fresh(), fresh()
    whole.absorb(members(rows))
    edges = [0, *sorted(cut for cut in cuts if cut < len(rows)), len(rows)]
    for first, last in pairwise(edges):
        divided.absorb(members(rows[first:last]))
        divided = of_document(orjson.loads(orjson.dumps(as_document(divided))))
    assert divided.shown == whole.shown
    assert len(whole.shown.examples) == len(whole.shown.counts) <= len(SAID)


@settings(max_examples=examples(60), deadline=None)
@given(flows=FLOWS)
def test_flows_are_counted_by_what_is_shown_of_them(flows: list[Any]) -> None:
    """And the strangest of them is the example; without a usual kind a flow is infinitely far."""
    incident, rows = fresh(), scored(rows_of(flows))
    incident.absorb(members_of(rows))
    bits = shown_evidence(filled(rows, "phase", 0), filled(rows, "evidence", 0))
    assert incident.shown.flows == np.count_nonzero(bits)
    strange = [
        strangeness or float("inf")
        for (_phase, _bits, strangeness), each in zip(flows, bits.tolist(), strict=True)
        if each & Evidence.STRANGE
    ]
    assert incident.shown.counts.get("strange", 0) == len(strange)
    if strange:
        strangest = incident.shown.examples["strange"].strangeness
        assert (float("inf") if strangest is None else strangest) == pytest.approx(max(strange))


# ---- what is said


@pytest.mark.parametrize(
    ("evidence", "row", "sentence"),
    [
        (USE, {}, f"{A} is not known to use HTTP (tcp/8080) of {B}; no other source is"),
        (USE, {"others": 1}, f"{A} is not known to use HTTP (tcp/8080) of {B}; 1 other source is"),
        (USE, {"others": 3, "ip_proto": 17}, f"{A} is not known to use udp/8080 of {B}; 3 other sources are"),
        (
            COMMON | Evidence.STRANGE,
            {"others": 9},
            f"{A} is not known to use HTTP (tcp/8080) of {B}; 9 other sources are",
        ),
        (USE, {"others": None}, f"{A} is not known to use HTTP (tcp/8080) of {B}"),
        # An answer of a service: who uses it is the target.
        (
            USE,
            {"src_port": 502, "dst_port": 50_001, "conn_state": "OTH"},
            f"{B} is not known to use Modbus (tcp/502) of {A}; no other source is",
        ),
        (
            USE,
            {"src_port": 50_001, "dst_port": 50_002},
            f"{A} is not known to use tcp/50002 (or any other ephemeral port) of {B}; no other source is",
        ),
        (USE, {"dst_port": None}, f"{A} is not known to use tcp (port not known) of {B}; no other source is"),
        (
            USE,
            {"dst_addr": OUTSIDE, "dst_port": 443},
            f"{A} is not known to use HTTPS (tcp/443) of {OUTSIDE} (or any other public address); no other source is",
        ),
        (
            USE,
            {"src_addr": OUTSIDE, "dst_port": 22},
            f"{OUTSIDE} (or any other public address) is not known to use SSH (tcp/22) of {B}; no other source is",
        ),
        # This source orders a flow's ends by address: who began it is not known.
        (
            USE,
            {"source_type": "icsflow"},
            f"{A} and {B} are not known to talk by HTTP (tcp/8080) of {B}",
        ),
        (
            USE,
            {"source_type": "icsflow", "src_port": None, "dst_port": None},
            f"{A} and {B} are not known to talk by tcp (port not known)",
        ),
        # By its ports an answer, by its SYN a question: the SYN counts, as it does for the baseline.
        (
            USE,
            {"src_port": 22_023, "dst_port": 50_001, "fwd_tcp_flags": 2},
            f"{A} is not known to use tcp/50001 (or any other ephemeral port) of {B}; no other source is",
        ),
        (
            USE,
            {"src_port": 22_023, "dst_port": 50_001, "conn_state": "S0"},
            f"{A} is not known to use tcp/50001 (or any other ephemeral port) of {B}; no other source is",
        ),
        (
            USE,
            {"src_port": 102, "dst_port": 50_001, "conn_state": "OTH", "fwd_tcp_flags": 18},
            f"{B} is not known to use S7 (tcp/102) of {A}; no other source is",
        ),
        (
            Evidence.NEW_WRITER,
            {"ics_proto": "modbus", "others": 3},
            f"{A} sent write commands (Modbus) to {B} and is not known to; 3 other sources are",
        ),
        # Logs of industrial protocols say who asked: a port does not turn that round.
        (
            Evidence.NEW_WRITER,
            {"src_port": 502, "dst_port": 50_001, "conn_state": "OTH"},
            f"{A} sent write commands (an industrial protocol) to {B} and is not known to; no other source is",
        ),
        (
            Evidence.NEW_CONTROLLER,
            {"ics_proto": "s7comm"},
            f"{A} sent commands that change program, mode or configuration (S7) to {B} and is not known to; "
            "no other source is",
        ),
        (
            Evidence.NEW_FUNCTION,
            {"ics_proto": "modbus", "ics_functions": [43, 2]},
            f"{A} is not known to ask {B} for Modbus function 43 (asked for the device's identification)",
        ),
        (
            Evidence.NEW_FUNCTION,
            {"ics_proto": "modbus", "ics_functions": [3, 9, 16, 1, 43, 2]},
            f"{A} is not known to ask {B} for one of Modbus functions 3 (read registers), 16 (wrote registers) and 43 "
            "(asked for the device's identification)",
        ),
        (Evidence.NEW_FUNCTION, {}, f"{A} is not known to ask {B} for a function of an industrial protocol"),
        (
            Evidence.SEVERAL_HARDWARE | Evidence.AT_TARGET,
            {"src_mac": MAC_A, "src_mac_count": 1, "dst_mac": MAC_B, "dst_mac_count": 2},
            f"{B} was at 2 hardware addresses within one flow, {MAC_B} among them; usually it is at one",
        ),
        (
            Evidence.SEVERAL_HARDWARE | Evidence.AT_SOURCE,
            {"src_mac": MAC_A, "src_mac_count": 3, "dst_mac": MAC_B, "dst_mac_count": 2},
            f"{A} was at 3 hardware addresses within one flow, {MAC_A} among them; usually it is at one",
        ),
        (
            Evidence.NEW_HARDWARE | Evidence.AT_TARGET,
            {"src_mac": MAC_A, "dst_mac": MAC_B},
            f"{B} was at hardware address {MAC_B}, which is not known for it",
        ),
        (
            Evidence.NEW_DEVICE,
            {"src_mac": MAC_A},
            f"hardware address {MAC_A} of {A} is not known here under any address",
        ),
        (
            Evidence.NEW_DEVICE,
            {"src_addr": MAC_A, "src_mac": MAC_A},
            f"hardware address {MAC_A} is not known here under any address",
        ),
        (
            Evidence.MORE_BYTES,
            {"fwd_bytes": 34_000_000, "rev_bytes": 5},
            f"{A} sent 34,000,000 bytes to {B} by HTTP (tcp/8080) in one flow, "
            "far more than in any while the sensor learnt",
        ),
        (
            Evidence.MORE_BYTES,
            {"fwd_bytes": 5, "rev_bytes": 34_000_000, "src_port": 22, "dst_port": 50_001, "conn_state": "OTH"},
            f"{B} sent 34,000,000 bytes to {A} by SSH (tcp/22) in one flow, "
            "far more than in any while the sensor learnt",
        ),
        (
            Evidence.STRANGE,
            {},
            f"a flow from {A} to {B} over HTTP (tcp/8080) is unlike all that is usual here "
            "(distance 2.31, usual up to 1.75)",
        ),
        (
            Evidence.STRANGE,
            {"ip_proto": None, "ether_type": 0x0806, "strangeness": float("inf"), "dst_port": None},
            f"a flow from {A} to {B} over arp is unlike all that is usual here (nothing usual is known yet)",
        ),
        (Evidence.NEW_HOST | USE, {}, f"{A} is not known here"),
        (
            Evidence.NEW_TALK | Evidence.STRANGE,
            {"ip_proto": 1, "dst_port": None},
            f"{A} is not known to send icmp to {B}",
        ),
    ],
)
def test_a_sentence_holds_for_its_flow(evidence: Evidence, row: dict[str, Any], sentence: str) -> None:
    kind = next(bit for bit in (*_DESCRIBING, *SAID) if bit & evidence)
    assert says(evidence, kind, **row) == sentence


_DESCRIBING = (Evidence.NEW_HOST, Evidence.NEW_TALK, COMMON)


def test_others_are_counted_for_what_they_do() -> None:
    """The column counts writers where there is a new one, not those that use the port."""
    both = USE | Evidence.NEW_WRITER
    assert says(both, USE, others=2).endswith(f"of {B}")
    assert says(both, Evidence.NEW_WRITER, others=2).endswith("2 other sources are")


def of_model(document: dict[str, Any] | None = None) -> Baseline:
    return read_baseline(document or manifest())


def event_of(rows: list[dict[str, Any]], baseline: Baseline | None = None) -> dict[str, Any]:
    [event] = incidents_of([scored(rows)], baseline_of=lambda _model: baseline)
    assert violation(event, "alert") is None
    return event


def test_an_incident_without_a_name_is_told_by_its_strongest_evidence() -> None:
    rows = [shown(Evidence.STRANGE), shown(Evidence.NEW_WRITER, at=1, ics_proto="modbus", score=0.01)]
    event = event_of(rows)
    assert event["unmapped"]["name"] == "New writer"
    assert event["finding_info"]["title"] == f"New writer: {A} opened 2 HTTP connections (tcp/8080) to {B}"
    assert event["message"] == (
        f"{A} opened 2 HTTP connections (tcp/8080) to {B}, within 1.0 s, "
        f"since 2023-03-10 10:19:59 UTC (plant/left). New here: {A} sent write commands (Modbus) to {B} and is not "
        f"known to; no other source is. Also: a flow from {A} to {B} over HTTP (tcp/8080) is unlike all that is "
        "usual here (distance 2.31, usual up to 1.75). "
        "Candidate technique T0848 Rogue Master and T1692.001 Command Message"
    )
    assert (event["severity"], event["confidence_score"]) == ("High", 70)
    assert event["finding_info"]["analytic"] == {
        "type_id": 2,
        "type": "Behavioral",
        "name": "Sensor baseline",
        "uid": "plant/left",
        "version": "3",
    }
    reasons = event["unmapped"]["reasons"]
    assert [(reason["feature"], reason["share"]) for reason in reasons] == [("new_writer", 0.5), ("strange", 0.5)]
    assert event["unmapped"]["evidence"] == {"strange": 1, "new_writer": 1}
    anomalies = event["anomaly_analyses"][0]["anomalies"]
    assert [anomaly["observations"][0]["value"] for anomaly in anomalies] == [reason["says"] for reason in reasons]


def test_a_reason_is_an_example_where_several_flows_have_evidence_of_its_kind() -> None:
    new = [shown(Evidence.NEW_WRITER, at=at, ics_proto="modbus") for at in range(2)]
    writer, strange = event_of([*new, shown(Evidence.STRANGE, at=2)])["unmapped"]["reasons"]
    assert writer["says"].startswith(f"e.g. {A} sent write commands") and "e.g." not in strange["says"]


def test_a_name_stays_and_evidence_comes_before_deviations() -> None:
    rows = [shown(USE | Evidence.STRANGE, at=at) | {"class": "portscan"} for at in range(3)]
    event = event_of(rows, of_model())
    # One port of one host: that is no scan, whatever the model calls it.
    assert event["unmapped"]["name"] == "New use of a service"
    assert event_of([{**row, "dst_port": 80 + at} for at, row in enumerate(rows)])["unmapped"]["name"] == "Port scan"
    assert [reason["feature"] for reason in event["unmapped"]["reasons"]][:2] == ["new_service_use", "strange"]
    assert "duration_us" in [reason["feature"] for reason in event["unmapped"]["reasons"]]


def test_severity_is_at_least_that_of_the_evidence() -> None:
    named = [shown(Evidence.NEW_WRITER, at=at) | {"class": "login"} for at in range(2)]
    assert event_of(named)["severity"] == "High"
    assert event_of([{**row, "evidence": 0} for row in named])["severity"] == "Low"


def test_a_flood_is_a_step_more_severe() -> None:
    flood = [shown(Evidence.STRANGE, at=at / 100, raw_offset=at) for at in range(200)]
    assert event_of(flood[:199])["severity"] == "Low"
    assert event_of(flood)["severity"] == "Medium"


def test_what_is_usual_at_another_plant_is_not_said_of_this_one() -> None:
    rows = [{"at": at} for at in range(3)]
    elsewhere = manifest() | {"calibration": {"*": {}, "other": {}}}
    assert event_of(rows, of_model())["unmapped"]["reasons"]
    event = event_of(rows, of_model(elsewhere))
    assert event["unmapped"]["reasons"] == []
    assert "anomaly_analyses" not in event


def test_another_plants_score_gives_no_confidence_where_there_is_evidence() -> None:
    rows = [shown(Evidence.STRANGE, at=at, score=1.0) for at in range(3)]
    elsewhere = manifest() | {"calibration": {"*": {}}}
    assert event_of(rows, of_model(elsewhere))["confidence_score"] == 50
    assert event_of(rows, of_model())["confidence_score"] == 100


def test_at_most_five_reasons() -> None:
    every = Evidence(0)
    for bit in SAID:
        every |= bit
    event = event_of([shown(every, at=at) for at in range(2)], of_model())
    assert len(event["unmapped"]["reasons"]) == 5
    assert event["unmapped"]["reasons"][0]["feature"] == "several_hardware"


def test_hostile_names_neither_steer_nor_break_an_event() -> None:
    evil = "\x1b[31mx\n" * 40
    for bit in SAID:
        row = shown(bit | SHOWN, src_addr=evil, dst_addr=evil, src_mac=evil, dst_mac=evil, ics_proto=evil)
        event = event_of([row, {**row, "at": 1}])
        assert "\x1b" not in event["message"] and "\n" not in event["message"]


# ---- the catalogue


def test_every_kind_of_evidence_has_a_sentence() -> None:
    assert {kind.bit for kind in shipped_evidence_words().kinds} == set(SAID)


SHIPPED = 'says = "$evidence"\n'
KIND = '[[kind]]\nname = "strange"\ntitle = "t"\nsays = "s"\nseverity = "low"\nconfidence = 50\n'


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("nonsense", "TOML"),
        ("", "says"),
        ('says = "$nobody"', "nobody"),
        (SHIPPED + KIND, "expected each once"),
        (SHIPPED + KIND.replace("strange", "stranger"), "stranger"),
        (SHIPPED + KIND.replace('"low"', '"awful"'), "awful"),
        (SHIPPED + KIND.replace("50", "101"), "101"),
        (SHIPPED + KIND.replace('"s"', '"$who"'), "who"),
        (SHIPPED + KIND.replace('says = "s"\n', ""), "says"),
    ],
)
def test_a_wrong_catalogue_is_named(text: str, named: str) -> None:
    with pytest.raises(Misconfigured, match=named):
        read_evidence_words(text)
