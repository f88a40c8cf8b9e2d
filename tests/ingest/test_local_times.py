"""Times without an offset, read in the zone of who wrote them: what real tools write in two zones is the same."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts.raw import CONTENT_TYPES, DELIMITED, WITH_LOCAL_TIMES, SourceInfo, source_info_of
from pipeline.errors import Usage
from pipeline.ingest.decode import Decoded, decode_messages
from pipeline.ingest.files.offline_rows import decode_file
from pipeline.ingest.files.reading import read_file, read_source
from pipeline.ingest.files.source_check import check
from pipeline.ingest.formats.registry import FORMATS
from pipeline.ingest.intake.convert import Converter
from pipeline.ingest.messages import Messages, RawMessage
from pipeline.ingest.scan.cells import LocalClock
from pipeline.ingest.scan.local_times import AHEAD_US, in_utc
from pipeline.tools.cli.flow_follow import zone_of
from schemas.intake import FileEntry, TopicSource
from schemas.time_zones import is_time_zone
from tests.ingest.csv_records import ARGUS, CICFLOWMETER
from tests.ingest.records import EVE, MAX_FUTURE_US, SENT_US, ZEEK, reasons

SAMPLES = Path(__file__).parent / "samples"
VIENNA = "Europe/Vienna"
TOOLS = (("nfdump", "json"), ("nfdump", "csv"), ("pmacct", "json"))
HOUR_US = 3_600_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Half-hour changes, half-hour offsets, changes at midnight, no changes, a day left out, and the southern half.
ZONES = (VIENNA, "Australia/Lord_Howe", "America/St_Johns", "Africa/Cairo", "Asia/Kolkata", "Pacific/Apia", "UTC")
FIRST_PASS = 4
"""The record of the samples that lies in the first of the two hours from 2 to 3, 27 October 2024."""


def us(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1e6)


def utc(local_us: list[int], zone: str, sent_us: list[int] | None) -> list[int]:
    clock = LocalClock(zone, None if sent_us is None else np.array(sent_us, np.int64))
    read = in_utc(np.array(local_us, np.int64), np.ones(len(local_us), np.bool_), clock)
    return [int(value) for value in read.time_us]


def wall(time_us: int, zone: str) -> int:
    """What a clock of a zone shows, as if it were UTC."""
    local = (EPOCH + timedelta(microseconds=time_us)).astimezone(ZoneInfo(zone)).replace(tzinfo=UTC)
    return (local - EPOCH) // timedelta(microseconds=1)


def decoded(records: list[bytes], source: SourceInfo, sent_us: list[int]) -> Decoded:
    messages = [
        RawMessage(0, at, sent, source, record) for at, (record, sent) in enumerate(zip(records, sent_us, strict=True))
    ]
    return decode_messages(Messages.of(messages), MAX_FUTURE_US)


def times(flows: Any) -> list[tuple[int, int]]:
    return list(zip(flows["start_ts_us"].to_pylist(), flows["end_ts_us"].to_pylist(), strict=True))


# ---- the rule


@given(st.sampled_from(ZONES), st.integers(0, 2_000_000_000), st.integers(0, 999_999), st.integers(0, 240))
def test_a_record_that_is_sent_soon_has_its_time(zone: str, seconds: int, fraction_us: int, late_s: int) -> None:
    time_us = seconds * 1_000_000 + fraction_us
    assert utc([wall(time_us, zone)], zone, [time_us + late_s * 1_000_000]) == [time_us]


@given(st.sampled_from(ZONES), st.integers(0, 2_000_000_000))
def test_without_a_time_of_sending_it_is_one_of_its_meanings(zone: str, seconds: int) -> None:
    local = wall(seconds * 1_000_000, zone)
    [time_us] = utc([local], zone, None)
    assert wall(time_us, zone) == local and time_us >= seconds * 1_000_000


def test_what_comes_twice_and_what_never_comes() -> None:
    twice, never = us("2024-10-27T02:30+00:00"), us("2024-03-31T02:30+00:00")
    first, second = us("2024-10-27T00:30+00:00"), us("2024-10-27T01:30+00:00")
    assert utc([twice, twice, twice], VIENNA, [first, second, second - AHEAD_US]) == [first, second, second]
    assert utc([twice], VIENNA, [second - AHEAD_US - 1]) == [first]
    assert utc([twice], VIENNA, None) == [second]
    before, after = us("2024-03-31T00:59:59+00:00"), us("2024-03-31T01:00+00:00")
    assert utc([never, before + HOUR_US, after + 2 * HOUR_US], VIENNA, [0, 0, 0]) == [
        us("2024-03-31T01:30+00:00"),
        before,
        after,
    ]


@given(st.lists(st.integers(-(2**62), 2**62), max_size=20), st.sampled_from(ZONES))
def test_no_number_raises(local_us: list[int], zone: str) -> None:
    assert len(utc(local_us, zone, None)) == len(local_us)


# ---- what real tools wrote


def sample(path: str) -> tuple[list[bytes], str, tuple[str, ...]]:
    source = read_file(SAMPLES / path)
    return source.records, source.files[0].content_type, source.files[0].columns


@pytest.mark.parametrize("path", [f"{tool}/local-times/{{}}.{form}" for tool, form in TOOLS])
def test_tools_in_another_zone_write_the_same_flows(path: str) -> None:
    records, kind, columns = sample(path.format("utc"))
    wanted = decoded(records, SourceInfo(kind, columns, "dam", "gate"), [SENT_US] * len(records)).flows
    local, kind, columns = sample(path.format("vienna"))
    assert local != records and len(local) == wanted.num_rows == 8
    source = SourceInfo(kind, columns, "dam", "gate", time_zone=VIENNA)
    live = decoded(local, source, [end + 2_000_000 for _, end in times(wanted)]).flows
    assert times(live) == times(wanted)
    by_itself = [decoded([record], source, [end]).flows for record, (_, end) in zip(local, times(wanted), strict=True)]
    assert [each for flows in by_itself for each in times(flows)] == times(wanted)


@pytest.mark.parametrize("path", ["nfdump/local-times/vienna.json", "pmacct/local-times/vienna.json"])
def test_read_years_later_an_hour_of_the_year_is_an_hour_late(path: str) -> None:
    wanted = decode_file(SAMPLES / path.replace("vienna", "utc"), ingest_ts_us=SENT_US, max_future_us=MAX_FUTURE_US)
    read = decode_file(
        SAMPLES / path, time_zone=VIENNA, arrival_order=True, ingest_ts_us=SENT_US, max_future_us=MAX_FUTURE_US
    )
    late = [(start + HOUR_US, end + HOUR_US) if at == FIRST_PASS else (start, end)
            for at, (start, end) in enumerate(times(wanted.flows))]  # fmt: skip
    assert times(read.flows) == late and not read.rejects.num_rows
    assert not any("changes nothing" in note for note in read.notes)


def test_a_collector_in_local_time_is_no_wrong_clock() -> None:
    """nfdump writes the time of receipt as it writes the others."""
    records, kind, _ = sample("nfdump/local-times/vienna.json")
    record = json.loads(records[2])
    record["received"] = record["last"]
    source = SourceInfo(kind, (), "dam", "gate", time_zone=VIENNA)
    flows = decoded([json.dumps(record).encode()], source, [SENT_US]).flows
    assert "clock" not in flows["quality"].to_pylist()[0]


@pytest.mark.parametrize(
    ("kind", "row"),
    [
        ("argus+csv", {**ARGUS, "StartTime": "2023/11/14 23:13:20.123456"}),
        ("argus+csv", {**ARGUS, "StartTime": "2023-11-14T23:13:20.123456"}),
        ("cicflowmeter+csv", {**CICFLOWMETER, "Timestamp": "14/11/2023 11:13:20 PM"}),
        ("cicflowmeter+csv", {**CICFLOWMETER, "Timestamp": "14/11/2023 23:13:20"}),
    ],
)
def test_dates_of_tables(kind: str, row: dict[str, str]) -> None:
    source = SourceInfo(kind, tuple(row), "dam", "gate", time_zone=VIENNA)
    [(start, end)] = times(decoded([",".join(row.values()).encode()], source, [SENT_US]).flows)
    assert start // 1_000_000 == us("2023-11-14T22:13:20+00:00") // 1_000_000 and end - start == 2_500_000


def test_a_start_and_a_duration_end_before_the_message() -> None:
    row = {**ARGUS, "StartTime": "2024/10/27 02:30:00", "Dur": "3500.0"}
    source = SourceInfo("argus+csv", tuple(row), "dam", "gate", time_zone=VIENNA)
    end = us("2024-10-27T00:30+00:00") + 3_500_000_000
    assert times(decoded([",".join(row.values()).encode()], source, [end + 1_000_000]).flows) == [
        (end - 3_500_000_000, end)
    ]


@pytest.mark.parametrize(
    ("kind", "record"),
    [
        ("zeek-conn+json", ZEEK),
        ("zeek-conn+json", {**ZEEK, "ts": "2023-11-14T22:13:20.5Z"}),
        ("suricata-eve+json", EVE),
    ],
)
def test_epochs_and_offsets_stay_as_they_are(kind: str, record: dict[str, Any]) -> None:
    lines = [json.dumps(record).encode()]
    with_zone, without = (
        decoded(lines, SourceInfo(kind, (), "dam", "gate", time_zone=zone), [SENT_US]).flows for zone in (VIENNA, "")
    )
    assert with_zone.num_rows == 1 and with_zone.equals(without)


def test_numbers_stay_as_they_are_in_a_format_that_may_have_dates() -> None:
    source = SourceInfo("argus+csv", tuple(ARGUS), "dam", "gate")
    row = [",".join(ARGUS.values()).encode()]
    assert decoded(row, source._replace(time_zone=VIENNA), [SENT_US]).flows.equals(
        decoded(row, source, [SENT_US]).flows
    )


def test_messages_of_two_zones_are_decoded_apart() -> None:
    records, kind, _ = sample("nfdump/local-times/vienna.json")
    sources = [SourceInfo(kind, (), "dam", name, time_zone=zone) for name, zone in (("a", VIENNA), ("b", ""))]
    messages = Messages.of([RawMessage(0, at, SENT_US, sources[at % 2], records[0]) for at in range(4)])
    starts = decode_messages(messages, MAX_FUTURE_US).flows["start_ts_us"].to_pylist()
    assert starts[0] == starts[2] == starts[1] - HOUR_US == starts[3] - HOUR_US


# ---- the header


def test_headers_say_the_zone() -> None:
    for source in (
        SourceInfo("nfdump+json", (), "dam", "gate", time_zone=VIENNA),
        SourceInfo("nfdump+csv", ("ts", "te"), "dam", "gate", time_zone="America/Argentina/Buenos_Aires"),
        SourceInfo("nfdump+csv", ("ts", "te"), "dam", "gate"),
    ):
        said = dict(source.headers)
        values = [said.get(name) for name in ("content-type", "columns", "site", "sensor", "time-zone")]
        assert source_info_of(*(value.encode() if isinstance(value, str) else value for value in values)) == source


BAD = [b"Vienna", b"localtime", b"right/Europe/Vienna", b"../../etc/passwd", b"Europe", b"\xff", b"a\nb", b"x" * 300]


@pytest.mark.parametrize("header", [*BAD, b"Europe/Vienna\0", b"/etc/localtime", b"tzdata.zi"])
def test_a_header_that_names_no_zone_is_a_reject(header: bytes) -> None:
    source = source_info_of(b"nfdump+json", None, b"dam", b"gate", header)
    records, _, _ = sample("nfdump/local-times/vienna.json")
    result = decoded(records[:2], source, [SENT_US] * 2)
    assert reasons(result) == ["time_zone"] * 2
    assert "a time zone such as Europe/Vienna" in result.rejects["detail"].to_pylist()[0]


@given(st.binary(max_size=80), st.sampled_from(CONTENT_TYPES), st.binary(max_size=200))
def test_no_header_and_no_record_raises(header: bytes, kind: str, payload: bytes) -> None:
    columns = json.dumps(FORMATS[kind].required or ("ts",)).encode() if kind in DELIMITED else None
    for zone in (header, VIENNA.encode()):
        source = source_info_of(kind.encode(), columns, b"dam", b"gate", zone)
        result = decoded([payload], source, [SENT_US])
        assert result.flows.num_rows + result.rejects.num_rows == result.bounds[-1]


# ---- the ways to `raw`


def test_intake_says_the_zone() -> None:
    records, _, _ = sample("nfdump/local-times/vienna.json")
    source = TopicSource.model_validate({"topic": "nf", "site": "dam", "sensor": "gate", "time_zone": VIENNA})
    assert {pack.time_zone for pack in Converter(source).convert(records, []).packs} == {VIENNA}


def test_a_source_is_checked_in_its_zone() -> None:
    from pipeline.ingest.files.source_check import Sample
    from pipeline.ingest.intake.origins import Envelope

    for path in ("nfdump/local-times/vienna.json", "nfdump/local-times/vienna.csv"):
        records, kind, columns = sample(path)
        given = {"topic": "nf", "site": "dam", "sensor": "gate", "time_zone": VIENNA, "columns": columns}
        source = TopicSource.model_validate({**given, "format": kind if columns else "auto"})
        samples = [Sample(record, Envelope("nf", None, ()), SENT_US) for record in records[:1]]
        [start] = check(samples, source, MAX_FUTURE_US).flows["start_ts_us"].to_pylist()
        assert start // 1_000_000 == us("2024-01-15T12:00:00+00:00") // 1_000_000


def test_a_file_is_sorted_and_moved_by_its_zone() -> None:
    source = read_source(SAMPLES / "nfdump/local-times/vienna.json", time_zone=VIENNA)
    assert {file.time_zone for file in source.files} == {VIENNA}
    assert int(source.end_times_us().min()) == us("2024-01-15T12:00:02.750+00:00")


def test_where_a_zone_changes_nothing_that_is_said(tmp_path: Path) -> None:
    log = tmp_path / "conn.log"
    log.write_text(json.dumps(ZEEK))
    [note] = read_source(log, time_zone=VIENNA).notes
    assert note == "the time zone Europe/Vienna changes nothing: zeek-conn+json has no times without an offset"
    assert not read_source(log).notes
    assert set(WITH_LOCAL_TIMES) < set(CONTENT_TYPES)


def test_zones_are_checked() -> None:
    assert is_time_zone(VIENNA) and is_time_zone("UTC") and is_time_zone("Etc/GMT+3")
    for name in BAD:
        text = name.decode("utf-8", "replace")
        assert not is_time_zone(text)
        with pytest.raises(Usage, match="--time-zone"):
            zone_of(text)
        for entry, place in ((TopicSource, {"topic": "nf"}), (FileEntry, {"file": "/nf"})):
            with pytest.raises(ValueError, match="IANA"):
                entry.model_validate({**place, "site": "dam", "sensor": "gate", "time_zone": text})
    assert zone_of(None) == "" and zone_of(VIENNA) == VIENNA
