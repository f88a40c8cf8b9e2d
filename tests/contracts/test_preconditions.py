import math
import re
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.alert.techniques import shipped as meanings
from pipeline.contracts.preconditions import Preconditions, read_preconditions, shipped
from pipeline.errors import Misconfigured
from schemas.fields import arrow_schema

FEATURES = ("diff_srv_rate", "count", "srv_diff_host_rate", "srv_count", "host_syn", "host_new_peers", "to_ics_port")
NOTHING = dict.fromkeys(FEATURES, 0.0)


def flows(*rows: dict[str, Any]) -> pa.RecordBatch:
    """Rows of schema `flow`: what is named, TCP between two addresses otherwise, all else null."""
    plain = {"ip_proto": 6, "src_addr": "10.0.0.1", "dst_addr": "10.0.0.2"}
    schema = arrow_schema("flow")
    columns = []
    for field in schema:
        kind = str if pa.types.is_string(field.type) else bool if pa.types.is_boolean(field.type) else int
        absent = None if field.nullable else kind()
        columns.append(pa.array([{**plain, **row}.get(field.name, absent) for row in rows], field.type))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def contradicted(name: str, row: dict[str, Any], **features: float) -> bool:
    matrix = np.array([[{**NOTHING, **features}[feature] for feature in FEATURES]], np.float32)
    return bool(shipped().contradicted(name, flows(row), matrix, FEATURES)[0])


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"dst_port": 22, "src_port": 40_000}, False),
        ({"dst_port": 40_000, "src_port": 22}, False),
        ({"dst_port": 2222, "app_proto": "ssh"}, False),
        ({"dst_port": 2222, "app_proto": "tls,SSH"}, False),
        ({}, False),  # a sensor without ports denies nothing
        ({"dst_port": 102, "src_port": 40_000}, True),
        ({"dst_port": 102}, True),
        ({"app_proto": "modbus"}, True),
        ({"app_proto": "sshd"}, True),
        ({"dst_port": 22, "ip_proto": 17}, True),
        ({"dst_port": 22, "ip_proto": None}, True),
    ],
)
def test_ssh_is_tcp_to_the_service(row: dict[str, Any], expected: bool) -> None:
    assert contradicted("ssh_bruteforce", row) == expected


def test_a_scan_asks_several_ports_or_hosts_of_no_group() -> None:
    ports = {"dst_port": 80}
    assert contradicted("portscan", ports)
    assert contradicted("portscan", ports, diff_srv_rate=0.5, count=4)
    assert not contradicted("portscan", ports, diff_srv_rate=0.5, count=8)
    assert not contradicted("portscan", ports, srv_diff_host_rate=1, srv_count=5)
    assert contradicted("portscan", ports, host_syn=1000)
    assert not contradicted("portscan", {}, host_syn=1000)
    for group in ("255.255.255.255", "ff02::1:3", "239.1.1.1", "ff:ff:ff:ff:ff:ff"):
        assert contradicted("portscan", {"dst_addr": group}, srv_diff_host_rate=1, srv_count=5)


@pytest.mark.parametrize("name", ["mitm", "duplication", "misconf"])
def test_who_speaks_for_an_address_shows_in_hardware_addresses(name: str) -> None:
    assert contradicted(name, {})
    assert not contradicted(name, {"dst_mac": "00:11:22:33:44:55"})


def test_commands_need_an_industrial_protocol() -> None:
    for name in ("command_injection", "fingerprinting"):
        assert contradicted(name, {"dst_port": 443})
        assert not contradicted(name, {"ics_proto": "modbus"})
        assert not contradicted(name, {"dst_port": 502}, to_ics_port=1)


def test_a_class_without_conditions_is_never_ruled_out() -> None:
    assert not contradicted("worm of another model", {})


def test_features_that_the_set_lacks_deny_only_what_needs_them() -> None:
    batch = flows({"dst_port": 22})
    nothing = np.zeros((1, 0), np.float32)
    assert shipped().contradicted("portscan", batch, nothing, ())[0]
    assert not shipped().contradicted("ssh_bruteforce", batch, nothing, ())[0]


def test_every_attack_and_fault_with_words_has_conditions() -> None:
    """Who adds a class to one file is reminded of the other."""
    assert set(meanings().classes) - {"normal", "unknown"} == set(shipped().classes)


def oracle(requirements: Any, row: dict[str, Any], features: dict[str, float]) -> bool:
    """The same for one row, condition by condition, in plain Python."""

    def judge(condition: Any) -> Any:
        if condition.kind == "all":
            parts = [judge(part) for part in condition.parts]
            return None if None in parts else all(parts)
        if condition.kind == "feature":
            if condition.feature not in features or (condition.times and condition.times not in features):
                return None
            product = features[condition.feature] * (features[condition.times] if condition.times else 1)
            return condition.low <= product <= condition.high
        if condition.kind == "service":
            ports = [row[name] for name in ("src_port", "dst_port") if row.get(name) is not None]
            named = row.get("app_proto")
            if not ports and named is None:
                return None
            tokens = [] if named is None else named.lower().split(",")
            return any(port in condition.service.ports for port in ports) or any(
                token in condition.service.names for token in tokens
            )
        value = row.get(condition.field)
        if condition.kind == "known":
            return (value is not None) == condition.is_so
        if value is None:
            return None
        if condition.kind == "group":
            return bool(re.match(r"(?i)22[4-9]\.|23\d\.|255\.255\.255\.255$|ff..:", value)) == condition.is_so
        assert condition.kind == "in"
        return value in condition.values

    for requirement in requirements:
        answers = [judge(condition) for condition in requirement.any_of]
        known = [answer for answer in answers if answer is not None]
        if not any(known) and (known or requirement.needed):
            return True
    return False


ROWS = st.fixed_dictionaries(
    {"ip_proto": st.sampled_from([None, 1, 6, 17]), "dst_addr": st.sampled_from(["10.0.0.2", "224.0.0.1", "ff02::1"])},
    optional={
        "src_port": st.sampled_from([None, 21, 22, 40_000]),
        "dst_port": st.sampled_from([None, 22, 23, 102, 502]),
        "app_proto": st.sampled_from([None, "ssh", "SSH", "ssh,ssl", "s7comm", "", "xssh", "ssh\x00"]),
        "src_mac": st.sampled_from([None, "00:11:22:33:44:55"]),
        "ics_proto": st.sampled_from([None, "s7comm"]),
    },
)
VALUES = st.fixed_dictionaries({name: st.sampled_from([0.0, 0.5, 1.0, 3.0, 8.0, 1000.0]) for name in FEATURES})


@given(st.sampled_from(sorted(shipped().classes)), st.lists(st.tuples(ROWS, VALUES), min_size=1, max_size=6))
def test_a_batch_is_judged_as_its_rows_are(name: str, rows: list[tuple[dict[str, Any], dict[str, float]]]) -> None:
    matrix = np.array([[features[feature] for feature in FEATURES] for _, features in rows], np.float32)
    judged = shipped().contradicted(name, flows(*(row for row, _ in rows)), matrix, FEATURES)
    assert judged.tolist() == [oracle(shipped().classes[name], row, features) for row, features in rows]


def test_ports_and_names_of_a_service_are_the_plants_own() -> None:
    text = """
        services.ssh = { ports = [2022], names = ["dropbear"] }
        [[class.ssh_bruteforce.must]]
        says = "the service"
        any = [{ service = "ssh" }]
    """
    batch = flows({"dst_port": 2022}, {"dst_port": 22}, {"app_proto": "dropbear"})
    got = read_preconditions(text).contradicted("ssh_bruteforce", batch, np.zeros((3, 0), np.float32), ())
    assert got.tolist() == [False, True, False]


def must(condition: str, says: str = 'says = "s"') -> str:
    return f"[[class.c.must]]\n{says}\nany = [{condition}]"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nonsense", "no TOML"),
        ("[services]", "expected the keys class"),
        ("[class.c]\nmust = 3", "class.c.must: got '3', expected a list"),
        ("[class.c]\nmusts = []", "expected the keys must"),
        (must("", says='says = "s"'), "an empty list"),
        (must('{ field = "port", in = [1] }'), "a field of schemas/flow.toml"),
        (must('{ field = "dst_port", in = ["ssh"] }'), "values of the field dst_port"),
        (must('{ field = "dst_port", in = [70000] }'), "values of the field dst_port"),
        (must('{ field = "dst_port" }'), "`min`, `max` or both"),
        (must('{ field = "dst_addr", min = 3 }'), "a field of numbers"),
        (must('{ field = "dst_port", group = true }'), "a field of addresses"),
        (must('{ field = "dst_port", known = 1 }'), "true or false"),
        (must('{ feature = "count", min = nan }'), "a number"),
        (must('{ feature = "count", least = 3 }'), "expected the keys feature"),
        (must('{ service = "ssh" }'), "one of no services"),
        (must('{ nothing = "x" }'), "one of in, known"),
        (must("{ all = 3 }"), "expected a list"),
        (must("{ all = [] }"), "one or more conditions"),
        (must('{ field = "dst_port", min = 10, max = 1 }'), "a `min` that is no more than `max`"),
        (must("3"), "expected a table"),
        (must('{ field = "dst_port", known = true }', says=""), "expected the keys any, says"),
        (must('{ field = "dst_port", known = true }') + '\nneeded = "yes"', "needed: got 'yes'"),
        ("class = 3", "expected a table"),
        ("services.s = { ports = [70000], names = [] }\nclass = {}", "ports, 0 to 65535"),
        ('services.s = { ports = [], names = ["(a+)+"] }\nclass = {}', "names in lower case"),
        ("services.s = { ports = [], names = [] }\nclass = {}", "neither ports nor names"),
    ],
)
def test_a_wrong_file_is_refused_with_what_is_wrong(text: str, says: str) -> None:
    with pytest.raises(Misconfigured, match=re.escape(says)) as caught:
        read_preconditions(text)
    assert str(caught.value).startswith("preconditions.toml")


def test_numbers_of_fields_and_ends_of_ranges() -> None:
    condition = must('{ field = "fwd_ttl_mean", min = 64, max = 128 }')
    batch = flows(*({"fwd_ttl_mean": value} for value in (63.0, 64.0, 128.0, 129.0, None, math.nan)))
    got = read_preconditions(condition).contradicted("c", batch, np.zeros((6, 0), np.float32), ())
    assert got.tolist() == [True, False, False, True, False, True]


def test_no_rows_and_no_conditions() -> None:
    assert Preconditions({}).contradicted("c", flows({}), np.zeros((1, 0), np.float32), ()).tolist() == [False]
    assert shipped().contradicted("mitm", flows(), np.zeros((0, 0), np.float32), ()).tolist() == []
