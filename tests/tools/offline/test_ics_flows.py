"""Logs of industrial protocols and conn.log of one sensor end as flows that say what was asked of the devices."""

from pathlib import Path

from pipeline.ingest.files.offline_rows import decode_file
from pipeline.settings import load_settings
from pipeline.tools.offline.flow_file import featurize
from tests.ingest.records import MAX_FUTURE_US, SENT_US
from tests.ingest.test_ics_logs import FIRST_S, MASKED, SAMPLES, unmasked


def test_modbus_and_its_connections(tmp_path: Path) -> None:
    for name in ("modbus_detailed", "modbus_mask_write_register", "modbus_read_write_multiple_registers", "conn"):
        path = unmasked(SAMPLES / "modbus" / f"{name}.log", tmp_path)
        # The baselines mask when it was; it took 6 ms.
        lines = path.read_text().splitlines()
        start = f"{FIRST_S}.000000" if name == "conn" else f"{FIRST_S}.003000"
        path.write_text(
            "\n".join(line if line.startswith("#") else "\t".join((start, *line.split("\t")[1:])) for line in lines)
        )
    decoded = decode_file(tmp_path, ingest_ts_us=SENT_US, max_future_us=MAX_FUTURE_US)
    assert decoded.rejects.num_rows == 0 and MASKED not in str(decoded.flows["start_ts_us"])
    done = featurize(decoded, load_settings())
    rows = {row["sensor_uid"]: row for row in done.rows.drop_columns(["features"]).to_pylist()}
    assert len(rows) == done.rows.num_rows == 2 and done.late == 0
    first, second = rows["CHhAvVGS1DHFjwGM9"], rows["ClEkJM2Vm5giqnMf4h"]
    assert {row["record_kind"] for row in rows.values()} == {"end"} and first["ics_proto"] == "modbus"
    assert (first["fwd_bytes"], first["rev_bytes"], first["conn_state"]) == (292, 393, "SF")
    assert first["ics_units"] == [1, 2, 4, 5, 6, 7, 8, 10] and first["ics_functions"][:4] == [1, 2, 2, 2]
    assert (first["ics_read_cnt"], first["ics_write_cnt"], first["ics_control_cnt"]) == (17, 9, 1)
    assert (first["ics_addr_min"], first["ics_addr_max"], first["ics_exception_cnt"]) == (0, 10, 0)
    assert (second["ics_exception_cnt"], second["ics_addr_min"], second["ics_addr_max"]) == (1, 600, 609)
    # Two connections and 34 records: each row says which positions it was made of.
    counted = sum(1 + len(row["raw_also"] or []) // 2 for row in rows.values())
    assert counted == decoded.records == 36
