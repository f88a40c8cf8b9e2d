"""What was lost before Kafka, as far as exporters' sequence numbers show it: a report of its own.

Nothing here says that Forebay lost anything, and nothing here can prove that nothing was lost: only what an exporter
numbers, and a collector passes on, is seen. Where more could be missing in the numbers than on the way, it says so.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.archive import segments
from pipeline.archive.closed_rows import ClosedRows
from pipeline.archive.manifest import ClosedFile
from pipeline.archive.paths import Position
from pipeline.archive.snapshot import Location, PartitionSnapshot
from pipeline.archive.upkeep.exporter_loss import sequences
from pipeline.archive.upkeep.exporter_loss.merge import InOrder, by_time, settled
from pipeline.archive.upkeep.exporter_loss.records import COLUMNS, Records, records_of
from pipeline.contracts.envelope import SensorName
from pipeline.errors import RefusedState
from pipeline.runtime.storage.location import StorageLike, open_storage
from pipeline.runtime.storage.storage import Storage

NUMBERS = ("export_sequence", "export_also")
MAX_EXPORTERS = 256  # of a sensor
UNITS = {"netflow5": "flows", "ipfix": "flows", "netflow9": "packets", "sflow": "packets"}
"""What a protocol's sequence numbers count."""
EVIDENCE = 8  # packets from which on the numbers themselves say what they count
NOTHING: Position = (-1, 0)
ALSO_MISSING = {
    "netflow9": "packets with nothing but templates or options are missing too",
    "sflow": "datagrams with nothing but counters are missing too",
    "ipfix": "records of options are missing too",
}


class OpenRecords(NamedTuple):
    """Records of a partition's files that are still open."""

    by_sensor: dict[SensorName, list[Records]]


class _Exporters:
    """A sensor's exporters: the state of each one's sequence numbers."""

    def __init__(self) -> None:
        self.sequences: dict[str, sequences.Sequence] = {}
        self.orders: defaultdict[int, InOrder] = defaultdict(InOrder)
        self.sources: set[str] = set()
        self.unnumbered = self.left_out = self.unread = 0

    def add(self, records: Records) -> None:
        """Take records in, in the order recorded."""
        if not len(records.offsets):
            return
        self.unnumbered += int((records.streams < 0).sum())
        order = np.argsort(records.streams, kind="stable")
        streams, starts = np.unique(records.streams[order], return_index=True)
        for stream, rows in zip(streams.tolist(), np.split(order, starts[1:]), strict=True):
            if stream < 0:
                continue
            name = records.names[stream]
            if name not in self.sequences and len(self.sequences) >= MAX_EXPORTERS:
                self.left_out += len(rows)
                continue
            before = self.sequences.get(name, sequences.Sequence())
            self.sequences[name] = sequences.count(before, records.numbers[rows], records.at_us[rows])


class ExporterLoss:
    """Reports on an archive, again and again; each closed file is read once, and only the columns needed."""

    def __init__(self) -> None:
        self._sensors: defaultdict[SensorName, _Exporters] = defaultdict(_Exporters)
        self._read: set[str] = set()
        self._done: dict[int, Position] = {}

    def refresh(
        self, uri: StorageLike, snapshots: Iterable[PartitionSnapshot], whole: bool = True
    ) -> list[dict[str, Any]]:
        """What each sensor with numbers lost, of the records that are in the archive for good.

        `whole`: whether the archive is known to hold all that reached Kafka. Each entry: site, sensor, numbered and
        unnumbered (records), missing_flows and missing_packets (both at most that, unless `exact`),
        exporters_left_out (records of more exporters than MAX_EXPORTERS), exporters: address, domain, protocol, unit
        (flows or packets; None where it is unknown), missing (None where nothing can be said), exact, why (not), gaps,
        ranges (first, last, missing, until_us: when the packet after them was sent on), ranges_left_out, resets,
        stragglers.
        """
        archive = open_storage(uri)
        reader, locations = ClosedRows(archive), dict[str, Location]()
        files: defaultdict[SensorName, dict[int, list[ClosedFile]]] = defaultdict(dict)
        passing: dict[int, OpenRecords] = {}
        bounds: dict[int, Position] = {}
        for snapshot in snapshots:
            since, until = self._done.get(snapshot.partition, NOTHING), settled(snapshot)
            still_open = _open(archive, snapshot) if until > since else None
            if still_open is None:
                continue
            bounds[snapshot.partition], passing[snapshot.partition] = until, still_open
            locations |= snapshot.locations
            for entry in snapshot.files:
                if entry.path not in self._read:
                    entries = files[entry.site, entry.sensor]
                    entries.setdefault(snapshot.partition, []).append(entry)
        for sensor in sorted(
            {*files, *self._sensors, *(name for opened in passing.values() for name in opened.by_sensor)}
        ):
            exporters = self._sensors[sensor]
            parts = [
                exporters.orders[partition].between(
                    _tables(reader, locations, files[sensor].get(partition, ()), exporters),
                    passing[partition].by_sensor.get(sensor, ()),
                    self._done.get(partition, NOTHING),
                    until,
                )
                for partition, until in bounds.items()
                if partition in exporters.orders or partition in files[sensor] or sensor in passing[partition].by_sensor
            ]
            for records in by_time(parts):
                exporters.add(records)
        self._read.update(entry.path for entries in files.values() for some in entries.values() for entry in some)
        self._done |= bounds
        return self._stated(whole)

    def _stated(self, whole: bool) -> list[dict[str, Any]]:
        under: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        for (site, sensor), exporters in self._sensors.items():
            for name in exporters.sequences:
                under[site, name].append(sensor)
        rows = []
        for (site, sensor), exporters in sorted(self._sensors.items()):
            if not exporters.sequences:
                continue
            stated = []
            for name, sequence in sorted(exporters.sequences.items()):
                doubts = _doubts(exporters, whole)
                doubts += [f"sensor {other!r} has records of it too" for other in under[site, name] if other != sensor]
                stated.append(_stated(name, sequences.as_of_now(sequence), doubts, exporters.sources))
            sums = {
                unit: sum(row["missing"] or 0 for row in stated if row["unit"] == unit) for unit in ("flows", "packets")
            }
            rows.append(
                {
                    "site": site,
                    "sensor": sensor,
                    "numbered": sum(sequence.records for sequence in exporters.sequences.values()),
                    "unnumbered": exporters.unnumbered,
                    "missing_flows": sums["flows"],
                    "missing_packets": sums["packets"],
                    "exact": all(row["exact"] for row in stated) and not exporters.left_out,
                    "exporters_left_out": exporters.left_out,
                    "exporters": stated,
                }
            )
        return rows


def _doubts(exporters: _Exporters, whole: bool) -> list[str]:
    """Why more could be missing in the numbers than was lost before Kafka, of all of a sensor's exporters."""
    doubts = []
    if not whole:
        doubts.append("the archive is not in order, so what it lost is missing too")
    if exporters.unread:
        doubts.append(f"{exporters.unread} files cannot be read")
    if exporters.unnumbered:
        doubts.append(f"{exporters.unnumbered} records of the sensor have no number")
    if len(exporters.orders) > 1:
        doubts.append("its records lie in several partitions, and what one is behind is missing")
    return doubts


def _stated(name: str, sequence: sequences.Sequence, doubts: list[str], sources: set[str]) -> dict[str, Any]:
    """The report of one exporter."""
    protocol, _, rest = name.partition(" ")
    address, _, domain = rest.rpartition(" ")
    unit = _unit(protocol, sequence)
    gaps = sequence.flows if unit == "flows" else sequence.packets
    why = list(doubts)
    if unit == "packets" and protocol != "sflow":
        why.append(ALSO_MISSING["netflow9"])
    elif protocol in ALSO_MISSING and unit == UNITS[protocol]:
        why.append(ALSO_MISSING[protocol])
    if unit == "flows" and "pmacct" in sources:
        why.append("pmacct writes records with the same fields as one")
    if sequence.stragglers:
        why.append(f"{sequence.stragglers} packets came too late to be put in order")
    if sequence.mixed:
        why = ["the numbers jump back and forth: those of several exporters under one name"]
    elif unit is None:
        why = ["neither a protocol nor the numbers say what is counted"]
    known = unit is not None and not sequence.mixed
    return {
        "address": None if address == "-" else address,
        "domain": None if domain == "-" else int(domain),
        "protocol": None if protocol == "-" else protocol,
        "unit": unit,
        "missing": gaps.missing if known else None,
        "exact": known and not why,
        "why": why,
        "gaps": gaps.count if known else None,
        "ranges": [gap._asdict() for gap in gaps.ranges] if known else [],
        "ranges_left_out": gaps.count - len(gaps.ranges) if known else 0,
        "resets": sequence.resets,
        "stragglers": sequence.stragglers,
    }


def _unit(protocol: str, sequence: sequences.Sequence) -> str | None:
    """What the numbers count: what the protocol says, unless they show that this exporter counts the other."""
    flows, packets = sequence.like_flows, sequence.like_packets
    if max(flows, packets) >= EVIDENCE and not packets / 2 <= flows <= packets * 2:
        return "flows" if flows > packets else "packets"
    return UNITS.get(protocol)


def _open(archive: Storage, snapshot: PartitionSnapshot) -> OpenRecords | None:
    """Records of open files; None where a writer is faster than we are: the next refresh will see them."""
    by_sensor: dict[SensorName, list[Records]] = {}
    if snapshot.problem:
        return OpenRecords(by_sensor)
    try:
        for stored in snapshot.open:
            for key, rows in segments.read(archive, stored, False):
                names = [name for name in COLUMNS if name in rows.schema.names]
                table = pa.Table.from_batches([rows.select(names)])
                by_sensor.setdefault((key.site, key.sensor), []).append(records_of(table))
    except (RefusedState, pa.ArrowException, OSError):
        return None
    return OpenRecords(by_sensor)


def _tables(
    reader: ClosedRows, locations: Mapping[str, Location], entries: Sequence[ClosedFile], exporters: _Exporters
) -> Iterator[pa.Table]:
    """The needed columns of closed files, those with the lowest positions first; without those that have no numbers."""
    for entry in sorted(entries, key=lambda entry: entry.first):
        try:
            where = locations[entry.path]
            rows = reader.read(where, COLUMNS) if reader.may_have(where, NUMBERS) else None
        except RefusedState:
            exporters.unread += 1
            continue
        if rows is None:
            exporters.unnumbered += entry.rows + entry.also
            continue
        if "source_type" in rows.schema.names:
            exporters.sources.update(pc.unique(rows.column("source_type")).to_pylist())
        yield rows
