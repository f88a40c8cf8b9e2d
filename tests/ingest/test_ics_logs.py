"""Logs of industrial protocols as the tools write them: icsnpp's baselines, and real captures where they are there."""

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pipeline.contracts.raw import SURICATA_JSON, ZEEK_ICS_LOGS
from pipeline.errors import BadData
from pipeline.ingest.files.guess import guess
from pipeline.ingest.files.offline_rows import Decoded, decode_file
from pipeline.ingest.files.reading import read_source
from pipeline.ingest.formats.functions import CONTROL, READ, WRITE, all_functions
from pipeline.ingest.formats.registry import ZEEK_LOGS
from schemas.fields import load
from tests.ingest.ics_records import EVE_DNP3, EVE_MODBUS, RECORDS
from tests.ingest.records import EVE, MAX_FUTURE_US, SENT_US, flow_of
from tests.real_records import FOLDER, needs

SAMPLES = Path(__file__).parent / "samples" / "icsnpp"
MASKED = "XXXXXXXXXX.XXXXXX"
FIRST_S = 1_700_000_000
BASE = ("ts", "uid", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p")
SIDES = ("is_orig", "source_h", "source_p", "destination_h", "destination_p")
# Of baselines that have lost their header.
HEADERS = {
    "modbus": (*BASE, "func", "exception"),
    "enip": (*BASE, *SIDES, "enip_command_code", "enip_command", "length", "session_handle", "enip_status", "c", "o"),
    "cip": (
        *(*BASE, *SIDES, "cip_sequence_count", "direction", "cip_service_code", "cip_service", "cip_status_code"),
        *(
            "cip_status",
            "cip_extended_status_code",
            "cip_extended_status",
            "class_id",
            "class_name",
            "instance_id",
            "a",
        ),
    ),
    "opcua_binary": (
        *(*BASE, "msg_type", "is_final", "total_size", "error", "reason", *(f"c{number}" for number in range(18))),
        *(
            "req_identifier",
            *(f"q{number}" for number in range(18)),
            "res_identifier",
            *(f"s{number}" for number in range(6)),
        ),
    ),
}


def unmasked(path: Path, folder: Path) -> Path:
    """A baseline with times a second apart for masked ones, and the header it has lost."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("###")]
    log = path.stem
    if not any(line.startswith("#fields") for line in lines):
        lines = [f"#path\t{log}", "\t".join(("#fields", *HEADERS[log])), *lines]
    rows = (number for number, _ in enumerate(lines))
    text = "\n".join(line.replace(MASKED, f"{FIRST_S + next(rows)}.000000", 1) for line in lines) + "\n"
    folder.mkdir(exist_ok=True)
    (folder / path.name).write_text(text)
    return folder / path.name


def decoded(path: Path) -> Decoded:
    return decode_file(path, ingest_ts_us=SENT_US, max_future_us=MAX_FUTURE_US)


def total(result: Decoded) -> dict[str, Any]:
    """What all records say together."""
    rows = result.flows.to_pylist()
    functions: Counter[int] = Counter()
    for row in rows:
        pairs = row["ics_functions"] or []
        functions.update(dict(zip(pairs[::2], pairs[1::2], strict=True)))
    units = {unit for row in rows for unit in row["ics_units"] or []}
    counts = {
        name: sum(row[f"ics_{name}_cnt"] or 0 for row in rows) for name in ("read", "write", "control", "exception")
    }
    return {"functions": dict(functions), "units": units, **counts}


def test_modbus_log(tmp_path: Path) -> None:
    result = decoded(unmasked(SAMPLES / "modbus" / "modbus.log", tmp_path))
    assert (result.content_type, result.records, result.rejects.num_rows) == ("zeek-modbus+tsv", 24, 0)
    said = total(result)
    assert (said["read"], said["write"], said["control"], said["exception"]) == (16, 9, 1, 1)
    assert said["functions"][23] == 2 and said["functions"][3] == 3 and said["units"] == set()
    row = result.flows.to_pylist()[-1]
    assert (
        row["sensor_uid"] == "ClEkJM2Vm5giqnMf4h"
        and row["record_kind"] == "ics"
        and row["quality"] == ("no_bytes,no_flags")
    )


def test_modbus_detailed_log_says_the_same_and_more(tmp_path: Path) -> None:
    result = decoded(unmasked(SAMPLES / "modbus" / "modbus_detailed.log", tmp_path))
    said, short = total(result), total(decoded(unmasked(SAMPLES / "modbus" / "modbus.log", tmp_path)))
    # What icsnpp cannot pair stands there twice.
    assert {code: number - (code in (7, 17)) for code, number in said["functions"].items()} == short["functions"]
    assert said["write"] == short["write"] and said["exception"] == 1
    assert said["units"] == {0, 1, 2, 4, 5, 6, 7, 8, 10}
    last = result.flows.to_pylist()[-1]
    assert (last["ics_addr_min"], last["ics_addr_max"], last["ics_quantity"]) == (600, 609, 10)


def test_addresses_that_other_modbus_logs_add(tmp_path: Path) -> None:
    mask = decoded(unmasked(SAMPLES / "modbus" / "modbus_mask_write_register.log", tmp_path)).flows
    assert mask["ics_addr_min"].to_pylist() == [10] * 4 and mask["ics_functions"].null_count == 4
    both = decoded(
        unmasked(SAMPLES / "modbus" / "modbus_read_write_multiple_registers.log", tmp_path)
    ).flows.to_pylist()
    spans = [(row["ics_addr_min"], row["ics_addr_max"], row["ics_quantity"]) for row in both]
    assert spans == [(1, 2, 2), (None, None, None), (1, 4, 7), (None, None, None)]


def test_s7comm_log(tmp_path: Path) -> None:
    said = total(decoded(unmasked(SAMPLES / "s7comm" / "s7comm.log", tmp_path)))
    assert said["functions"][0x29] == 1 and said["functions"][0x28] >= 1 and said["functions"][0x4702] == 1
    assert said["functions"][0x4401] == 5 and said["write"] == 2 and said["control"] >= 3


def test_cip_log(tmp_path: Path) -> None:
    said = total(decoded(unmasked(SAMPLES / "enip" / "cip.log", tmp_path)))
    assert said["functions"] == {0x03: 11, 0x0A: 1} and said["read"] == 11 and said["exception"] == 0


def test_modbus_event() -> None:
    row = flow_of(EVE_MODBUS, SURICATA_JSON)
    assert (row["record_kind"], row["ics_proto"], row["sensor_uid"]) == ("ics", "modbus", "2232403389523415")
    assert (row["ics_units"], row["ics_functions"]) == ([3], [23, 1])
    assert [row[f"ics_{name}_cnt"] for name in ("read", "write", "control", "exception")] == [1, 1, 0, 1]
    assert (row["ics_addr_min"], row["ics_addr_max"], row["ics_quantity"]) == (1, 21, 6)
    assert row["start_ts_us"] == row["end_ts_us"] and row["quality"] == "no_bytes,no_flags"


def test_dnp3_event() -> None:
    row = flow_of(EVE_DNP3, SURICATA_JSON)
    assert (row["ics_proto"], row["ics_units"], row["ics_functions"]) == ("dnp3", [1, 10], [130, 1])
    assert (row["ics_addr_min"], row["ics_addr_max"], row["ics_quantity"], row["ics_exception_cnt"]) == (2, 9, 8, 1)


def test_events_of_a_file_in_order_of_time(tmp_path: Path) -> None:
    lines = [json.dumps(event) for event in (EVE, EVE_MODBUS, {**EVE, "event_type": "dns"}, EVE_DNP3)]
    (tmp_path / "eve.json").write_text("\n".join(lines))
    result = decoded(tmp_path / "eve.json")
    assert (result.records, result.skipped, result.rejects.num_rows) == (3, 1, 0)
    assert result.flows["record_kind"].to_pylist() == ["ics", "ics", "end"]  # the flow ended an hour and a half later


def test_every_log_is_recognised_by_its_path_its_wrapper_or_its_columns() -> None:
    for log, record in RECORDS.items():
        fields = "\t".join(("#fields", *record))
        assert guess(f"#separator \\x09\n#path\t{log}\n{fields}\n".encode()) == f"zeek-{log}+tsv"
        for form in ({**record, "_path": log}, {log: record}):
            assert guess(json.dumps(form).encode()) == f"zeek-{log}+json"
    distinctive: dict[str, dict[str, Any]] = {
        "modbus": {},
        "modbus_detailed": {"matched": True},
        "modbus_mask_write_register": {"and_mask": 1},
        "s7comm_plus": {"opcode_name": "Request"},
    }
    for log, record in RECORDS.items():
        assert guess(json.dumps({**record, **distinctive.get(log, {})}).encode()) == f"zeek-{log}+json", log


def test_a_log_that_is_not_read_is_refused_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    for text in ("#separator \\x09\n#path\tcotp\n#fields\tts\tuid\n", '{"_path":"cotp","ts":1}', '{"cotp":{"ts":1}}'):
        path.write_text(text)
        with pytest.raises(BadData, match="the Zeek log cotp"):
            decoded(path)


def test_a_folder_is_one_sensor_in_order_of_time(tmp_path: Path) -> None:
    folder = tmp_path / "plant-zeek"
    for name in ("conn", "modbus_detailed"):
        unmasked(SAMPLES / "modbus" / f"{name}.log", folder)
    (folder / "weird.log").write_text("#separator \\x09\n#path\tweird\n#fields\tts\tuid\n1\tC\n")
    result = decoded(folder)
    assert (result.sensor, result.records, result.rejects.num_rows) == ("plant-zeek", 28, 0)
    assert result.content_type == "zeek-conn+tsv, zeek-modbus_detailed+tsv"
    assert len(result.unread) == 1 and "the Zeek log weird" in result.unread[0]
    ends = result.flows["end_ts_us"].to_pylist()
    assert ends == sorted(ends) and Counter(result.flows["record_kind"].to_pylist()) == {"end": 2, "ics": 26}
    assert sorted(result.flows["source_record"].to_pylist()) == list(range(28))
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadData, match="a folder of 0 files"):
        decoded(tmp_path / "empty")


def test_messages_of_a_folder_hold_records_of_one_file_each(tmp_path: Path) -> None:
    for name in ("conn", "modbus_detailed"):
        unmasked(SAMPLES / "modbus" / f"{name}.log", tmp_path / "f")
    source = read_source(tmp_path / "f").by_end_time()
    for most in (1, 3, 100):
        cuts = [*source.cuts(most).tolist(), len(source)]
        files_of = [source.which[first:last].tolist() for first, last in pairwise(cuts)]
        assert all(len(set(files)) == 1 and len(files) <= most for files in files_of) and sum(map(len, files_of)) == 28
    moved = source.shifted(5_000_000)
    assert (moved.end_times_us() - source.end_times_us()).tolist() == [5_000_000] * 28


def test_the_table_of_functions() -> None:
    assert tuple(ZEEK_LOGS) == ZEEK_ICS_LOGS
    protocols = set(load("flow").field("ics_proto").enum) | {"s7comm-plus"}
    for proto, functions in all_functions().items():
        assert proto in protocols and functions.source
        assert all(0 <= code < 2**32 for code in functions.access)
        assert all(bits in (0, READ, WRITE, CONTROL, READ | WRITE) for bits in functions.access.values())
        assert set(functions.names.values()) == set(functions.access)
    # A connection may carry both: their numbers must differ.
    assert not set(all_functions()["cip"].access) & set(all_functions()["enip"].access)
    assert not set(all_functions()["s7comm"].access) & set(all_functions()["s7comm-plus"].access)


@needs("formats", "real logs of Zeek's ICS parsers are decoded without rejects")
def test_real_logs_are_decoded_without_rejects(tmp_path: Path) -> None:
    formats = FOLDER / "formats"
    logs = [path for log in ZEEK_ICS_LOGS for path in formats.glob(f"zeek-*/**/{log}.log")]
    assert len(logs) > 15
    functions: Counter[str] = Counter()
    for path in logs:
        masked = MASKED in path.read_text()[:10_000]
        result = decoded(unmasked(path, tmp_path) if masked else path)
        assert result.rejects.num_rows == 0 and result.flows.num_rows > 0, (path, result.rejects.to_pylist()[:3])
        functions[path.stem] += sum(total(result)["functions"].values())
    assert functions["modbus"] > 8000 and functions["dnp3"] > 600 and functions["opcua_binary"] > 50
