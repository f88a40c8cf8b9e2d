"""Files as people have them (samples/field-cases/SOURCE.md): each is read rightly, or refused by its name."""

import bz2
import gzip
import json
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest

from pipeline.errors import BadData
from pipeline.ingest.files.offline_rows import Decoded, decode_file

SAMPLES = Path(__file__).parents[1] / "samples/field-cases"
# Long after the samples' times.
SENT_US = 1_800_000_000_000_000
Check = Callable[[Decoded], bool]


def decoded(path: Path | str, **options: Any) -> Decoded:
    return decode_file(path, ingest_ts_us=SENT_US, max_future_us=0, **options)


def sample(case: str) -> Path:
    (path,) = (entry for entry in (SAMPLES / case).iterdir())
    return path


def column(result: Decoded, name: str) -> list[Any]:
    values: list[Any] = result.flows[name].to_pylist()
    return values


def octets(result: Decoded) -> int:
    return int(pc.sum(result.flows["fwd_bytes"]).as_py())


def said(result: Decoded, *words: str) -> bool:
    """Whether each word is in the one note there is."""
    return len(result.notes) == 1 and all(word in result.notes[0] for word in words)


READ: dict[str, tuple[int, int, Check]] = {
    "z01-mixed-path-conn-first": (2, 0, lambda result: result.skipped == 2 and said(result, "1 of weird", "of dns")),
    "f02-folder-conn_long-json": (2, 0, lambda result: octets(result) == 3_500 and "dns" in result.unread[0]),
    "z32-interim": (1, 0, lambda result: octets(result) == 400 and said(result, "2 interim records")),
    "a09-two-headers-differ": (
        2,
        0,
        lambda result: (column(result, "fwd_bytes"), column(result, "rev_pkts")) == ([720, 720], [4, 4]),
    ),
    "z07-path_func-tsv": (2, 0, lambda result: result.content_type == "zeek-conn+tsv"),
    "x09c-include-filter": (1, 0, lambda result: said(result, "conn_state", "history", "orig_pkts")),
    "n02-no-brackets": (2, 0, lambda result: result.content_type == "nfdump+json"),
    "s06-jq-pretty": (2, 0, lambda result: result.content_type == "suricata-eve+json"),
    "g03-docker-log-head": (2, 2, lambda result: result.rejects["reason"].to_pylist() == ["not_json"] * 2),
    "m05-mask-write-link-id": (1, 0, lambda result: "mask_write" in result.content_type),
    "z13-zst": (2, 0, lambda result: result.content_type == "zeek-conn+json"),
    "z12-utf16": (2, 0, lambda result: result.content_type == "zeek-conn+tsv"),
    "z27-filebeat-message": (1, 0, lambda result: column(result, "sensor_uid") == ["CA1"]),
    "x10-zip-two": (1, 0, lambda result: not result.notes),
    "x11-truncated-gz": (385, 0, lambda result: said(result, "truncated", "385 lines", "lost")),
}
REFUSED: dict[str, str] = {
    "m03-read-device-id": "the Zeek log modbus_read_device_identification, which holds no flows",
    "a03-ra-no-dur": r"without Dur, .* ra -s \+dur",
    "z26-filebeat-ecs": "Elastic Common Schema.*send the sensor's log lines",
    "x03-pcap": "packet capture.*zeek -C -r FILE or suricata -r FILE",
    "g01-goflow2-v1": r"GoFlow2 1\.x",
    "c05-python-port": "CICFlowMeter's Python port",
    "i01-ipfixcol1": "ipfixcol 1; ipfixcol2",
}


@pytest.mark.parametrize("case", READ)
def test_a_case_is_read(case: str) -> None:
    flows, rejects, check = READ[case]
    result = decoded(sample(case))
    assert (result.flows.num_rows, result.rejects.num_rows) == (flows, rejects), result.rejects.to_pylist()
    assert result.records == flows + rejects and check(result), (result.notes, result.flows.to_pylist()[:3])


@pytest.mark.parametrize("case", REFUSED)
def test_a_case_is_refused_by_what_it_is(case: str) -> None:
    with pytest.raises(BadData, match=REFUSED[case]) as refused:
        decoded(sample(case))
    assert refused.value.exit_code == 64 and "suricata-eve+json" not in str(refused.value)


ENDS = {"id.orig_h": "192.0.2.7", "id.orig_p": 50820, "id.resp_h": "198.51.100.9", "id.resp_p": 502, "proto": "tcp"}
CONN = {"ts": 1700000000.25, "uid": "C1", **ENDS, "duration": 2.5, "orig_bytes": 5, "conn_state": "SF"}
DNS = {"ts": 1700000001.0, "uid": "C2", **ENDS, "query": "plc7.example"}
MODBUS = {"ts": 1700000001.0, "uid": "C1", **ENDS, "func": "READ_COILS"}
EVE: dict[str, Any] = json.loads((SAMPLES / "s07-failed-icmp-v6/eve.json").read_text().splitlines()[0])
ALERT = {**EVE, "event_type": "alert"}


def lines(*records: Any) -> str:
    return "\n".join(record if isinstance(record, str) else json.dumps(record) for record in records)


def written(folder: Path, content: str | bytes, name: str = "a.log") -> Path:
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return folder / name


def test_a_file_of_several_formats_is_read_in_its_order(tmp_path: Path) -> None:
    mix = (DNS, MODBUS, "text", CONN, EVE, ALERT, MODBUS, {"message": json.dumps(CONN)})
    result = decoded(written(tmp_path, lines(*mix)), arrival_order=True)
    assert result.content_type == "zeek-modbus+json, zeek-conn+json, suricata-eve+json"
    assert column(result, "source_record") == [1, 3, 4, 6, 7] and result.rejects["source_record"].to_pylist() == [2]
    assert result.skipped == 2 and said(result, "1 record", "alert", "does not say its name")


@pytest.mark.parametrize("pretty", [{"indent": 2}, {"indent": "\t"}])
@pytest.mark.parametrize("head", ["", "INFO[0000] start\n", "[warn] two\nlines\n"])
def test_objects_over_several_lines(head: str, pretty: dict[str, Any], tmp_path: Path) -> None:
    texts = [json.dumps(record, **pretty) for record in (CONN, {**CONN, "uid": "C9"})]
    for content in (
        "\n".join(texts),
        "[\n" + ",\n".join(texts) + "\n]",
        "[" + ",".join(map(json.dumps, [CONN] * 2)) + "]",
    ):
        result = decoded(written(tmp_path, head + content))
        assert (result.flows.num_rows, result.rejects.num_rows) == (2, head.count("\n")), (head, content)


def test_a_broken_first_line_does_not_swallow_the_file(tmp_path: Path) -> None:
    result = decoded(written(tmp_path, '{"broken":\n' + lines(CONN, CONN)))
    assert (result.flows.num_rows, result.rejects.num_rows) == (2, 1)


@pytest.mark.parametrize(
    ("records", "remedy"),
    [
        ((ALERT, ALERT), "2 records of alert, .* switch on type flow"),
        ((DNS,), r"Zeek log .* send conn\.log"),
        (({"_path": "dns", **DNS},), "the Zeek log dns"),
        (({"weird": DNS},), "the Zeek log weird"),
        (({"message": json.dumps(ALERT)},), "alert"),
        (("hello",), "unrecognised format"),
        (({"hello": 1},), "unrecognised format"),
    ],
)
def test_a_file_of_other_logs_says_what_to_send(records: Any, remedy: str, tmp_path: Path) -> None:
    with pytest.raises(BadData, match=remedy):
        decoded(written(tmp_path, lines(*records)))


def test_near_misses_beside_flows_are_rejects_that_say_what_they_are(tmp_path: Path) -> None:
    ecs = json.loads(sample("z26-filebeat-ecs").read_text())
    result = decoded(written(tmp_path, lines(CONN, ecs)))
    assert (result.flows.num_rows, result.rejects["reason"].to_pylist()) == (1, ["content_type"])
    assert "Elastic Common Schema" in result.rejects["detail"][0].as_py() and said(result, "Elastic")


def test_interim_records_of_tsv_and_of_several_files(tmp_path: Path) -> None:
    names = ["ts", "uid", *ENDS, "duration", "orig_bytes", "conn_state"]
    head = "#separator \\x09\n#path\tconn_long\n#fields\t" + "\t".join(names) + "\n"
    rows = [{**CONN, "duration": lasts, "orig_bytes": count} for lasts, count in ((9.0, 90), (3.0, 30))]
    table = head + "\n".join("\t".join(str(row[name]) for name in names) for row in rows)
    assert octets(decoded(written(tmp_path, table, "conn_long.log"))) == 90
    written(tmp_path, lines({**CONN, "duration": 20.0, "orig_bytes": 200}, {**CONN, "uid": "C7"}), "conn.log")
    result = decoded(tmp_path)
    assert octets(result) == 205 and result.skipped == 2
    # Another connection of the same name at another time, and a record that came twice, are no interim records.
    again = lines(CONN, CONN, {**CONN, "ts": 1700009999.0, "duration": 1.0})
    assert decoded(written(tmp_path, again, "x")).flows.num_rows == 3


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_packed_files_are_read_as_far_as_they_go(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    # Differing lines: packed, they are many blocks.
    whole = "\n".join(
        lines({**CONN, "uid": f"C{n * 7919 % 100_003}", "orig_bytes": n * n}) for n in range(40_000)
    ).encode()
    packed = pack(whole)
    assert decoded(written(tmp_path, pack(whole[:700]) + pack(whole[700:1400]), "two")).records >= 4
    assert decoded(written(tmp_path, pack(whole[:700]) + b"\0" * 512, "padded")).records >= 2
    result = decoded(written(tmp_path, packed[: len(packed) * 3 // 4], "cut"))
    assert 0 < result.records < 40_000 and not result.rejects.num_rows and said(result, "truncated")
    with pytest.raises(BadData, match="cannot be unpacked"):
        decoded(written(tmp_path, packed[:15], "short"))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
def test_text_of_windows(encoding: str, tmp_path: Path) -> None:
    assert decoded(written(tmp_path, lines(CONN, CONN).encode(encoding))).flows.num_rows == 2
    table = (SAMPLES / "a12-excel-serial/ra.csv").read_text().replace("45244.92593", "1700000000.25")
    assert decoded(written(tmp_path, table.encode(encoding))).flows.num_rows == 1


def test_litter_in_zips_and_folders_does_not_count(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("logs/", "logs/.DS_Store", "__MACOSX/logs/._conn.log", "logs/._x", "logs/conn.log"):
            archive.writestr(name, "" if name.endswith("/") else lines(CONN))
    assert decoded(tmp_path / "a.zip").flows.num_rows == 1
    (tmp_path / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    assert decoded(tmp_path).unread == ()
    with zipfile.ZipFile(tmp_path / "a.zip", "a") as archive:
        archive.writestr("dns.log", "x")
    with pytest.raises(BadData, match="zip of 2 files"):
        decoded(tmp_path / "a.zip")


@pytest.mark.parametrize("magic", [b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\xc3\xd4", b"\x4d\x3c\xb2\xa1", b"\x0a\x0d\x0d\x0a"])
def test_captures_are_named_packed_or_not(magic: bytes, tmp_path: Path) -> None:
    for pack in (bytes, gzip.compress):
        with pytest.raises(BadData, match="packet capture"):
            decoded(written(tmp_path, pack(magic + b"\2\0\4\0" + bytes(40))))


def test_headers_again_in_csv(tmp_path: Path) -> None:
    header, row = (SAMPLES / "a12-excel-serial/ra.csv").read_text().replace("45244.92593", "1700000000.25").split()
    same = decoded(written(tmp_path, "\n".join(["ra: starting", header, row, header, row, header])))
    assert (same.flows.num_rows, same.rejects.num_rows, same.skipped) == (2, 0, 3)
    assert column(same, "source_record") == [0, 1]
    quoted = ",".join(f'"{name}"' for name in header.split(","))
    assert decoded(written(tmp_path, "\n".join([header, row, quoted, row]))).flows.num_rows == 2


@pytest.mark.parametrize("name", ["dns", "weird", "conn_long", "modbus"])
def test_what_says_that_it_is_another_logs_is_no_flow_even_where_the_format_is_named(name: str, tmp_path: Path) -> None:
    path = written(tmp_path, lines({"_path": name, **CONN}, {"_path": "conn-internal", **CONN}))
    result = decoded(path, content_type="zeek-conn+json")
    assert (result.flows.num_rows, result.rejects["reason"].to_pylist()) == (1, ["other_log"])


def test_a_filter_without_what_a_flow_needs_is_said_once(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"#fields without id\.resp_p, proto"):
        decoded(written(tmp_path, "#path\tconn\n#fields\tts\tid.orig_h\tid.orig_p\tid.resp_h\n1\ta\t2\tb\n"))
