from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.alert.endpoints import evidence, further_pairs
from pipeline.alert.ends import most
from pipeline.alert.features import SAMPLE_ROWS
from pipeline.alert.incident import Incident, as_document, of_document
from pipeline.alert.message import message
from pipeline.alert.ocsf import known_of
from pipeline.alert.techniques import shipped
from pipeline.contracts.group_addresses import is_group_address
from pipeline.contracts.incident_joining import HUB_PARTNERS, MAX_PAIRS
from tests.alert.suspects import SECOND, START_US, members
from tests.examples import examples

LASTED = "within 1 ms, since 2023-03-10 10:19:59 UTC (plant/left)"


def says(incident: Incident) -> str:
    """Its sentences."""
    return message(incident, shipped(), known_of(incident, shipped()))


def fresh() -> Incident:
    return Incident("0" * 32, "plant", "left", "\x1f", "igan", START_US, START_US)


def test_it_knows_who_did_what_when_and_how_often() -> None:
    incident = fresh()
    rows: list[dict[str, Any]] = [
        {"at": 2.0, "dst_addr": "b", "class": "mitm"},
        {"at": 1.0, "late_by_us": 5},
        {"at": 3.0, "p_value": 0.0001},
    ]
    incident.absorb(members(rows))
    incident.absorb(members([{"at": 9.0, "src_addr": "x", "start_ts_us": START_US - SECOND, "source_record": None}]))
    assert (incident.count, incident.late) == (4, 1)
    assert incident.start_ts_us == START_US - SECOND
    assert incident.first_ts_us == START_US + SECOND
    assert incident.end_ts_us == START_US + 9 * SECOND
    assert incident.main_class == "portscan"
    assert incident.ends.actor == "198.18.134.11"
    assert most(incident.ends.others) == "198.18.134.15"
    assert incident.positions == [[0, 0, 0, 0], [0, 1, 0, 1], [0, 2, 0, 2], [0, 0, 0, None]]
    assert round(incident.lowest_p_value, 6) == 0.0001
    assert [(talk.dst_addr, talk.flows) for talk in incident.talks.values()] == [
        ("b", 1),
        ("198.18.134.15", 2),
        ("198.18.134.15", 1),
    ]


def test_the_classifiers_normal_gives_way_to_what_others_look_like() -> None:
    incident = fresh()
    incident.absorb(members([{"class": "normal"}] * 3 + [{"class": "mitm"}]))
    assert incident.main_class == "mitm"
    incident.absorb(members([{"class": "normal"}]))
    assert incident.main_class == "normal"


def unknown(nearest: str = "ssh_bruteforce", **row: Any) -> dict[str, Any]:
    return {"class": "unknown", "nearest_class": nearest, **row}


def test_unknown_flows_speak_for_no_name() -> None:
    incident = fresh()
    incident.absorb(members([unknown()] * 6 + [unknown("normal")] * 3 + [{"class": "ssh_bruteforce"}]))
    assert incident.main_class == "unknown"
    assert incident.further_classes == []
    assert says(incident).endswith("opened 10 Modbus connections (tcp/502) to 198.18.134.15, " + LASTED)
    assert known_of(incident, shipped()).techniques == []


def test_what_a_quarter_is_known_to_be_is_said_of_that_quarter() -> None:
    incident = fresh()
    others = [unknown(src_addr="10.0.0.9", dst_addr=f"10.0.1.{n}") for n in range(9)]
    incident.absorb(members([{"class": "ssh_bruteforce", "src_addr": "10.0.0.5", "dst_addr": "10.0.0.6"}] * 3 + others))
    assert incident.main_class == "ssh_bruteforce"
    assert says(incident) == (
        "10.0.0.5 opened 3 Modbus connections (tcp/502) to 10.0.0.6; 9 further flows of 10.0.0.9, "
        f"{LASTED}. 3 of 12 flows look like password guessing over SSH (confidence 22 of 100); candidate technique "
        "T0859 Valid Accounts"
    )
    assert incident.all_ends.actor == "10.0.0.9"
    incident.absorb(members([unknown()]))
    assert says(incident).startswith(
        "10.0.0.9 opened 9 Modbus connections (tcp/502) to 9 addresses; 4 further flows of"
    )


def test_where_the_sensor_orders_ends_by_address_the_one_who_sent_syns_began() -> None:
    incident = fresh()
    scan = [
        {
            "source_type": "icsflow",
            "src_addr": f"10.0.0.{n}",
            "dst_addr": "9.9.9.9",
            "fwd_syn_pkts": 0,
            "rev_syn_pkts": 5,
        }
        for n in range(3)
    ]
    incident.absorb(members(scan))
    assert incident.undirected
    assert incident.ends.actor == "9.9.9.9"
    assert sorted(incident.ends.others) == ["10.0.0.0", "10.0.0.1", "10.0.0.2"]
    unknown = fresh()
    unknown.absorb(members([{"source_type": "icsflow", "src_addr": f"{n}", "dst_addr": "z"} for n in "abc"]))
    assert unknown.ends.actor == "z"
    assert set(unknown.ends.others) == {"a", "b", "c"}


def test_everything_kept_is_bounded() -> None:
    incident = fresh()
    for part in range(4):
        rows = [
            {
                "dst_addr": f"{part}-{n}",
                "src_addr": f"s{part}-{n}",
                "dst_port": n,
                "class": f"c{n % 50}",
                "raw_offset": n,
            }
            for n in range(600)
        ]
        incident.absorb(members(rows))
    assert incident.count == 2400
    sizes = [len(sample) for sample in (incident.positions, incident.sources, incident.targets, incident.target_ports)]
    assert sizes == [1024, 256, 256, 256]
    assert len(incident.talks) == len(incident.classes) == len(incident.pairs) == 32
    assert incident.more_sources and incident.more_targets and incident.more_target_ports
    assert len(incident.features.ranks) == SAMPLE_ROWS


@pytest.mark.slow
@settings(max_examples=examples(25), deadline=None)
@given(cut=st.integers(1, 199), seed=st.integers(0, 2**32 - 1))
def test_the_sample_of_features_is_the_same_for_any_split(cut: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=(200, 4))
    rows = [{"raw_offset": n} for n in range(200)]
    whole, split = fresh(), fresh()
    whole.absorb(members(rows, values))
    split.absorb(members(rows[:cut], values[:cut]))
    split.absorb(members(rows[cut:], values[cut:]))
    assert whole.features.as_document() == split.features.as_document()
    np.testing.assert_array_equal(whole.features.highest, values.astype(np.float32).max(axis=0))


HOSTS = st.sampled_from([f"10.0.0.{number}" for number in range(12)])
FLOWS = st.lists(st.tuples(HOSTS, HOSTS, st.integers(1, 3)), min_size=1, max_size=120)


@settings(max_examples=examples(60), deadline=None)
@given(FLOWS, st.lists(st.integers(1, 119), max_size=4))
def test_the_first_pairs_are_the_same_for_any_split_and_have_those_of_the_evidence(
    flows: list[tuple[str, str, int]], cuts: list[int]
) -> None:
    rows = [{"src_addr": source, "dst_addr": target, "dst_port": port} for source, target, port in flows]
    whole, split = fresh(), fresh()
    whole.absorb(members(rows))
    bounds = sorted({0, *(cut for cut in cuts if cut < len(rows)), len(rows)})
    named: list[list[str]] = []
    for start, end in pairwise(bounds):
        split.absorb(members(rows[start:end]))
        evidences = evidence(split)
        written = further_pairs(split, evidences)
        pairs = written or [sorted((each["src_endpoint"]["ip"], each["dst_endpoint"]["ip"])) for each in evidences]
        assert all(pair in pairs for pair in named), "a later revision names what an earlier one did"
        named = pairs
    assert split.pairs == whole.pairs
    first = list(dict.fromkeys(tuple(sorted((source, target))) for source, target, _ in flows))
    assert whole.pairs == [list(pair) for pair in first[:MAX_PAIRS]]
    assert {tuple(pair) for pair in named} >= {
        tuple(sorted((each["src_endpoint"]["ip"], each["dst_endpoint"]["ip"]))) for each in evidence(whole)
    }


def test_pairs_are_written_where_the_evidence_does_not_say_them() -> None:
    incident = fresh()
    incident.absorb(members([{"dst_addr": f"10.0.1.{host}"} for host in range(HUB_PARTNERS)]))
    assert further_pairs(incident, evidence(incident)) == []
    incident.absorb(members([{"dst_addr": "FE80::1"}]))
    assert further_pairs(incident, evidence(incident))[-1] == ["198.18.134.11", "fe80::1"]
    hidden = fresh()
    hidden.absorb(members([{"dst_port": port} for port in range(9)] * 2 + [{"dst_addr": "10.0.0.\x1b[31m"}]))
    written = further_pairs(hidden, evidence(hidden))
    assert len(written) == 2 and all(name.isprintable() for pair in written for name in pair)


def test_an_incident_saved_by_a_version_before_has_the_pairs_of_its_conversations() -> None:
    incident = fresh()
    incident.absorb(members([{"dst_addr": f"10.0.1.{host}"} for host in range(9)] * 2))
    before = as_document(incident)
    del before["pairs"]
    assert of_document(before).pairs == incident.pairs


def test_it_survives_being_saved() -> None:
    incident = fresh()
    incident.absorb(members([{"dst_port": None, "src_mac": "b8:27:eb:6d:4f:4b"}, {"dst_addr": "\x1b[31m"}]))
    assert of_document(as_document(incident)) is not incident
    assert as_document(of_document(as_document(incident))) == as_document(incident)


def test_nobody_in_particular_is_no_actor() -> None:
    incident = fresh()
    incident.absorb(members([{"source_type": "icsflow", "src_addr": "224.0.0.22", "dst_addr": b} for b in "ab"]))
    assert incident.ends.actor == "a"
    assert (
        is_group_address("ff:ff:ff:ff:ff:ff")
        and is_group_address("FF02::1")
        and not is_group_address("b8:27:eb:15:88:9c")
    )


def test_a_group_is_not_everybody() -> None:
    for target, said in (
        ("ff02::1:2", "a group (ff02::1:2)"),
        ("224.0.0.22", "a group (224.0.0.22)"),
        ("01:0e:cf:00:00:00", "a group (01:0e:cf:00:00:00)"),
        ("ff:ff:ff:ff:ff:ff", "everybody (ff:ff:ff:ff:ff:ff)"),
        ("FF02::1", "everybody (FF02::1)"),
        ("::", "to ::,"),
    ):
        incident = fresh()
        incident.absorb(members([{"class": "unknown", "nearest_class": "normal", "dst_addr": target}] * 2))
        assert said in says(incident)


def test_what_else_it_holds_is_named_when_it_is_more_than_chance() -> None:
    incident = fresh()
    incident.absorb(members([{"class": "mitm"}] * 30 + [{"class": "portscan"}] * 4 + [{"class": "misconf"}] * 2))
    assert incident.main_class == "mitm"
    assert incident.further_classes == ["portscan"]
    assert "30 of 36 flows look like a man in the middle" in says(incident)
    assert "scan" not in says(incident)  # of one port of one host
    incident.absorb(members([{"class": "portscan", "dst_port": 23}] * 2))
    assert "of 100); 6 flows like a port scan; candidate technique T0830" in says(incident)
    assert [technique.uid for technique in known_of(incident, shipped()).techniques] == ["T0830", "T0846"]
