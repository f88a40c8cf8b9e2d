"""The compiled decoders and the plain ones agree on every record, good or odd, however records are packed."""

import json
import math
import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.contracts.raw import ICSFLOW_CSV, SURICATA_JSON, ZEEK_JSON, ZEEK_TSV
from pipeline.ingest.decode import Decoded
from pipeline.ingest.formats.icsflow import COLUMNS as ICSFLOW_COLUMNS
from tests.examples import examples
from tests.ingest import oracle
from tests.ingest.exporter_oracle import community_id
from tests.ingest.records import (
    ADDRESSES,
    EVE,
    ICSFLOW,
    MAX_FUTURE_US,
    ODD,
    SENT_US,
    TEXTS,
    TIMES,
    ZEEK,
    Oracle,
    decode,
    odd_records,
)

ZEEK_FIELDS = {
    **{name: ODD for name in ZEEK},
    **{name: ODD for name in ("ip_proto", "vlan", "orig_l2_addr", "community_id")},
    "ts": TIMES,
    "duration": TIMES,
    "id.orig_h": ADDRESSES,
    "id.resp_h": ADDRESSES,
}
EVE_FIELDS = {
    **{name: ODD for name in EVE},
    **{name: ODD for name in ("icmp_type", "icmp_code", "app_proto", "event_type")},
    "src_ip": ADDRESSES,
    "dest_ip": ADDRESSES,
    "flow": odd_records(EVE["flow"], {**{name: ODD for name in EVE["flow"]}, "start": TIMES, "end": TIMES}),
    "tcp": odd_records(EVE["tcp"], {name: ODD for name in (*EVE["tcp"], "ts_gap")}),
}
BARE = TEXTS.filter(lambda text: not set(text) & set('\n\r\t,"') and text.isprintable() and text == text.strip())
CSV_FIELDS = {
    **{name: st.one_of(BARE, st.floats(0, 2, width=32).map(str), st.integers(-1, 2**65).map(str)) for name in ICSFLOW},
    "start": TIMES.map(str),
    "end": TIMES.map(str),
    "sAddress": ADDRESSES,
    "rAddress": ADDRESSES,
    "protocol": st.sampled_from(["ARP", "LLDP", "IPV4-2", "IPV4-UDP", "IPV6-ICMP", "IPV4-300", "IPV4-FOO", "ipv6-tcp"]),
}


def agree(records: Sequence[Any], decoded: Decoded, judge: Oracle) -> None:
    """Every record became what the plain decoder makes of it, with the same reason where it is a reject."""
    flows = dict(zip(decoded.flow_ordinals.tolist(), decoded.flows.to_pylist(), strict=True))
    rejects = dict(zip(decoded.reject_ordinals.tolist(), decoded.rejects.to_pylist(), strict=True))
    assert flows.keys() | rejects.keys() == set(range(len(records))) and not flows.keys() & rejects.keys()
    for index, record in enumerate(records):
        try:
            wanted = judge(record)
            if wanted["end_ts_us"] > SENT_US + MAX_FUTURE_US:
                raise oracle.Rejected("future")
        except oracle.Rejected as reject:
            assert index in rejects and rejects[index]["reason"] == str(reject), (reject, record, rejects.get(index))
            continue
        assert index in flows, (rejects.get(index), record)
        wanted = oracle.plausible(wanted, flows[index]["source_type"], flows[index]["byte_semantics"])
        wanted["community_id"] = wanted.get("community_id") or community_id(wanted)
        for name, value in wanted.items():
            got = flows[index][name]
            if isinstance(value, float):
                assert math.isclose(got, value, rel_tol=1e-6, abs_tol=1e-30), (name, got, value)
            else:
                assert got == value, (name, got, value)


def several(records: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[list[dict[str, Any]]]:
    return st.lists(records, min_size=1, max_size=12)


@pytest.mark.slow
@given(several(odd_records(ZEEK, ZEEK_FIELDS)))
@settings(max_examples=examples(50), deadline=None)
def test_zeek_json(records: list[dict[str, Any]]) -> None:
    lines = [json.dumps(record, ensure_ascii=False).encode("utf-8", "surrogatepass") for record in records]
    agree([oracle.parse_json(line) for line in lines], decode(lines, ZEEK_JSON), oracle.zeek)


@pytest.mark.slow
@given(several(odd_records(EVE, EVE_FIELDS)))
@example([{**EVE, "flow": {**EVE["flow"], "start": None, "end": ":"}}])
@settings(max_examples=examples(50), deadline=None)
def test_suricata_json(records: list[dict[str, Any]]) -> None:
    lines = [json.dumps(record).encode() for record in records]
    agree([oracle.parse_json(line) for line in lines], decode(lines, SURICATA_JSON), oracle.suricata)


@pytest.mark.slow
@given(several(odd_records(ZEEK, {name: st.one_of(BARE, kind.map(str)) for name, kind in ZEEK_FIELDS.items()})))
@settings(max_examples=examples(50), deadline=None)
def test_zeek_tsv(records: list[dict[str, Any]]) -> None:
    columns = [*ZEEK, *(name for name in ZEEK_FIELDS if name not in ZEEK), "last"]
    rows = [fitting({name: str(value) for name, value in record.items()}) for record in records]
    lines = ["\t".join([cells.get(name, "-") for name in columns[:-1]] + ["x"]).encode() for cells in rows]
    read = [{name: None if cell in ("-", "", "(empty)") else cell for name, cell in cells.items()} for cells in rows]
    agree(read, decode(lines, ZEEK_TSV, columns), oracle.zeek)


@pytest.mark.slow
@given(several(odd_records(ICSFLOW, CSV_FIELDS)))
@example([{**{name: value for name, value in ICSFLOW.items() if name != "start"}, "end": ":"}])
@settings(max_examples=examples(50), deadline=None)
def test_icsflow_csv(records: list[dict[str, Any]]) -> None:
    columns = [*ICSFLOW, "last"]
    rows = [fitting({name: str(value) for name, value in record.items()}) for record in records]
    lines = [",".join([cells.get(name, "") for name in columns[:-1]] + ["x"]).encode() for cells in rows]
    agree(
        [{name: cells.get(name) or None for name in ICSFLOW} for cells in rows],
        decode(lines, ICSFLOW_CSV, columns),
        oracle.icsflow,
    )


def fitting(cells: dict[str, str]) -> dict[str, str]:
    """The cells without what would end a line or a cell."""
    first = next(iter(cells), "")
    clean = {name: re.sub(r'[\n\r\t,"\ud800-\udfff]', "", cell) for name, cell in cells.items()}
    return {name: cell.strip() if name == first else cell for name, cell in clean.items()}


@pytest.mark.slow
@given(
    st.lists(odd_records(ZEEK, ZEEK_FIELDS), min_size=1, max_size=12),
    st.integers(1, 5),
    st.sampled_from([b"\n", b"\r\n", b"\n\n", b"\n \n"]),
)
@settings(max_examples=examples(25), deadline=None)
def test_what_a_record_becomes_does_not_depend_on_its_neighbours(
    records: list[dict[str, Any]], pack: int, newline: bytes
) -> None:
    lines = [json.dumps(record).encode() for record in records]
    together = decode([newline.join(lines)], ZEEK_JSON)
    packed = decode(lines, ZEEK_JSON, pack=pack)
    alone = [decode([line], ZEEK_JSON) for line in lines]
    for decoded in (together, packed):
        assert decoded.bounds[-1] == len(lines)
        flows = [row for single in alone for row in single.flows.to_pylist()]
        rejects = [row for single in alone for row in single.rejects.to_pylist()]
        for got, wanted in ((decoded.flows.to_pylist(), flows), (decoded.rejects.to_pylist(), rejects)):
            position_fields = {"raw_offset", "raw_index", "detail"}
            assert [{key: row[key] for key in row.keys() - position_fields} for row in got] == [
                {key: row[key] for key in row.keys() - position_fields} for row in wanted
            ]
        ordinals = sorted([*decoded.flow_ordinals.tolist(), *decoded.reject_ordinals.tolist()])
        assert ordinals == list(range(len(lines)))


@pytest.mark.slow
@pytest.mark.parametrize("digits", range(7))
def test_microseconds_are_exact(digits: int) -> None:
    for second in (0, 1, 999_999_999, 1_678_440_574, 1_799_999_999):
        for fraction in (0, 1, 4, 5, 78_823, 499_999, 999_999):
            text = f"{second}.{fraction:06d}"[: 11 + digits] if digits else str(second)
            wanted = int(second) * 1_000_000 + (int(f"{fraction:06d}"[:digits].ljust(6, "0")) if digits else 0)
            text = f"{second}.{f'{fraction:06d}'[:digits]}" if digits else str(second)
            line = json.dumps({**ZEEK, "duration": 0}).encode().replace(b"1678440574.078823", text.encode())
            assert decode([line], ZEEK_JSON).flows["start_ts_us"].to_pylist() == [wanted]


def test_columns_wanted_of_icsflow_are_in_its_header() -> None:
    assert set(ICSFLOW) == set(ICSFLOW_COLUMNS)
