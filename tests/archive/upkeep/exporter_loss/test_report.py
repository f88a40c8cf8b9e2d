"""What verify and account say of exporters' sequence numbers, on archives that were written as always."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from pipeline.archive import segments, snapshot
from pipeline.archive.pairing import read_rejects, read_scored
from pipeline.archive.partition import PartitionArchive
from pipeline.archive.streams import Limits
from pipeline.archive.upkeep.exporter_loss import report
from pipeline.archive.upkeep.exporter_loss.merge import InOrder, by_time
from pipeline.archive.upkeep.exporter_loss.records import records_of
from pipeline.archive.upkeep.exporter_loss.report import MAX_EXPORTERS, ExporterLoss
from pipeline.archive.upkeep.query import run
from pipeline.archive.upkeep.verify import verify
from pipeline.featurize.sensor import featurize_file_rows
from pipeline.runtime.wire.batches import widened
from pipeline.tools.cli.archive import app
from pipeline.tools.replay.history import archived
from tests.archive import plant
from tests.archive.plant import EXPORT, T0_US, RawMessage, Record, feed, scored_batch, wire
from tests.examples import examples
from tests.featurize.flows import batch
from tests.featurize.ordering.test_pairing import BACK, THERE, half

pytestmark = pytest.mark.slow  # whole archives

V5, V9 = ("netflow5", "192.0.2.1", 0), ("netflow9", "192.0.2.2", 512)
SECOND = 1_000_000


def exported(random: Random, packets: int, lost: set[int], exporter: tuple[str, str, int] = V5) -> Iterator[Record]:
    """Records of packets, without those in `lost` (by index); some are late, some are rejected."""
    number = 4_294_967_200 if exporter == V5 else 17
    for packet in range(packets):
        records = random.randrange(1, 4)
        for _ in range(records):
            back = random.choice((0, 0, 0, 600 * SECOND))
            end = None if random.random() < 0.1 else T0_US + packet * 60 * SECOND - back
            if packet not in lost:
                yield Record(end, export=(*exporter, number % 2**32))
        number += records if exporter == V5 else 1


def log_of(records: list[Record], random: Random, sensor: str = "left") -> list[RawMessage]:
    log: list[RawMessage] = []
    at = 0
    while at < len(records):
        count = random.randrange(1, 5)
        log.append(RawMessage("plant", sensor, tuple(records[at : at + count]), T0_US + len(log) * SECOND))
        at += count
    return log


def written(folder: Path, log: list[RawMessage], cut: int = 3, partition: int = 0) -> dict[str, Any]:
    """What verify says of an archive of the log, whose sensors end."""
    senders = sorted({(message.site, message.sensor) for message in log})
    ended = [RawMessage(*sender, (), T0_US, mark=True) for sender in senders]
    archive = PartitionArchive(folder, partition, Limits(rows=7), "w")
    feed(archive, wire([*log, *ended], range(0, len(log), cut), partition=partition), Random(1))
    proof = verify(folder, None)
    assert proof["problems"] == []
    return proof


def missing_in(exporter: dict[str, Any]) -> set[int]:
    numbers: set[int] = set()
    for gap in exporter["ranges"]:
        numbers |= {(gap["first"] + more) % 2**32 for more in range(gap["missing"])}
        assert (gap["first"] + gap["missing"] - 1) % 2**32 == gap["last"]
    return numbers


@given(seed=st.integers(0, 2**32), lost=st.sets(st.integers(1, 58)), cut=st.integers(1, 9))
@settings(max_examples=examples(15), deadline=None)
def test_exactly_what_was_lost_is_missing(seed: int, lost: set[int], cut: int) -> None:
    """NetFlow 5, with late and rejected records, across the wrap of its numbers."""
    received = [*exported(Random(seed), 60, lost)]
    sent = Counter(record.export[3] for record in exported(Random(seed), 60, set()))
    came = {record.export[3] for record in received}
    wanted = {
        ((first or 0) + more) % 2**32 for first, count in sent.items() if first not in came for more in range(count)
    }
    with TemporaryDirectory(dir=plant.MEMORY) as folder:
        (sensor,) = written(Path(folder), log_of(received, Random(seed)), cut)["before_kafka"]
    (exporter,) = sensor["exporters"]
    assert missing_in(exporter) == wanted
    assert (exporter["unit"], exporter["missing"], exporter["exact"]) == ("flows", len(wanted), True)
    assert (exporter["resets"], sensor["unnumbered"]) == (0, 0)


def test_it_is_said_beside_the_proof_and_fails_nothing(tmp_path: Path) -> None:
    random = Random(2)
    log = log_of([*exported(random, 40, {9, 10, 20}, V9)], random)
    proof = written(tmp_path, log)
    (sensor,) = proof["before_kafka"]
    (exporter,) = sensor["exporters"]
    assert proof["ok"] and (sensor["missing_packets"], sensor["missing_flows"]) == (3, 0)
    assert [(gap["first"], gap["last"], gap["missing"]) for gap in exporter["ranges"]] == [(26, 27, 2), (37, 37, 1)]
    assert (exporter["address"], exporter["domain"], exporter["unit"]) == ("192.0.2.2", 512, "packets")
    assert not exporter["exact"] and "templates" in exporter["why"][0]
    for command in ("verify", "account"):
        shown = CliRunner().invoke(app, [command, "--archive", str(tmp_path), "--no-kafka"])
        assert shown.stderr.endswith("\n")
        assert shown.exit_code == 0
        document = orjson.loads(shown.stdout.splitlines()[-1])
        assert document["before_kafka"] == proof["before_kafka"]
        assert "lost before Kafka" in shown.stderr and "at most 3 packets" in " ".join(shown.stderr.split())
    shown = CliRunner().invoke(app, ["verify", "--archive", str(tmp_path), "--no-kafka"])
    assert "packets missing: 26 to 27 (2, until 2023-" in shown.stderr


def test_nothing_is_said_where_nothing_is_numbered(tmp_path: Path) -> None:
    proof = written(tmp_path, [RawMessage("plant", "left", (Record(T0_US), Record(None)), T0_US)])
    assert proof["before_kafka"] == []
    shown = CliRunner().invoke(app, ["verify", "--archive", str(tmp_path), "--no-kafka"])
    assert "before Kafka" not in shown.stderr


def test_looking_again_and_again_says_what_looking_once_does(tmp_path: Path) -> None:
    random = Random(7)
    lost = {5, 6, 30, 31, 50}
    log = log_of([*exported(random, 80, lost)], random) + log_of([*exported(random, 60, {8}, V9)], random, "right")
    random.shuffle(log)
    topics = wire(log, range(0, len(log), 3))
    loss, said = ExporterLoss(), []
    for until in (4, 5, 9, 20, len(topics.archive)):
        archive = PartitionArchive(tmp_path, 0, Limits(rows=7), "w")
        feed(archive, plant.Wire(topics.archive[:until], topics.rejects), Random(until))
        said = loss.refresh(tmp_path, snapshot.read(tmp_path))
    assert said == ExporterLoss().refresh(tmp_path, snapshot.read(tmp_path)) == verify(tmp_path, None)["before_kafka"]


def test_records_of_one_exporter_in_several_partitions_are_put_together_by_time(tmp_path: Path) -> None:
    random = Random(3)
    records = [*exported(random, 90, {40, 41}, V9)]
    parts: list[list[RawMessage]] = [[], [], []]
    for number, record in enumerate(records):
        sent = RawMessage("plant", "left", (record,), T0_US + number * SECOND)
        parts[random.randrange(3)].append(sent)
    for partition, log in enumerate(parts):
        written(tmp_path, log, partition=partition)
    (sensor,) = verify(tmp_path, None)["before_kafka"]
    assert (sensor["missing_packets"], sensor["exporters"][0]["stragglers"]) == (2, 0)
    assert any("several partitions" in why for why in sensor["exporters"][0]["why"])


def test_what_is_under_two_sensors_or_has_no_number_is_a_doubt(tmp_path: Path) -> None:
    random = Random(3)
    records = [*exported(random, 60, set())]
    log = log_of(records[:30], random) + log_of(records[30:], random, "right")
    log.append(RawMessage("plant", "right", (Record(T0_US),), T0_US))
    left, right = written(tmp_path, log)["before_kafka"]
    assert left["exporters"][0]["why"] == ["sensor 'right' has records of it too"]
    assert right["unnumbered"] == 1 and "no number" in right["exporters"][0]["why"][0]


def test_what_the_archive_lost_is_not_stated_as_lost_before_it(tmp_path: Path) -> None:
    random = Random(3)
    written(tmp_path, log_of([*exported(random, 60, set())], random))
    entry = [file for file in snapshot.read(tmp_path)[0].files if file.rows > 3][3]
    (tmp_path / entry.path).write_bytes(b"other")
    proof = verify(tmp_path, None)
    (exporter,) = proof["before_kafka"][0]["exporters"]
    assert not proof["ok"] and exporter["missing"] and not exporter["exact"]
    assert "not in order" in exporter["why"][0] and "cannot be read" in exporter["why"][1]


def test_exporters_that_count_otherwise_than_their_protocol_says(tmp_path: Path) -> None:
    flows = [Record(T0_US, export=("netflow9", "192.0.2.7", 1, number)) for number in range(0, 90, 3) for _ in range(3)]
    packets = [Record(T0_US, export=("ipfix", "192.0.2.8", 1, number)) for number in range(30) for _ in range(3)]
    unknown = [Record(T0_US, export=(None, None, None, number)) for number in (1, 2, 9)]
    proof = written(tmp_path, log_of([*flows, *packets, *unknown], Random(1)))
    said = {row["address"]: (row["unit"], row["missing"]) for row in proof["before_kafka"][0]["exporters"]}
    assert said == {"192.0.2.7": ("flows", 0), "192.0.2.8": ("packets", 0), None: (None, None)}


def test_exporters_are_bounded(tmp_path: Path) -> None:
    many = [Record(T0_US, export=("ipfix", f"2001:db8::{number:x}", 0, 1)) for number in range(MAX_EXPORTERS + 5)]
    (sensor,) = written(tmp_path, log_of(many, Random(1)))["before_kafka"]
    assert (len(sensor["exporters"]), sensor["exporters_left_out"]) == (MAX_EXPORTERS, 5)
    assert not sensor["exact"]


ROW = {"raw_offset": 4, "raw_index": 0, "end_ts_us": T0_US, "late_by_us": 0, **dict(zip(EXPORT, (*V9, 7), strict=True))}


@pytest.mark.parametrize(
    ("also", "texts", "wanted"),
    [
        ([5, 0], "netflow9 192.0.2.2 512 8", [7, 8]),
        ([5, 0, 6, 1], ",ipfix - - 9", [7, -1, 9]),
        ([5, 0], None, [7, -1]),
        ([5, 0], "", [7, -1]),
        # Nothing our featurize writes.
        ([5, 0], "a b c 8", [7, -1]),
        ([5, 0], "a b 1 99999999999", [7, -1]),
        ([5, 0], "a b 1 4294967296", [7, -1]),
        ([5, 0], "a b 1 8,a b 1 9", [7, -1]),
        (None, "a b 1 8", [7]),
    ],
)
def test_records_that_were_merged_each_have_their_number(
    also: list[int] | None, texts: str | None, wanted: list[int]
) -> None:
    rows = scored_batch([{**ROW, "raw_also": also, "export_also": texts}])
    records = records_of(pa.Table.from_batches([rows]))
    assert records.numbers.tolist() == wanted
    assert list(zip(records.offsets.tolist(), records.indexes.tolist(), strict=True)) == [
        (4, 0),
        *zip((also or [])[::2], (also or [])[1::2], strict=True),
    ]


def test_records_that_featurize_merged_are_counted_apart() -> None:
    halves = [
        half(1.0, BACK, **dict(zip(EXPORT, (*V9, 7), strict=True))),
        half(1.2, THERE, **dict(zip(EXPORT, ("ipfix", "2001:db8::1", None, 9), strict=True))),
    ]
    rows = pa.Table.from_batches([featurize_file_rows(batch(halves), 0, window_us=2 * SECOND)])
    records = records_of(rows)
    assert (rows.num_rows, records.offsets.tolist(), records.numbers.tolist()) == (1, [0, 1], [7, 9])
    assert [records.names[stream] for stream in records.streams] == ["netflow9 192.0.2.2 512", "ipfix 2001:db8::1 -"]


def without(rows: pa.RecordBatch) -> pa.RecordBatch:
    """The rows as a version without export numbers wrote them."""
    return rows.drop_columns([name for name in (*EXPORT, "export_also") if name in rows.schema.names])


def test_an_archive_of_an_earlier_version_stays_readable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = Random(3)
    log = log_of([*exported(random, 60, set())], random)
    topics = wire(log, range(0, len(log), 3))
    with monkeypatch.context() as before:

        def scored(*read: Any) -> Any:
            message = read_scored(*read)
            return replace(message, rows=without(message.rows))

        before.setattr(plant, "read_scored", scored)
        before.setattr(plant, "read_rejects", lambda *read: without(read_rejects(*read)))
        before.setattr(segments, "widened", lambda *stored: without(widened(*stored)))
        feed(
            PartitionArchive(tmp_path, 0, Limits(rows=7), "w"),
            plant.Wire(topics.archive[:9], topics.rejects),
            Random(1),
        )
    proof = verify(tmp_path, None)
    assert proof["ok"] and proof["files"] and proof["before_kafka"] == []
    assert run(tmp_path, "SELECT count(export_sequence), count(*) FROM flows", 1)["rows"][0][0] == 0
    feed(PartitionArchive(tmp_path, 0, Limits(rows=7), "w"), topics, Random(1))
    proof = verify(tmp_path, None)
    assert proof["ok"] and not proof["before_kafka"][0]["exact"] and proof["before_kafka"][0]["unnumbered"]
    for table in ("flows", "late", "rejects"):
        some, every = run(tmp_path, f"SELECT count(export_sequence), count(*) FROM {table}", 1)["rows"][0]  # noqa: S608
        assert 0 < some < every or table != "flows"
    count = len(snapshot.read(tmp_path)[0].manifests)
    rows = [step.rows for step in archived(tmp_path, 0, 0, count)]
    assert (
        sum(map(len, rows))
        == run(tmp_path, "SELECT (SELECT count(*) FROM flows) + (SELECT count(*) FROM late)", 1)["rows"][0][0]
    )


@given(parts=st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), max_size=8), min_size=1, max_size=4))
def test_partitions_keep_their_order_whatever_their_clocks_say(parts: list[list[tuple[int, int]]]) -> None:
    def records_in(number: int, some: list[tuple[int, int]]) -> Iterator[Any]:
        for offset, (_, at) in enumerate(some):
            row = {**ROW, "raw_offset": offset, "ingest_ts_us": at, "export_sequence": number}
            yield records_of(pa.Table.from_batches([scored_batch([row])]))

    merged = [
        (number, offset)
        for records in by_time([records_in(number, some) for number, some in enumerate(parts)])
        for number, offset in zip(records.numbers.tolist(), records.offsets.tolist(), strict=True)
    ]
    for number, some in enumerate(parts):
        assert [offset for of, offset in merged if of == number] == list(range(len(some)))


def test_files_that_overlap_come_in_raw_order_and_each_record_once() -> None:
    def table(*offsets: int) -> pa.Table:
        return pa.Table.from_batches([scored_batch([{**ROW, "raw_offset": offset} for offset in offsets])])

    order = InOrder()
    first = order.between([table(0, 4, 9), table(2, 3), table(5, 12)], [records_of(table(1, 11))], (-1, 0), (6, 0))
    assert [offset for some in first for offset in some.offsets.tolist()] == [0, 1, 2, 3, 4, 5]
    second = order.between([table(1, 7), table(11)], [records_of(table(8))], (6, 0), (12, 0))
    assert [offset for some in second for offset in some.offsets.tolist()] == [7, 8, 9, 11]
    assert report.NOTHING < (0, 0)
