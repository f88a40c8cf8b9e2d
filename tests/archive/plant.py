"""A plant in miniature: a raw log, and what the stages before the archive make of it, row by row.

The same log can be cut into `flows` messages anywhere (a mark always ends one): the archive must not show where.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.archive.pairing import Pairing, read_rejects, read_scored
from pipeline.archive.partition import PartitionArchive
from pipeline.contracts.envelope import RejectsFacts, ScoredFacts, SensorWatermark
from pipeline.runtime.wire.batches import matrix_column
from pipeline.runtime.wire.messages import write
from schemas.fields import arrow_schema
from tests.contracts.facts import at

MEMORY = (
    "/dev/shm" if Path("/dev/shm").is_dir() else None
)  # what these tests write a thousand times need not reach a disk
HOUR_US = 3_600_000_000
T0_US = 1_678_440_000_000_000
WIDTH = 3
EXPORT = ("export_protocol", "exporter_addr", "export_domain", "export_sequence")


@dataclass(frozen=True)
class Record:
    """One record of a raw message: a flow that ends then, or (None) one that is rejected."""

    end_ts_us: int | None
    text: str = "tcp"
    export: tuple[str | None, str | None, int | None, int | None] = (None, None, None, None)


@dataclass(frozen=True)
class RawMessage:
    site: str
    sensor: str
    records: tuple[Record, ...]
    sent_us: int
    mark: bool = False


@dataclass
class Sensor:
    latest_us: int | None = None
    waiting: list[tuple[Any, ...]] = field(default_factory=list)

    def watermark_us(self, lateness_us: int) -> int | None:
        """Rows that end before it are late."""
        return None if self.latest_us is None else self.latest_us - lateness_us

    def released(self, lateness_us: int, ended: bool) -> list[dict[str, Any]]:
        """Rows that wait no longer: those behind the watermark, all of a sensor that has ended."""
        self.waiting.sort(key=lambda waiting: waiting[:4])
        watermark = self.watermark_us(lateness_us)
        out = [each for each in self.waiting if ended or each[0] < (-1 if watermark is None else watermark)]
        self.waiting = self.waiting[len(out) :]
        return [each[4] for each in out]


@dataclass
class Wire:
    """Messages as they stand in the two topics."""

    archive: list[bytes]
    rejects: list[bytes]


def random_log(
    random: Random, messages: int, sensors: Sequence[tuple[str, str]], marks: bool = True
) -> list[RawMessage]:
    """Sensors whose clocks run on by up to some minutes a record, with late records, rejects and ends of source."""
    clock = dict.fromkeys(sensors, T0_US)
    log = []
    for number in range(messages):
        site, sensor = random.choice(sensors)
        sent_us = T0_US + number * 60_000_000 + random.randrange(-90, 90) * 60_000_000
        if marks and random.random() < 0.05:
            log.append(RawMessage(site, sensor, (), sent_us, mark=True))
            clock[site, sensor] = T0_US + random.randrange(-3, 3) * HOUR_US
            continue
        records = []
        for _ in range(random.randrange(0, 6)):
            clock[site, sensor] += random.choice((0, 1, 1_000_000, 400_000_000))
            back = random.choice((0, 0, 0, 500_000, 5_000_000, 2 * HOUR_US))
            records.append(Record(None if random.random() < 0.15 else clock[site, sensor] - back, random.choice("abc")))
        log.append(RawMessage(site, sensor, tuple(records), sent_us))
    if marks:
        log += [RawMessage(site, sensor, (), T0_US, mark=True) for site, sensor in sensors]
    return log


def scored_batch(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    """Rows of the `scored` schema; missing columns follow from the row's position."""
    schema = arrow_schema("scored", WIDTH)
    columns = []
    for fld in schema:
        if fld.name == "features":
            values = [[row["raw_offset"], row["raw_index"], row["end_ts_us"] % 1000] for row in rows]
            columns.append(matrix_column(np.array(values, np.float32).reshape(-1, WIDTH)))
        elif rows and fld.name in rows[0]:
            columns.append(pa.array([row[fld.name] for row in rows], fld.type))
        elif fld.nullable:
            columns.append(pa.array([None if row["raw_index"] % 2 else _filler(fld, row) for row in rows], fld.type))
        else:
            columns.append(pa.array([_filler(fld, row) for row in rows], fld.type))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _filler(fld: pa.Field, row: dict[str, Any]) -> Any:
    if pa.types.is_list(fld.type) or fld.name in (*EXPORT, "export_also"):
        return None
    if pa.types.is_string(fld.type):
        return f"{fld.name}{row['raw_offset'] % 3}"
    if pa.types.is_boolean(fld.type):
        return row["raw_offset"] % 2 == 0
    return row["raw_index"] % 100


def reject_batch(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    schema = arrow_schema("reject")
    columns = [pa.array([row.get(f.name) if f.nullable else row[f.name] for row in rows], f.type) for f in schema]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _row(message: RawMessage, record: Record) -> dict[str, Any]:
    """What every row says of where its record came from."""
    return {
        "site": message.site,
        "sensor": message.sensor,
        "ingest_ts_us": message.sent_us,
        **dict(zip(EXPORT, record.export, strict=True)),
    }


def _reject(offset: int, index: int) -> dict[str, Any]:
    bad = f"bad {offset} {index}".encode()
    return {
        "source_record": offset,
        "content_type": "zeek-conn+json",
        "reason": "not_json",
        "detail": f"raw {offset}",
        "record": bad,
        "record_size": len(bad),
    }


def _watermarks(sensors: Mapping[tuple[str, str], Sensor], lateness_us: int) -> tuple[SensorWatermark, ...]:
    return tuple(
        SensorWatermark(*key, sensor.latest_us - lateness_us)
        for key, sensor in sensors.items()
        if sensor.latest_us is not None
    )


def wire(
    log: Sequence[RawMessage],
    cuts: Sequence[int],
    lateness_us: int = 2_000_000,
    split_rejects: int = 3,
    partition: int = 0,
) -> Wire:
    """The log as the stages pass it on when ingest cuts before each message number in `cuts`; scalar on purpose."""
    sensors: dict[tuple[str, str], Sensor] = {}
    archive: list[bytes] = []
    rejects: list[dict[str, Any]] = []
    start = 0
    bounds = sorted({*cuts, *(number + 1 for number, message in enumerate(log) if message.mark), len(log)} - {0})
    for seq, stop in enumerate(bounds):
        on_time: list[dict[str, Any]] = []
        late: list[dict[str, Any]] = []
        records = rejected = 0
        ended = []
        for offset in range(start, stop):
            message = log[offset]
            key = (message.site, message.sensor)
            sensor = sensors.setdefault(key, Sensor())
            for index, record in enumerate(message.records):
                records += 1
                row = {"raw_partition": partition, "raw_offset": offset, "raw_index": index, **_row(message, record)}
                if record.end_ts_us is None:
                    rejected += 1
                    rejects.append(row | _reject(offset, index))
                    continue
                row |= {
                    "end_ts_us": record.end_ts_us,
                    "app_proto": record.text,
                    "record_id": hash(record.end_ts_us) % 7,
                }
                watermark = sensor.watermark_us(lateness_us)
                if watermark is not None and record.end_ts_us < watermark:
                    late.append(row | {"late_by_us": watermark - record.end_ts_us})
                else:
                    sensor.waiting.append((record.end_ts_us, row["record_id"], offset, index, row | {"late_by_us": 0}))
                sensor.latest_us = max(record.end_ts_us, sensor.latest_us or record.end_ts_us)
            if message.mark:
                ended.append(key)
        for key in sorted(sensors):
            on_time += sensors[key].released(lateness_us, key in ended)
            if key in ended:
                sensors[key] = Sensor()
        late.sort(key=lambda row: (row["site"], row["sensor"], row["raw_offset"], row["raw_index"]))
        waiting = [(offset, index) for sensor in sensors.values() for _, _, offset, index, _ in sensor.waiting]
        facts = ScoredFacts(
            seq=seq,
            raw_partition=partition,
            flows_offset=seq * 2,
            feature_set="test-1",
            feature_hash="abc",
            first=(start, 0),
            through=(stop - 1, max(len(log[stop - 1].records) - 1, 0)),
            frontier=min(waiting, default=None),
            records=records,
            rejected=rejected,
            watermarks=_watermarks(sensors, lateness_us),
            ended=tuple(ended),
        )
        archive.append(write(scored_batch(on_time + late), facts))
        start = stop
    parts = [rejects[at : at + split_rejects] for at in range(0, len(rejects), split_rejects)]
    return Wire(archive, [write(reject_batch(part), RejectsFacts(raw_partition=partition)) for part in parts])


def feed(archive: PartitionArchive, topics: Wire, random: Random, commit_chance: float = 0.3) -> None:
    """Read both topics from the archive's position, in random turns, committing now and then and at the end."""
    pairing = Pairing(archive.partition, archive.progress)
    # Offsets have gaps, as transaction markers make them.
    scored = [(2 * at, value) for at, value in enumerate(topics.archive)]
    rejects = [(3 * at, value) for at, value in enumerate(topics.rejects)]
    scored = [(offset, value) for offset, value in scored if offset >= (archive.progress.archive_next or 0)]
    rejects = [(offset, value) for offset, value in rejects if offset >= (archive.progress.rejects_next or 0)]
    while scored or rejects:
        if scored and (not rejects or random.random() < 0.5):
            offset, value = scored.pop(0)
            pairing.offer_scored(read_scored(value, at("archive", archive.partition, offset)))
        else:
            offset, value = rejects.pop(0)
            pairing.offer_rejects(offset, read_rejects(value, at("rejects", archive.partition, offset)))
        while (paired := pairing.next()) is not None:
            archive.take(paired)
            if random.random() < commit_chance:
                archive.commit()
    if archive.moved:
        archive.commit()


def positions(log: Sequence[RawMessage]) -> set[tuple[int, int]]:
    return {(offset, index) for offset, message in enumerate(log) for index in range(len(message.records))}
