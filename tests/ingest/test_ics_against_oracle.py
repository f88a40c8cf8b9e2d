"""The compiled decoders of industrial protocols' logs and the plain ones agree on every record, good or odd."""

import json
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contracts.raw import SURICATA_JSON, ZEEK_ICS_LOGS
from tests.examples import examples
from tests.ingest import ics_oracle, oracle
from tests.ingest.ics_records import BASE, EVE_DNP3, EVE_MODBUS, OWN_FIELDS, RECORDS, odd, odd_inside
from tests.ingest.records import EVE, decode
from tests.ingest.test_against_oracle import agree, fitting, several


def test_every_log_has_an_oracle_and_a_record() -> None:
    assert tuple(OWN_FIELDS) == tuple(ics_oracle.JUDGES) == ZEEK_ICS_LOGS


@pytest.mark.slow
@pytest.mark.parametrize("log", ZEEK_ICS_LOGS)
@given(data=st.data())
@settings(max_examples=examples(20), deadline=None)
def test_zeek_json(log: str, data: st.DataObject) -> None:
    records = data.draw(several(odd(log)))
    lines = [json.dumps(record).encode() for record in records]
    read = [oracle.parse_json(line) for line in lines]
    agree(read, decode(lines, f"zeek-{log}+json"), partial(ics_oracle.zeek, log))


@pytest.mark.slow
@pytest.mark.parametrize("log", ZEEK_ICS_LOGS)
@given(data=st.data())
@settings(max_examples=examples(20), deadline=None)
def test_zeek_tsv(log: str, data: st.DataObject) -> None:
    columns = [*BASE, *OWN_FIELDS[log], "_path", "last"]
    rows = [fitting({name: str(value) for name, value in record.items()}) for record in data.draw(several(odd(log)))]
    lines = ["\t".join([cells.get(name, "-") for name in columns[:-1]] + ["x"]).encode() for cells in rows]
    read = [{name: None if cell in ("-", "", "(empty)") else cell for name, cell in cells.items()} for cells in rows]
    agree(read, decode(lines, f"zeek-{log}+tsv", columns), partial(ics_oracle.zeek, log))


def judge(record: dict[str, Any]) -> dict[str, Any]:
    ics = record.get("event_type") in ("modbus", "dnp3")
    return ics_oracle.suricata(record) if ics else oracle.suricata(record)


@pytest.mark.slow
@given(several(st.one_of(odd_inside(EVE_MODBUS), odd_inside(EVE_DNP3), st.just(EVE), st.just({"event_type": "dns"}))))
@settings(max_examples=examples(40), deadline=None)
def test_suricata_json(records: list[dict[str, Any]]) -> None:
    lines = [json.dumps(record).encode() for record in records]
    agree([oracle.parse_json(line) for line in lines], decode(lines, SURICATA_JSON), judge)


@pytest.mark.slow
@given(
    st.lists(
        st.fixed_dictionaries(
            {"range_code": st.integers(0, 9), "start": st.integers(0, 50), "stop": st.integers(0, 50)},
            optional={
                "count": st.integers(0, 9),
                "points": st.lists(st.fixed_dictionaries({"index": st.integers(0, 99), "status": st.text(max_size=9)})),
                "note": st.sampled_from(["\\", '"start":9', "index", "}]"]),
            },
        ),
        max_size=4,
    ),
    st.lists(st.sampled_from(["need_time", "object_unknown", "config_corrupt", "a\\", "no_func_code_support", ""])),
    st.sampled_from([None, (",", ":"), (" , ", " : ")]),
)
@settings(max_examples=examples(40), deadline=None)
def test_objects_of_dnp3(
    objects: list[dict[str, Any]], indications: list[str], separators: tuple[str, str] | None
) -> None:
    said = {
        "src": 1,
        "dst": 2,
        "application": {"function_code": 1, "objects": objects},
        "iin": {"indicators": indications},
    }
    for dnp3 in (said, {"request": said}, {"request": said, "response": said}):
        line = json.dumps({**EVE_DNP3, "dnp3": dnp3}, separators=separators).encode()
        agree([oracle.parse_json(line)], decode([line], SURICATA_JSON), judge)


@pytest.mark.parametrize("log", ZEEK_ICS_LOGS)
def test_wrapped_and_nested_records_are_the_same(log: str) -> None:
    flat = RECORDS[log]
    nested = {key: value for key, value in flat.items() if not key.startswith("id.")}
    nested["id"] = {key[3:]: value for key, value in flat.items() if key.startswith("id.")}
    lines = [
        json.dumps(record).encode() for record in (flat, {log: flat}, nested, {log: nested}, {**flat, "_path": log})
    ]
    decoded = decode(lines, f"zeek-{log}+json")
    assert decoded.rejects.num_rows == 0, decoded.rejects.to_pylist()
    record_fields = {"raw_offset", "record_id"}
    rows = [{key: row[key] for key in row.keys() - record_fields} for row in decoded.flows.to_pylist()]
    assert all(row == rows[0] for row in rows)
