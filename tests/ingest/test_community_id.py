"""The Community ID: published vectors, hashlib, and what a sensor gave itself."""

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contracts.raw import SURICATA_JSON, ZEEK_JSON
from pipeline.ingest.community_id import community_ids
from schemas.fields import load
from tests.examples import examples
from tests.ingest import exporter_oracle
from tests.ingest.records import EVE, ZEEK, flow_of

FIELDS = ("src_addr", "dst_addr", "ip_proto", "src_port", "dst_port", "icmp_type", "icmp_code")


def ids(rows: list[dict[str, Any]], given_ids: list[str | None] | None = None) -> list[str | None]:
    columns = {name: pa.array([row.get(name) for row in rows], load("flow").field(name).arrow.type) for name in FIELDS}
    computed: list[str | None] = community_ids(
        columns, None if given_ids is None else pa.array(given_ids, pa.string())
    ).to_pylist()
    return computed


def flow(src: str, dst: str, ip_proto: int, **more: int) -> dict[str, Any]:
    return {"src_addr": src, "dst_addr": dst, "ip_proto": ip_proto, **more}


# Of the specification's reference implementation and of Zeek's own tests.
VECTORS = [
    (flow("1.2.3.4", "5.6.7.8", 6, src_port=1122, dst_port=3344), "1:wCb3OG7yAFWelaUydu0D+125CLM="),
    (flow("5.6.7.8", "1.2.3.4", 6, src_port=3344, dst_port=1122), "1:wCb3OG7yAFWelaUydu0D+125CLM="),
    (flow("1.2.3.4", "5.6.7.8", 17, src_port=1122, dst_port=3344), "1:0Mu9InQx6z4ZiCZM/7HXi2WMhOg="),
    (flow("128.232.110.120", "66.35.250.204", 6, src_port=34855, dst_port=80), "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
    (flow("1.2.3.4", "5.6.7.8", 1, icmp_type=8, icmp_code=0), "1:crodRHL2FEsHjbv3UkRrfbs4bZ0="),
    (flow("5.6.7.8", "1.2.3.4", 1, icmp_type=0, icmp_code=0), "1:crodRHL2FEsHjbv3UkRrfbs4bZ0="),
    (
        flow(
            "fe80:1:203:405:607:809:a0b:c0d", "fe80:1011:1213:1415:1617:1819:1a1b:1c1d", 58, icmp_type=128, icmp_code=0
        ),
        "1:0bf7hyMJUwt3fMED7z8LIfRpBeo=",
    ),
    (flow("1.2.3.4", "5.6.7.8", 46), "1:ikv3kmf89luf73WPz1jOs49S768="),
]


def test_published_vectors() -> None:
    assert ids([row for row, _ in VECTORS]) == [wanted for _, wanted in VECTORS]


FOURS, SIXES = st.ip_addresses(v=4) | st.just("0.0.0.1"), st.ip_addresses(v=6) | st.just("::1")
ROWS = st.one_of(st.tuples(FOURS, FOURS), st.tuples(SIXES, SIXES)).flatmap(
    lambda ends: st.fixed_dictionaries(
        {
            "src_addr": st.just(str(ends[0])),
            "dst_addr": st.just(str(ends[1])),
            "ip_proto": st.sampled_from([1, 58, 6, 17, 132, 46, 33, 136, 0, 255, None]),
            "src_port": st.none() | st.integers(0, 65_535),
            "dst_port": st.none() | st.integers(0, 65_535),
            "icmp_type": st.none() | st.integers(0, 255) | st.sampled_from([0, 8, 128, 129, 135, 136]),
            "icmp_code": st.none() | st.integers(0, 255),
        }
    )
)


@pytest.mark.slow
@given(st.lists(ROWS, min_size=1, max_size=40))
@settings(max_examples=examples(100), deadline=None)
def test_against_hashlib(rows: list[dict[str, Any]]) -> None:
    assert ids(rows) == [exporter_oracle.community_id(row) for row in rows]


def test_a_sensors_own_id_stays() -> None:
    rows = [VECTORS[0][0], VECTORS[2][0], VECTORS[0][0] | {"src_port": None}, flow("b8:27:eb:6d:4f:4b", "1.2.3.4", 6)]
    assert ids(rows, ["1:own", None, None, None]) == ["1:own", VECTORS[2][1], None, None]
    assert ids(rows[:2], ["1:own", "1:other"]) == ["1:own", "1:other"]
    assert ids([flow("1.2.3.4", "::1", 17, src_port=1, dst_port=2)]) == [None]
    assert ids([]) == []


def test_slices_are_hashed_as_what_they_are() -> None:
    rows = [row for row, _ in VECTORS]
    columns = {name: pa.array([row.get(name) for row in rows], load("flow").field(name).arrow.type) for name in FIELDS}
    sliced = {name: column.slice(2, 3) for name, column in columns.items()}
    assert community_ids(sliced, None).to_pylist() == [wanted for _, wanted in VECTORS[2:5]]


@pytest.mark.parametrize(("record", "content_type"), [(ZEEK, ZEEK_JSON), (EVE, SURICATA_JSON)])
def test_it_is_computed_where_a_sensor_has_none(record: dict[str, Any], content_type: str) -> None:
    row = flow_of(record, content_type)
    assert row["community_id"] == exporter_oracle.community_id(row) is not None
    assert flow_of({**record, "community_id": "1:x"}, content_type)["community_id"] == "1:x"
