"""What messages of another tool would become under a source of the settings: formats, names, flows, rejects. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.contracts.envelope import SensorName
from pipeline.contracts.lateness import largest
from pipeline.contracts.raw import CONTENT_TYPES, DELIMITED, SourceInfo, source_info_of
from pipeline.ingest.decode import decode_messages
from pipeline.ingest.files.field_report import FieldReport, ReasonReport, field_report, reason_report
from pipeline.ingest.formats.marks import KINDS, NEAR_MISSES, WRAPPED
from pipeline.ingest.intake.convert import Converter
from pipeline.ingest.intake.origins import Envelope
from pipeline.ingest.intake.pack import RawPack
from pipeline.ingest.intake.records import levels_of
from pipeline.ingest.late import MUCH, behind_us, late_rows, proposed_us, within_us
from pipeline.ingest.messages import Messages, RawMessage
from pipeline.ingest.recognise import PLAIN
from schemas.intake import TopicSource

REMEDIES = {
    "content_type": "let the tool write one of the formats of docs/sources.md; lines of CSV or TSV need `format` and "
    "`columns` in their source",
    "origin": "give `site` and `sensor` of the source an `else`",
    "columns": "let the tool write whole lines, with the fields that its header, or `columns` of its source, "
    "names in order",
    "not_json": "let the tool write one JSON object a line; lines of CSV or TSV need `format` and `columns`",
    "future": "set the clock of the sensor, or `time_zone` of its source where it writes local time",
    "time_zone": "correct header time-zone where messages of `raw` are written",
    "lateness": "correct header lateness-us where messages of `raw` are written",
    "other_log": "correct `format` of the source, or leave it out: auto tells logs apart",
}


class Sample(NamedTuple):
    """One message of another tool."""

    payload: bytes
    envelope: Envelope
    timestamp_us: int


class Origins(NamedTuple):
    """How many records would be of a site and sensor."""

    site: str
    sensor: str
    records: int


class Disorder(NamedTuple):
    """How a sensor's flows come out of order of their ends: how many come late at the lateness that holds for it, how
    long after a later one 99 % and all of them come at most, and a lateness that takes 99 % of them.
    """

    site: str
    sensor: str
    flows: int
    late: int
    lateness_us: int
    within_us: int
    most_us: int
    proposed_us: int

    @property
    def is_much(self) -> bool:
        """Whether more come late than one would leave so."""
        return self.late > MUCH * self.flows


@dataclass(frozen=True, slots=True)
class Checked:
    """What n messages would become.

    `formats` counts records by content-type, "" for those that no format knows; `near_misses` those that are known and
    not read, by what they are and what to do. `stated`: which lateness the messages of each sensor would state.
    """

    messages: int
    records: int
    formats: dict[str, int]
    other_logs: dict[str, int]
    in_wrappers: int
    near_misses: dict[str, int]
    origins: list[Origins]
    flows: pa.RecordBatch
    fields: list[FieldReport]
    rejects: list[ReasonReport]
    stated: dict[SensorName, set[int | None]]

    @property
    def rejected(self) -> int:
        """Records that would become rejects."""
        return sum(reject.count for reject in self.rejects)


def check(samples: Sequence[Sample], source: TopicSource, max_future_us: int) -> Checked:
    """Convert and decode the messages as intake and ingest would. Nothing in a message raises."""
    payloads = [sample.payload for sample in samples]
    converted = Converter(source).convert(payloads, [sample.envelope for sample in samples])
    sent_us = max((sample.timestamp_us for sample in samples), default=0)
    decoded = decode_messages(Messages.of(_raw(converted.packs, sent_us)), max_future_us)
    formats: Counter[str] = Counter()
    origins: Counter[SensorName] = Counter()
    stated = dict[SensorName, set[int | None]]()
    for pack in converted.packs:
        formats[pack.content_type if pack.content_type in CONTENT_TYPES else ""] += pack.records
        origins[pack.site, pack.sensor] += pack.records
        stated.setdefault((pack.site, pack.sensor), set()).add(pack.lateness_us)
    kinds = Counter(decoded.rejects["content_type"].to_pylist())
    known = ", ".join(kind for kind in formats if kind)
    return Checked(
        len(samples),
        converted.records,
        dict(formats.most_common()),
        dict(converted.other_logs.most_common()),
        _in_wrappers(payloads, source),
        {sentence: kinds[kind] for kind, sentence in NEAR_MISSES.items() if kinds[kind]},
        [Origins(site, sensor, count) for (site, sensor), count in origins.most_common()],
        decoded.flows,
        field_report(decoded.flows, known) if decoded.flows.num_rows else [],
        reason_report(decoded.rejects),
        stated,
    )


def disorder(
    flows: pa.RecordBatch, stated: Mapping[SensorName, Iterable[int | None]], lateness_of: Callable[[str], int]
) -> list[Disorder]:
    """How far each sensor's flows are out of order, by site and sensor.

    flows: of the `flow` schema, in raw order; stated: what messages of each sensor state; lateness_of: what is set for
    a site.
    """
    names = list(zip(flows["site"].to_pylist(), flows["sensor"].to_pylist(), strict=True))
    numbers = {name: number for number, name in enumerate(sorted(set(names)))}
    of_row, end_us = np.array([numbers[name] for name in names], np.int64), flows["end_ts_us"].to_numpy()
    found = list[Disorder]()
    for name, number in numbers.items():
        ends = end_us[of_row == number]
        behind, lateness_us = behind_us(ends), largest(stated.get(name, ()), lateness_of(name[0]))
        late, most_us = int(late_rows(ends, lateness_us).sum()), int(behind.max())
        found.append(Disorder(*name, len(ends), late, lateness_us, within_us(behind), most_us, proposed_us(behind)))
    return found


def remedy_of(reason: str) -> str:
    """What to do about rejects of a reason."""
    return REMEDIES.get(reason, "correct it where the record is written")


def _raw(packs: Sequence[RawPack], sent_us: int) -> list[RawMessage]:
    return [RawMessage(0, number, sent_us, _source_info(pack), pack.value) for number, pack in enumerate(packs)]


def _source_info(pack: RawPack) -> SourceInfo:
    info = source_info_of(
        pack.content_type.encode(), None, pack.site.encode(), pack.sensor.encode(), pack.time_zone.encode()
    )
    if info.fault == "columns" and pack.columns:
        return info._replace(columns=pack.columns, fault="", got="", time_zone=pack.time_zone)
    return info


def _in_wrappers(payloads: Sequence[bytes], source: TopicSource) -> int:
    """How many documents of shippers hold a record."""
    if source.format in DELIMITED:
        return 0
    wrapped = KINDS.index(WRAPPED)
    return sum(int((level.recognised.kind == wrapped).sum()) for level in levels_of(payloads, PLAIN))
