"""What writers and rotation do to files, case by case."""

import gzip
import os
from pathlib import Path

import pytest

from pipeline.contracts.raw import NFDUMP_CSV, SURICATA_JSON, ZEEK_JSON, ZEEK_TSV
from pipeline.ingest.follow.names import FileSource
from pipeline.ingest.follow.rotation import LOST_AFTER_S, FollowedFiles
from tests.ingest.follow.plant import START_S, Follower, Writer, line_of, source

HEADER = (
    b"#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn\n"
    b"#open\t%s\n#fields\t%s\n#types\t%s\n"
)
FIELDS = (b"ts", b"uid", b"id.orig_h", b"id.orig_p", b"id.resp_h", b"id.resp_p", b"proto", b"conn_state")


def zeek_header(opened: bytes, fields: tuple[bytes, ...] = FIELDS) -> bytes:
    return HEADER % (opened, b"\t".join(fields), b"\t".join([b"string"] * len(fields)))


def zeek_row(number: int, more: bytes = b"") -> bytes:
    return (
        b"\t".join(
            [b"%d.5" % (1_700_000_000 + number), b"C%d" % number, b"10.0.0.1", b"1", b"10.0.0.2", b"2", b"tcp", b"SF"]
        )
        + more
    )


def followed(*paths: Path, content_type: str | None = None) -> Follower:
    return Follower(FileSource(tuple(map(str, paths)), "plant", "edge", content_type))


def runs(files: FollowedFiles, now_s: float = START_S) -> list[tuple[str, tuple[str, ...], list[bytes]]]:
    files.poll(now_s)
    return [(run.content_type, run.columns, run.records) for _, run in files.read(now_s, 1 << 24).runs]


def test_zeek_rotates_into_a_dated_folder_while_the_follower_is_away(tmp_path: Path) -> None:
    spool, logs = tmp_path / "spool", tmp_path / "logs"
    (logs / "2026-11-28").mkdir(parents=True)
    spool.mkdir()
    (logs / "current").symlink_to(spool)
    live, rows = spool / "conn.log", [zeek_row(number) for number in range(9)]
    live.write_bytes(zeek_header(b"2026-11-28-12-00-00") + rows[0] + b"\n")
    os.utime(live, (START_S, START_S))
    follower = followed(logs / "current" / "conn.log")
    assert follower.turn(START_S) == 1
    follower.start()
    hours = (
        (b"2026-11-28-12-00-00", rows[:3]),
        (b"2026-11-28-13-00-00", rows[3:6]),
        (b"2026-11-28-14-00-00", rows[6:8]),
    )
    for hour, (opened, written) in enumerate(hours):
        packed = logs / "2026-11-28" / f"conn.{12 + hour}:00:00-{13 + hour}:00:00.log.gz"
        packed.write_bytes(gzip.compress(zeek_header(opened) + b"\n".join(written) + b"\n#close\t2026\n"))
        os.utime(packed, (START_S + 10 + hour, START_S + 10 + hour))
    (logs / "2026-11-28" / "conn-summary.13:00:00-14:00:00.log.gz").write_bytes(gzip.compress(b"no flows\n"))
    live.unlink()
    live.write_bytes(zeek_header(b"2026-11-28-15-00-00") + rows[8] + b"\n" + zeek_row(9)[:10])
    os.utime(live, (START_S + 20, START_S + 20))
    for step in range(5):
        follower.turn(START_S + 30 + step)
    assert follower.sent == rows
    assert not follower.gaps


def test_fields_that_change_begin_other_columns(tmp_path: Path) -> None:
    live = tmp_path / "conn.log"
    live.write_bytes(zeek_header(b"1") + zeek_row(0) + b"\n" + zeek_row(1) + b"\n")
    files = FollowedFiles([FileSource((str(live),), "plant", "edge")])
    names = tuple(name.decode() for name in FIELDS)
    assert runs(files) == [(ZEEK_TSV, names, [zeek_row(0), zeek_row(1)])]
    with live.open("ab") as file:
        file.write(zeek_row(2) + b"\n" + zeek_header(b"2", (*FIELDS, b"vlan")) + zeek_row(3, b"\t7") + b"\n")
    assert runs(files) == [(ZEEK_TSV, names, [zeek_row(2)]), (ZEEK_TSV, (*names, "vlan"), [zeek_row(3, b"\t7")])]


def test_events_of_eve_that_are_not_read_are_not_sent(tmp_path: Path) -> None:
    live = tmp_path / "eve.json"
    flow = b'{"timestamp":"2026-11-28T12:00:00.000000+0000","event_type":"flow","src_ip":"10.0.0.1"}'
    spaced = flow.replace(b'":"flow"', b'": "flow"')
    alert = b'{"event_type":"alert","payload_printable":"\\"event_type\\":\\"flow\\""}'
    live.write_bytes(b"\n".join([alert, flow, alert, spaced, b"{}", alert]) + b"\n")
    files = FollowedFiles([FileSource((str(live),), "plant", "edge")])
    assert runs(files) == [(SURICATA_JSON, (), [flow, spaced, b"{}"])]


def test_half_a_line_waits_for_its_end(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "conn.log")
    follower = Follower(source(writer.live))
    writer.append(1, half=True)
    assert follower.turn(writer.now_s) == 1
    writer.now_s += 10_000
    assert follower.turn(writer.now_s) == 0
    writer.append(0)
    assert follower.turn(writer.now_s) == 1
    follower.check(writer)


def test_the_last_line_of_a_file_that_was_rotated_needs_no_end(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "conn.log")
    follower = Follower(source(writer.live))
    writer.append(2)
    assert follower.turn(writer.now_s) == 2
    with writer.live.open("ab") as file:
        file.write(line_of(2))
    writer.live.rename(tmp_path / "conn.log.1")
    follower.drain(writer)
    assert follower.sent[-1] == line_of(2) and len(follower.sent) == 3


def test_a_truncation_without_a_copy_is_said_with_its_range(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "conn.log")
    follower = Follower(source(writer.live))
    writer.append(3)
    follower.turn(writer.now_s)
    size = writer.live.stat().st_size
    writer.live.write_bytes(b"")
    writer.append(1)
    follower.drain(writer)
    follower.check(writer)
    [(event, facts)] = follower.gaps
    assert event == "file truncated, and no copy of what it held"
    assert (facts["from_byte"], facts["known_bytes"], facts["records_sent"]) == (size, size, 3)


def test_a_file_truncated_and_grown_beyond_the_offset_is_another(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "conn.log")
    follower = Follower(source(writer.live))
    writer.append(1)
    follower.turn(writer.now_s)
    writer.live.write_bytes(b"")
    writer.append(50)
    follower.drain(writer)
    follower.check(writer)


def test_what_rotation_deleted_meanwhile_is_said_once(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "conn.log")
    follower = Follower(source(writer.live))
    writer.append(5)
    follower.turn(writer.now_s)
    sent = len(follower.sent)
    writer.append(5)
    writer.live.unlink()
    follower.start()
    writer.append(2)
    for step in (0, 5, LOST_AFTER_S + 1, LOST_AFTER_S + 2):
        follower.turn(writer.now_s + step)
    follower.start()
    for step in (0, LOST_AFTER_S + 1):
        follower.turn(writer.now_s + LOST_AFTER_S + step)
    [(event, facts)] = follower.gaps
    assert event == "file gone before its end was sent"
    assert facts["records_sent"] == 5 and facts["written_after_s"] and facts["written_before_s"]
    assert len(follower.sent) == sent + 2


def test_a_disk_that_is_not_mounted_yet_has_lost_nothing(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "logs" / "conn.log")
    follower = Follower(source(writer.live))
    writer.append(2)
    follower.turn(writer.now_s)
    (tmp_path / "logs").rename(tmp_path / "elsewhere")
    follower.start()
    for step in range(3):
        follower.turn(writer.now_s + step * LOST_AFTER_S)
    (tmp_path / "elsewhere").rename(tmp_path / "logs")
    writer.append(2)
    follower.drain(writer)
    follower.check(writer)
    assert not follower.gaps


@pytest.mark.slow
@pytest.mark.parametrize("how", ["rename", "copy_and_truncate"])
def test_a_glob_that_matches_rotated_files_too(tmp_path: Path, how: str) -> None:
    writer = Writer(tmp_path / "eve.json")
    follower = Follower(source(tmp_path / "eve.json*"))
    for _ in range(4):
        writer.append(3)
        follower.turn(writer.now_s)
        writer.append(2)
        getattr(writer, how)()
        writer.append(1)
        writer.now_s += 3
        follower.turn(writer.now_s)
        follower.start()
    follower.drain(writer)
    follower.check(writer)
    assert not follower.gaps


def test_files_that_come_later_are_read_in_order_of_time(tmp_path: Path) -> None:
    lines = [line_of(number) for number in range(3000)]
    follower = followed(tmp_path / "*.json")
    follower.turn(START_S)
    for name, part in (("b", slice(0, 1000)), ("a", slice(1000, 2000)), ("c", slice(2000, 3000))):
        (tmp_path / f"{name}.json").write_bytes(b"\n".join(lines[part]) + b"\n")
    for step in range(3):
        follower.turn(START_S + 5 + step)
    assert follower.sent == lines


def test_logs_of_one_sensor_wait_for_each_other(tmp_path: Path) -> None:
    for log, odd in (("conn", 0), ("dns", 1)):
        lines = [line_of(number) for number in range(odd, 6000, 2)]
        (tmp_path / f"{log}.log").write_bytes(b"\n".join(lines) + b"\n")
    follower = Follower(source(tmp_path / "conn.log", tmp_path / "dns.log"))
    follower.turn(START_S)
    numbers = [int(line.split(b'"C')[1][:6]) for line in follower.sent]
    assert sorted(numbers) == list(range(6000))
    behind = max(max(numbers[: place + 1]) - number for place, number in enumerate(numbers[:3000]))
    assert behind < 500  # a turn's records, not a file's


@pytest.mark.slow
def test_many_files_of_a_glob_are_not_all_open(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"flows-{number:04d}.csv").write_bytes(
            b"ts,te,td,sa,da,sp,dp,pr,ipkt,ibyt\n%d,1,1,1,1,1,1,1,1,1\n" % number
        )
    follower = followed(tmp_path / "*.csv")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for step in range(3):
        follower.turn(START_S + step)
    assert len(follower.sent) == 300
    assert len(list(Path("/proc/self/fd").iterdir())) - before <= 130
    follower.start()
    assert follower.turn(START_S + 10) == 0
    assert {position.layout.content_type for position in follower.committed().values()} == {NFDUMP_CSV}


def test_a_line_without_an_end_takes_no_memory(tmp_path: Path) -> None:
    live = tmp_path / "conn.log"
    live.write_bytes(line_of(0) + b"\n" + b'{"a":"' + b"x" * 5_000_000 + b'"}\n' + line_of(1) + b"\n")
    follower = followed(live, content_type=ZEEK_JSON)
    for step in range(3):
        follower.turn(START_S + step)
    assert follower.sent[0] == line_of(0) and follower.sent[2] == line_of(1) and len(follower.sent) == 3
    assert len(follower.sent[1]) == 1_048_577


def test_zeros_before_a_record_are_skipped(tmp_path: Path) -> None:
    live = tmp_path / "conn.log"
    live.write_bytes(bytes(3_000_000) + line_of(0) + b"\n")
    follower = followed(live)
    for step in range(3):
        follower.turn(START_S + step)
    assert follower.sent == [line_of(0)]


def test_what_is_no_file_and_what_cannot_be_read_is_an_event(tmp_path: Path) -> None:
    (tmp_path / "folder.log").mkdir()
    (tmp_path / "text.log").write_bytes(b"hello\n" * 20_000)
    files = FollowedFiles([FileSource((str(tmp_path / "*.log"),), "plant", "edge")])
    for step in range(5):
        assert runs(files, START_S + 2 * step) == []
    said = [(event, facts.get("error")) for event, facts in files.events if event != "following"]
    assert said == [("cannot be read", "no regular file"), ("file of no known format", None)]


def test_a_power_cut_takes_back_what_was_sent(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "conn.log")
    follower = Follower(source(writer.live))
    writer.append(200)
    assert follower.turn(writer.now_s) == 200
    os.truncate(writer.live, 12_345)  # in the middle of a line
    follower.start()
    for step in (0, 10, 31, 32):
        follower.turn(writer.now_s + step)
    assert len(follower.sent) == 200
    with writer.live.open("ab") as file:
        file.write(b"\n" + line_of(500) + b"\n" + line_of(501) + b"\n")
    writer.now_s += 60
    follower.drain(writer)
    assert follower.sent[200:] == [line_of(123)[:45], line_of(500), line_of(501)]
    assert len(follower.gaps) == 1


def test_so_it_does_where_the_file_has_grown_since(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "conn.log")
    follower = Follower(source(writer.live))
    writer.append(200)
    follower.turn(writer.now_s)
    os.truncate(writer.live, 10_000)
    writer.append(150)
    follower.start()
    for step in (0, 31, 32, 33):
        follower.turn(writer.now_s + step)
    assert len(follower.gaps) == 1
    assert 200 < len(follower.sent) < 350 and follower.sent[-1] == writer.whole[-1]
    assert len(set(follower.sent)) == len(follower.sent)
