"""Captures that a baseline is judged on: their flows, and what every record is, an attack of some kind or none."""

import csv
import io
import ipaddress
import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from loadtest.plants.generated.plant import EVENTS_FILE
from loadtest.plants.westermo import traffic
from pipeline.contracts.class_names import NORMAL
from pipeline.ingest.files.offline_rows import decode_file
from pipeline.tools.offline.naming_figures import iot_23_details

Strings = npt.NDArray[np.str_]
Mask = npt.NDArray[np.bool_]
SITE = "new"
"""No model knows it."""
UNKNOWN = "?"
"""Kind of a record nobody has labelled."""
WESTERMO_KINDS = {
    "Normal": NORMAL,
    "GOOD-SSH": "login",
    "BAD-MISCONF": "fault",
    "BAD-MISCONF-DUPLICATION": "fault",
    "BAD-MITM": "man in the middle",
    "BAD-PORTSCAN1": "scan of one host",
    "BAD-PORTSCAN2": "scan of several",
    "BAD-SSH": "SSH logins",
}
HARMLESS = (NORMAL, "login", "fault", UNKNOWN)
"""Kinds that are no attack."""
UNTRUE = (NORMAL, UNKNOWN)
"""Kinds of which an incident is false: that of a login or a fault has its reason."""
LATER_S = 8 * 3_600
"""When the command and control of IoT-23's bot begins, where it is moved behind the learning."""
LEMAY = {
    "characterization": "characterization_modbus_6RTU_with_operate",
    "fake-command": "send_a_fake_command_modbus_6RTU_with_operate",
    "moving-files": "moving_two_files_modbus_6RTU",
}
AROUND_US = 1_000_000
"""By so much the clock of a packet and of the record that it is in may differ."""


GAP_US = 60_000_000
"""Flows of one kind with no longer gaps are one attack."""
FOR_EVER_US = 1 << 62


@dataclass(frozen=True, slots=True)
class Capture:
    """A network's flows in raw order, and the kind (records,) of every record of its file, by source_record.

    harmless: kinds that are no attack. gap_us: flows of one kind with no longer gaps are one attack.
    """

    name: str
    flows: pa.RecordBatch
    kind: Strings
    harmless: tuple[str, ...] = HARMLESS
    gap_us: int = GAP_US

    @property
    def first_us(self) -> int:
        """When the first flow ended."""
        return int(pc.min(self.flows.column("end_ts_us")).as_py())

    @property
    def span_us(self) -> int:
        """From the end of the first flow to that of the last."""
        return int(pc.max(self.flows.column("end_ts_us")).as_py()) - self.first_us

    def kinds(self, rows: pa.RecordBatch | None = None) -> Strings:
        """(n,) the kinds of rows of its flows; of all flows by default."""
        record = (self.flows if rows is None else rows).column("source_record")
        kinds: Strings = self.kind[record.to_numpy(zero_copy_only=False).astype(np.int64)]
        return kinds

    def without(self, dropped: Mask, name: str) -> "Capture":
        """The same without some flows, (n,): as if they had never been."""
        return replace(self, name=name, flows=self.flows.filter(pa.array(~dropped)))


@dataclass(frozen=True, slots=True)
class HostilePackets:
    """Packets of an attack, (n,) each: microseconds since the epoch, IPv4 addresses as integers, ports or -1."""

    time_us: npt.NDArray[np.int64]
    source: npt.NDArray[np.int64]
    destination: npt.NDArray[np.int64]
    source_port: npt.NDArray[np.int64]
    destination_port: npt.NDArray[np.int64]


PacketsOf = Callable[[Path, str], HostilePackets]
"""The hostile packets of a labelled capture in a folder, by its name."""


def captures_in(data: Path, packets_of: PacketsOf) -> Iterator[Capture]:
    """Westermo's two sensors, and every labelled or plain capture of other networks in the folder of the data sets."""
    for sensor in traffic.SENSORS:
        yield westermo(sensor)
    for path in sorted((data / "iot-23").glob("*.conn.log.labeled")):
        recorded = iot_23(path)
        yield recorded
        yield with_later_control(recorded)
    formats = data / "formats"
    for pattern in ("zeek-tsv/4SICS-*/conn.log", "argus/slips-*.binetflow", "zeek-json/**/conn.log"):
        for path in sorted(formats.glob(pattern)):
            yield plain(path.parent.name if path.name == "conn.log" else path.name.split(".")[0], path)
    for attack, name in LEMAY.items():
        path = formats / "argus/derived" / f"lemay-{attack}.argus.csv"
        if path.is_file() and (data / "lemay-modbus" / f"{name}.pcap").is_file():
            yield lemay(attack, path, packets_of(data / "lemay-modbus", name))


def _flows(path: Path, sensor: str) -> pa.RecordBatch:
    return decode_file(path, site=SITE, sensor=sensor, ingest_ts_us=2**51, max_future_us=2**62).flows


def plain(name: str, path: Path) -> Capture:
    """A capture without labels."""
    flows = _flows(path, name)
    records = int(pc.max(flows.column("source_record")).as_py() or 0) + 1
    return Capture(name, flows, np.full(records, UNKNOWN))


def westermo(sensor: str) -> Capture:
    """A sensor of Westermo's plant, as one of a plant never seen."""
    path = traffic.zipped(sensor)
    with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as member:
        labels = [row[traffic.LABEL] for row in csv.DictReader(io.TextIOWrapper(member, "utf-8", newline=""))]
    return Capture(f"westermo-{sensor}", _flows(path, sensor), np.array([WESTERMO_KINDS[label] for label in labels]))


def iot_23(path: Path) -> Capture:
    """A capture of IoT-23, by its detailed labels."""
    kinds = [NORMAL if is_benign else detail for is_benign, detail in iot_23_details(path)]
    return Capture(
        path.name.split(".")[0].replace("CTU-IoT-Malware-Capture", "iot-23"), _flows(path, "s"), np.array(kinds)
    )


def with_later_control(capture: Capture) -> Capture:
    """The same without its command and control before LATER_S."""
    early = capture.flows.column("end_ts_us").to_numpy() < capture.first_us + LATER_S * 1_000_000
    return capture.without(early & (capture.kinds() == "C&C"), f"{capture.name}, C&C from hour {LATER_S // 3_600}")


def lemay(attack: str, path: Path, packets: HostilePackets) -> Capture:
    """One of Lemay's captures: a flow is an attack if a hostile packet went between its ends in its time."""
    flows = _flows(path, attack)
    times: dict[frozenset[tuple[str, int]], list[int]] = {}
    columns = (packets.source, packets.source_port, packets.destination, packets.destination_port, packets.time_us)
    for source, source_port, destination, destination_port, time_us in zip(
        *(column.tolist() for column in columns), strict=True
    ):
        ends = frozenset(((_dotted(source), source_port), (_dotted(destination), destination_port)))
        times.setdefault(ends, []).append(time_us)
    hostile = np.zeros(int(pc.max(flows.column("source_record")).as_py()) + 1, np.bool_)
    fields = ("source_record", "src_addr", "src_port", "dst_addr", "dst_port", "start_ts_us", "end_ts_us")
    for row in flows.select(fields).to_pylist():
        ends = frozenset(((row["src_addr"], _port(row["src_port"])), (row["dst_addr"], _port(row["dst_port"]))))
        first, last = row["start_ts_us"] - AROUND_US, row["end_ts_us"] + AROUND_US
        if any(first <= time_us <= last for time_us in times.get(ends, ())):
            hostile[row["source_record"]] = True
    return Capture(f"lemay-{attack}", flows, np.where(hostile, attack, NORMAL))


def generated(folder: Path, sensor: str) -> Capture:
    """A sensor of a plant that `forebay load plant` wrote: every event is a kind, and at most one attack."""
    events = json.loads((folder / EVENTS_FILE).read_text(encoding="utf-8"))["events"]
    of_uid = {uid: event["name"] for event in events for uid in event["uids"].get(sensor, ())}
    flows = _flows(folder / sensor, sensor)
    # The records of a folder's files are numbered file by file: here a flow's number is its own.
    number = flows.schema.get_field_index("source_record")
    own = pa.array(np.arange(flows.num_rows), flows.schema.field(number).type)
    flows = flows.set_column(number, flows.schema.field(number), own)
    kind = np.array([of_uid.get(uid, NORMAL) for uid in flows.column("sensor_uid").to_pylist()])
    harmless = (NORMAL, *sorted({event["name"] for event in events if event["kind"] != "attack"}))
    return Capture(f"generated {sensor}", flows, kind, harmless, FOR_EVER_US)


def replaced(before: Capture, after: Capture) -> Capture:
    """Another network at the same sensor: its first flow ends a second after the last of the one before."""
    by_us = before.first_us + before.span_us + 1_000_000 - after.first_us
    moved = after.flows
    changed = {
        "start_ts_us": moved.column("start_ts_us").to_numpy() + by_us,
        "end_ts_us": moved.column("end_ts_us").to_numpy() + by_us,
        "raw_offset": moved.column("raw_offset").to_numpy() + before.flows.num_rows,
        "source_record": moved.column("source_record").to_numpy(zero_copy_only=False) + len(before.kind),
    }
    for name, values in changed.items():
        number = moved.schema.get_field_index(name)
        moved = moved.set_column(number, moved.schema.field(number), pa.array(values, moved.schema.field(number).type))
    flows = pa.concat_batches([before.flows, moved])
    return Capture(f"{before.name}, then {after.name}", flows, np.concatenate((before.kind, after.kind)))


def _dotted(address: int) -> str:
    return str(ipaddress.IPv4Address(address)) if address >= 0 else ""


def _port(port: int | None) -> int:
    return -1 if port is None else port
