"""Files: formats recognised, headers and labels removed, records in order, every one of them decoded or rejected."""

import gzip
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts.raw import ICSFLOW_CSV, SURICATA_JSON, ZEEK_JSON, ZEEK_TSV
from pipeline.errors import BadData
from pipeline.ingest.files.guess import guess
from pipeline.ingest.files.labels import strip_columns, strip_keys
from pipeline.ingest.files.offline_rows import Decoded, decode_file
from pipeline.ingest.files.shift import shifted
from pipeline.ingest.late import late_rows
from tests.ingest.files.one_source import read_records
from tests.ingest.records import EVE, ICSFLOW, MAX_FUTURE_US, SENT_US, ZEEK
from tests.real_records import FOLDER, needs

WESTERMO = Path(__file__).parents[3] / "loadtest/plants/westermo"
TSV_HEAD = (
    "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn\n"
    "#fields\t" + "\t".join([*ZEEK, "tunnel_parents   label   detailed-label"]) + "\n#types\ttime\n"
)
TSV_ROW = "\t".join(map(str, ZEEK.values())) + "\t-   Malicious   C&C"


def written(folder: Path, content: bytes | str, name: str = "plc-7.log") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def decoded(path: Path | str, **options: object) -> Decoded:
    return decode_file(path, ingest_ts_us=SENT_US, max_future_us=MAX_FUTURE_US, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("head", "wanted"),
    [
        (json.dumps(ZEEK), ZEEK_JSON),
        (json.dumps({"conn": ZEEK}), ZEEK_JSON),
        (json.dumps({**ZEEK, "_path": "conn"}), ZEEK_JSON),
        ("\n\nnot json{\n", None),
        ('{"broken":\n' + json.dumps(ZEEK), ZEEK_JSON),
        (json.dumps({**ZEEK, "_path": "dns"}), None),
        (json.dumps({"ts": 1, "uid": "x", "id.orig_h": "1.1.1.1", "id.resp_h": "1.1.1.2", "query": "a"}), None),
        (json.dumps(EVE), SURICATA_JSON),
        ('{"event_type":"alert"}', SURICATA_JSON),
        (TSV_HEAD, ZEEK_TSV),
        (TSV_HEAD.replace("conn", "dns"), None),
        (",".join(ICSFLOW), ICSFLOW_CSV),
        ("a,b,c\n1,2,3\n", None),
        ("[1,2]", None),
        ("", None),
    ],
)
def test_formats_are_recognised_by_the_head(head: str, wanted: str | None) -> None:
    assert guess(head.encode()) == wanted


@given(st.binary(max_size=200))
def test_guessing_never_raises(head: bytes) -> None:
    guess(head)
    guess(b"#fields\t" + head)
    guess(b"{" + head)


def test_an_empty_file_has_no_records(tmp_path: Path) -> None:
    for content in ("", "\n \n"):
        result = decoded(written(tmp_path, content))
        assert (result.records, result.flows.num_rows, result.rejects.num_rows) == (0, 0, 0)
    assert decoded(written(tmp_path, ",".join(ICSFLOW))).records == 0


def test_an_unknown_file_is_refused_with_the_known_formats(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"icsflow\+csv.*zeek-conn\+json"):
        decoded(written(tmp_path, "hello"))
    with pytest.raises(BadData, match="expected a file that can be read"):
        decoded(tmp_path / "missing")
    with pytest.raises(BadData, match="expected one of"):
        decoded(written(tmp_path, "hello"), content_type="pcap")


def test_gzip_and_zip(tmp_path: Path) -> None:
    line = json.dumps(ZEEK).encode()
    assert decoded(written(tmp_path, gzip.compress(line), "a.gz")).records == 1
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("conn.log", line)
    assert decoded(tmp_path / "b.zip").records == 1
    with zipfile.ZipFile(tmp_path / "b.zip", "a") as archive:
        archive.writestr("other.log", line)
    for path in (
        tmp_path / "b.zip",
        written(tmp_path, gzip.compress(line)[:-9], "c.gz"),
        written(tmp_path, b"PK\x03\x04", "d"),
    ):
        with pytest.raises(BadData):
            decoded(path)


def test_records_are_sent_in_the_order_of_their_ends(tmp_path: Path) -> None:
    times = [5.0, 3.0, 4.0, 3.0]
    lines = [json.dumps({**ZEEK, "ts": time, "duration": 0.5, "uid": f"C{at}"}) for at, time in enumerate(times)]
    lines.insert(2, "broken")  # goes where the one before it goes
    path = written(tmp_path, "\n".join(lines))
    result = decoded(path)
    assert result.sensor == "plc-7" and result.site == "default"
    assert result.flows["source_record"].to_pylist() == [1, 4, 3, 0]
    assert result.flows["raw_offset"].to_pylist() == [0, 2, 3, 4]
    assert result.rejects["source_record"].to_pylist() == [2] and result.rejects["raw_offset"].to_pylist() == [1]
    arrival = decoded(path, arrival_order=True)
    assert arrival.flows["source_record"].to_pylist() == [0, 1, 3, 4]


def test_zeek_tsv_loses_its_header_and_its_labels(tmp_path: Path) -> None:
    path = written(tmp_path, TSV_HEAD + TSV_ROW + "\n" + TSV_ROW + "\n#close\t2019\n")
    source = read_records(path)
    assert source.columns == (*ZEEK, "tunnel_parents")
    assert all(b"Malicious" not in record and record.endswith(b"\t-") for record in source.records)
    assert decoded(path).flows.num_rows == 2


def test_zeek_tsv_with_other_marks(tmp_path: Path) -> None:
    head = TSV_HEAD.replace("\t", ",").replace("\\x09", "\\x2c").replace("field,-", "field,NONE")
    path = written(
        tmp_path, head.replace("set_separator,,", "set_separator,|") + TSV_ROW.replace("\t", ",").replace("ssl", "NONE")
    )
    (row,) = decoded(path).flows.to_pylist()
    assert row["app_proto"] is None and row["src_port"] == 50820


def test_two_different_headers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="two different"):
        read_records(written(tmp_path, TSV_HEAD + TSV_ROW + "\n" + TSV_HEAD.replace("\tproto", "\tprotocol")))
    assert decoded(written(tmp_path, (TSV_HEAD + TSV_ROW + "\n") * 2)).flows.num_rows == 2


def test_other_events_of_an_eve_file_are_no_records(tmp_path: Path) -> None:
    lines = [json.dumps(EVE), json.dumps({**EVE, "event_type": "alert"}), "broken", json.dumps(EVE)]
    result = decoded(written(tmp_path, "\n".join(lines)))
    assert (result.records, result.skipped) == (3, 1)
    assert result.flows["source_record"].to_pylist() == [0, 3]
    assert result.rejects["source_record"].to_pylist() == [2]


def test_label_columns_are_taken_out_wherever_they_stand() -> None:
    rows = [b"1,evil,2", b'"1,x",evil,"2"', b"1,evil", b"1,evil,2,3"]
    stripped, names = strip_columns(rows, ["a", "IT_B_Label", "b"], ",")
    assert names == ["a", "b"] and stripped == [b"1,2", b'"1,x",2', b"1,evil", b"1,evil,2,3"]
    stripped, names = strip_columns(rows, ["a", "b", "LABELS"], ",")
    assert names == ["a", "b"] and stripped == [b"1,evil", b'"1,x",evil', b"1,evil", b"1,evil,2,3"]
    assert strip_columns(rows, ["a", "b", "c"], ",") == (rows, ["a", "b", "c"])


def test_label_keys_are_taken_out_at_any_depth() -> None:
    records = [b'{"ts":1.5,"Label":"evil","a":{"my_label":1,"b":[{"label":2}]}}', b'{"ts": 1}', b'{"label":']
    assert strip_keys(records) == [b'{"ts":1.5,"a":{"b":[{}]}}', b'{"ts": 1}', b'{"label":']


@pytest.mark.parametrize(
    ("content", "before", "after"),
    [
        (json.dumps(ZEEK), "1678440574.078823", "1678440575.578823"),
        (json.dumps({"conn": {**ZEEK, "ts": "2023-03-10T09:29:34.078823Z"}}), "34.078823Z", "35.578823Z"),
        (json.dumps(EVE), "2021-06-06T17:34:31.140759+0200", "2021-06-06T15:34:32.640759+0000"),
        (TSV_HEAD + TSV_ROW, "1678440574.078823", "1678440575.578823"),
        (",".join(ICSFLOW) + "\n" + ",".join(ICSFLOW.values()), "1678440574.08554", "1678440575.585540"),
    ],
)
def test_times_are_moved_in_the_form_they_have(tmp_path: Path, content: str, before: str, after: str) -> None:
    source = read_records(written(tmp_path, content))
    moved = shifted(source, 1_500_000)
    assert before.encode() in source.records[0] and after.encode() in moved.records[0]
    assert (moved.end_times_us() - source.end_times_us()).tolist() == [1_500_000]


@given(st.lists(st.integers(0, 100)), st.integers(0, 20))
def test_late_rows(ends: list[int], lateness: int) -> None:
    wanted = [end < max(ends[:at], default=end) - lateness for at, end in enumerate(ends)]
    assert late_rows(np.array(ends, np.int64), lateness).tolist() == wanted


def test_westermo_is_decoded_whole() -> None:
    result = decoded(WESTERMO / "output_left.zip", site="westermo")
    assert (result.records, result.flows.num_rows, result.rejects.num_rows) == (8533, 8533, 0)
    assert result.content_type == ICSFLOW_CSV and result.sensor == "output_left"
    assert sorted(result.flows["source_record"].to_pylist()) == list(range(8533))
    ends = result.flows["end_ts_us"].to_numpy()
    assert (np.diff(ends) >= 0).all()
    states = set(result.flows["conn_state"].to_pylist())
    assert {"S0", "REJ", "SF", "OTH"} <= states or {"RSTO", "SF", "OTH"} <= states
    assert sum(result.flows["ip_proto"].is_null().to_pylist()) == 3515


@needs("formats", "real logs of Zeek and Suricata are decoded without rejects")
def test_real_logs_are_decoded_without_rejects() -> None:
    folder = FOLDER
    logs = [
        *folder.glob("formats/zeek-*/**/conn.log"),
        *folder.glob("iot-23/*labeled"),
        *folder.glob("formats/suricata-eve/*.json"),
    ]
    assert len(logs) > 15
    for path in logs:
        result = decoded(path)
        assert result.records == result.flows.num_rows + result.rejects.num_rows
        if b"XXXXXXXXXX" in path.read_bytes()[:10_000]:
            # Baselines whose times are masked.
            assert set(result.rejects["reason"].to_pylist()) == {"time"} and result.flows.num_rows == 0, path
        else:
            assert result.rejects.num_rows == 0 and result.flows.num_rows > 0, (path, result.rejects.to_pylist()[:3])


def test_zeek_json_is_the_same_flow_however_it_is_wrapped(tmp_path: Path) -> None:
    ends = {name.removeprefix("id."): value for name, value in ZEEK.items() if name.startswith("id.")}
    nested = {**{name: value for name, value in ZEEK.items() if not name.startswith("id.")}, "id": ends}
    forms = [ZEEK, nested, {"conn": ZEEK}, {"conn": nested}]
    texts = [json.dumps(form) for form in forms] + [json.dumps([form, form], indent=2) for form in forms]
    rows = []
    for text in texts:
        result = decoded(written(tmp_path, text))
        assert result.content_type == ZEEK_JSON and result.rejects.num_rows == 0
        rows += [{**row, "raw_offset": 0, "source_record": 0, "record_id": 0} for row in result.flows.to_pylist()]
    assert len(rows) == 12 and all(row == rows[0] for row in rows)
    labelled = written(tmp_path, json.dumps({"conn": {**ZEEK, "label": "evil"}}))
    assert b"evil" not in read_records(labelled).records[0]
