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

from pipeline.contracts.date_order import DateOrder
from pipeline.errors import BadData
from pipeline.ingest.files.offline_rows import Decoded, decode_file
from pipeline.tools.cli import flow as flow_commands
from tests.commands import forebay

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
    "n01-unpadded-ms": (
        3,
        0,
        lambda result: (
            sorted(column(result, "duration_us")) == [35_000, 2_116_000, 2_738_000]
            and sorted(at % 1_000_000 for at in column(result, "start_ts_us")) == [7_000, 7_000, 12_000]
        ),
    ),
    "c04-month-first": (
        2,
        0,
        lambda result: [at // 86_400_000_000 for at in column(result, "start_ts_us")] == [19_664, 19_675],
    ),
    "z08-ts-millis": (2, 0, lambda result: column(result, "start_ts_us")[0] == 1_700_000_000_250_000),
    "s01-netflow-only": (
        2,
        0,
        lambda result: (
            column(result, "is_biflow") == [False] * 2
            and column(result, "quality") == ["no_rev,one_way"] * 2
            and column(result, "fwd_bytes") == [720, 480]
            and column(result, "fwd_tcp_flags") == [0x1B] * 2
        ),
    ),
    "a12-excel-serial": (0, 1, lambda result: "serial date" in result.rejects["detail"][0].as_py()),
    "z20-huge-resp_bytes": (
        1,
        0,
        lambda result: (
            column(result, "rev_payload_bytes") == [56_983]
            and column(result, "quality") == ["bytes_bounded,gap"]
            and said(result, "more payload", "1 flow")
        ),
    ),
    "z21-checksum-C": (1, 0, lambda result: said(result, "zeek -C")),
    "g10-exporter-clock": (
        2,
        0,
        lambda result: column(result, "quality") == ["clock,no_rev,one_way"] * 2 and said(result, "clock", "NTP"),
    ),
    "s07-failed-icmp-v6": (2, 0, lambda result: sorted(column(result, "app_proto"), key=str) == [None, "modbus"]),
    "s10-esc": (1, 1, lambda result: True),
    "x11-truncated-gz": (385, 0, lambda result: said(result, "truncated", "385 lines", "lost")),
}
REFUSED: dict[str, str] = {
    "m03-read-device-id": "the Zeek log modbus_read_device_identification, which holds no flows",
    "a03-ra-no-dur": r"without Dur, .* ra -s \+dur",
    "z26-filebeat-ecs": "Elastic Common Schema.*send the sensor's log lines",
    "x03-pcap": "packet capture.*zeek -C -r FILE or suricata -r FILE",
    "g01-goflow2-v1": r"GoFlow2 1\.x",
    "a02-ra-default-u": r"without SrcBytes, DstBytes, .* ra -s \+sbytes \+dbytes",
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


@pytest.mark.parametrize(
    ("ts", "us"), [("1700000000250", 250_000), ("1.70000000025e15", 250_000), ("1700000000250000000", 250_000)]
)
def test_zeeks_times_in_other_units_than_seconds(ts: str, us: int, tmp_path: Path) -> None:
    path = written(tmp_path, lines(CONN).replace("1700000000.25", ts))
    assert column(decoded(path), "start_ts_us") == [1_700_000_000_000_000 + us]


CIC = (SAMPLES / "c04-month-first/flows.csv").read_text().splitlines()


def cic(*dates: str) -> str:
    return "\n".join([CIC[0], *(CIC[2].replace("11/3/2023", date) for date in dates)])


def days(path: Path, order: DateOrder | None = None) -> list[int]:
    return sorted(at // 86_400_000_000 for at in column(decoded(path, date_order=order), "start_ts_us"))


def test_one_row_proves_the_order_of_all_dates(tmp_path: Path) -> None:
    day, month = 19_664, 19_427  # 3 November, 11 March 2023
    assert days(written(tmp_path, cic("11/3/2023", "13/3/2023"))) == [month, month + 2]
    assert days(written(tmp_path, cic("11/3/2023", "11/13/2023"))) == [day, day + 10]
    undecided = written(tmp_path, cic("11/3/2023"))
    assert days(undecided) == [month] and said(decoded(undecided), "day first", "--date-order month")
    assert days(undecided, DateOrder.MONTH) == [day] and days(undecided, DateOrder.DAY) == [month]
    for dates, order in ((("11/13/2023", "13/11/2023"), None), (("13/11/2023",), DateOrder.MONTH)):
        with pytest.raises(BadData, match=r"dates as 13/11.*split the file, or correct --date-order"):
            decoded(written(tmp_path, cic(*dates)), date_order=order)


NETFLOW = [json.loads(line) for line in (SAMPLES / "s01-netflow-only/eve-netflows.json").read_text().splitlines()]


def test_netflow_events_beside_flow_events_do_not_count_twice(tmp_path: Path) -> None:
    result = decoded(written(tmp_path, lines(NETFLOW[0], EVE, NETFLOW[1], ALERT)))
    assert result.flows.num_rows == 1
    assert (
        "1 record of alert" in result.notes[0] and "2 records of netflow are left out: flow events" in result.notes[1]
    )
    modbus = {
        "timestamp": EVE["timestamp"],
        "event_type": "modbus",
        **{k: EVE[k] for k in ("src_ip", "dest_ip", "proto")},
    }
    mixed = decoded(written(tmp_path, lines(NETFLOW[0], {**modbus, "src_port": 1, "dest_port": 502, "modbus": {}})))
    assert sorted(column(mixed, "is_biflow")) == [False, True]


@pytest.mark.parametrize("escape", ["\x1b]0;pwned\x07", "\x9b31m", "\u202e", "\x00", "\u200b"])
def test_nothing_of_a_record_steers_the_terminal(escape: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cases = {
        "raw": lines(
            CONN,
            '{"event_type":"flow","src_ip":"' + escape + '"}',
            {**CONN, "proto": escape},
            {**CONN, "service": escape},
        ),
        "log": lines(CONN, {"_path": escape, "ts": 1}, {escape: 1}),
        "other": lines({"_path": escape, "ts": 1}, {"event_type": escape}),
        "tsv": f"#separator \\x09\n#path\tx{escape}\n#fields\tts\tquery{escape}\n1\t2\n",
        "csv": (SAMPLES / "a12-excel-serial/ra.csv").read_text().replace("FIN", escape).replace("45244", escape),
        "all rejects": lines({**CONN, "id.orig_h": escape}),
    }
    for name, content in cases.items():
        path = written(tmp_path, content.encode(), name)
        for arguments in (["check"], ["check", "--fields"], ["check", "--json"], ["features", "--out", "x.parquet"]):
            ended = forebay("flow", *arguments, str(path))
            text = (ended.stdout + ended.stderr).replace("\n", "")
            assert text and text.isprintable(), (name, arguments, [c for c in text if not c.isprintable()])


def test_a_file_without_a_flow_ends_with_64_and_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, lines({**CONN, "proto": "x"}, {**CONN, "proto": "y"}))
    with pytest.raises(BadData, match=r"no flow in 2 records, .* 2 are rejected for protocol: ") as refused:
        flow_commands.check(str(path))
    assert refused.value.exit_code == 64 and '"rejected":2' in capsys.readouterr().out
