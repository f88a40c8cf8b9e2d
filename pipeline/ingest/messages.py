"""A raw message as ingest sees it, and what its headers say (docs: topics.toml, raw)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

ZEEK_JSON, ZEEK_TSV = "zeek-conn+json", "zeek-conn+tsv"
SURICATA_JSON, ICSFLOW_CSV = "suricata-eve+json", "icsflow+csv"
GOFLOW2_JSON, IPFIXCOL2_JSON = "goflow2+json", "ipfixcol2+json"
PMACCT_JSON, NFDUMP_JSON = "pmacct+json", "nfdump+json"
ARGUS_CSV, CICFLOWMETER_CSV, NFDUMP_CSV = "argus+csv", "cicflowmeter+csv", "nfdump+csv"
# Logs of Zeek and icsnpp in which a record is an operation of an industrial protocol: zeek-LOG+json, zeek-LOG+tsv.
ZEEK_ICS_LOGS = (
    "modbus",
    "modbus_detailed",
    "modbus_mask_write_register",
    "modbus_read_write_multiple_registers",
    "dnp3",
    "dnp3_control",
    "dnp3_objects",
    "s7comm",
    "s7comm_plus",
    "enip",
    "cip",
    "opcua_binary",
    "bacnet",
)
ZEEK_ICS_TYPES = tuple(f"zeek-{log}+{form}" for log in ZEEK_ICS_LOGS for form in ("json", "tsv"))
CONTENT_TYPES = (
    ZEEK_JSON,
    ZEEK_TSV,
    SURICATA_JSON,
    ICSFLOW_CSV,
    GOFLOW2_JSON,
    IPFIXCOL2_JSON,
    PMACCT_JSON,
    NFDUMP_JSON,
    NFDUMP_CSV,
    ARGUS_CSV,
    CICFLOWMETER_CSV,
    *ZEEK_ICS_TYPES,
)
# What people are told: one for all logs of Zeek.
KNOWN_TYPES = (
    f"zeek-LOG+json, zeek-LOG+tsv (LOG is conn, {', '.join(ZEEK_ICS_LOGS)}), "
    f"{', '.join(name for name in CONTENT_TYPES if not name.startswith('zeek-'))}"
)
DELIMITED = tuple(name for name in CONTENT_TYPES if name.endswith(("+tsv", "+csv")))
END_OF_SOURCE = "end-of-source"
TICK = "tick"

CONTENT_TYPE_HEADER, COLUMNS_HEADER = "content-type", "columns"
SITE_HEADER, SENSOR_HEADER = "site", "sensor"
SOURCE_RECORDS_HEADER, RECORDS_HEADER = "source-records", "records"

_MAX_NAME_BYTES = 128
_MAX_COLUMNS = 1024
_MAX_COLUMNS_BYTES = 65_536


def tabbed(content_type: str) -> bool:
    """Whether a tab is a separator in records of that format."""
    return content_type.endswith("+tsv")


class SourceInfo(NamedTuple):
    """What messages of one sender have in common.

    `fault` is the reason why no record of it can be decoded, empty where they can; `got` says what was found instead.
    """

    content_type: str
    columns: tuple[str, ...] = ()
    site: str = ""
    sensor: str = ""
    fault: str = ""
    got: str = ""

    @property
    def ends(self) -> bool:
        """Whether its messages are end-of-source marks."""
        return self.content_type == END_OF_SOURCE

    @property
    def ticks(self) -> bool:
        """Whether its messages say that the sensor has been silent."""
        return self.content_type == TICK

    @property
    def marks(self) -> bool:
        """Whether its messages hold no records but a fact about the sensor."""
        return self.ends or self.ticks

    @property
    def key(self) -> str:
        """The Kafka key of its messages."""
        return f"{self.site}/{self.sensor}"


class RawMessage(NamedTuple):
    """One message of `raw`."""

    partition: int
    offset: int
    timestamp_us: int
    source: SourceInfo
    payload: bytes
    source_records: bytes | None = None
    traceparent: bytes | None = None


@dataclass(frozen=True, slots=True)
class Messages:
    """n messages of `raw` by partition, then offset; each field but `sources` has n values."""

    partition: npt.NDArray[np.int32]
    offset: npt.NDArray[np.int64]
    timestamp_us: npt.NDArray[np.int64]
    sources: Sequence[SourceInfo]
    """The different ones, perhaps more than these messages have."""
    source: npt.NDArray[np.int64]
    """Which of `sources`."""
    payloads: list[bytes]
    sizes: npt.NDArray[np.int64]
    source_records: list[bytes | None]
    traceparents: list[bytes | None]

    def __len__(self) -> int:
        return len(self.payloads)

    @classmethod
    def of(cls, messages: Sequence[RawMessage]) -> "Messages":
        """Messages side by side, as they come."""
        distinct = {id(message.source): message.source for message in messages}
        numbers = {key: number for number, key in enumerate(distinct)}
        return cls(
            np.array([message.partition for message in messages], np.int32),
            np.array([message.offset for message in messages], np.int64),
            np.array([message.timestamp_us for message in messages], np.int64),
            tuple(distinct.values()),
            np.array([numbers[id(message.source)] for message in messages], np.int64),
            [message.payload for message in messages],
            np.array([len(message.payload) for message in messages], np.int64),
            [message.source_records for message in messages],
            [message.traceparent for message in messages],
        )

    def part(self, first: int, last: int) -> "Messages":
        """The messages from `first` to `last` (exclusive)."""
        within = slice(first, last)
        return Messages(
            self.partition[within],
            self.offset[within],
            self.timestamp_us[within],
            self.sources,
            self.source[within],
            self.payloads[within],
            self.sizes[within],
            self.source_records[within],
            self.traceparents[within],
        )

    def at(self, indices: npt.NDArray[np.int64]) -> "Messages":
        """The messages at these indices, in this order."""
        chosen = indices.tolist()
        return Messages(
            self.partition[indices],
            self.offset[indices],
            self.timestamp_us[indices],
            self.sources,
            self.source[indices],
            [self.payloads[index] for index in chosen],
            self.sizes[indices],
            [self.source_records[index] for index in chosen],
            [self.traceparents[index] for index in chosen],
        )

    def of_sources(self, kind: Sequence[bool]) -> npt.NDArray[np.bool_]:
        """(n,) a fact about each of `sources`, for each message."""
        of_messages: npt.NDArray[np.bool_] = np.array(kind, np.bool_)[self.source]
        return of_messages


def _name(value: bytes | None) -> str:
    """A site's or sensor's name, empty where it is none."""
    if value is None or len(value) > _MAX_NAME_BYTES:
        return ""
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        return ""
    return "" if any(ord(letter) < 32 or ord(letter) == 127 for letter in text) else text


def _columns(value: bytes | None) -> tuple[str, ...]:
    """Column names, none where the header is not a JSON list of different texts."""
    if value is None or len(value) > _MAX_COLUMNS_BYTES:
        return ()
    try:
        names = orjson.loads(value)
    except orjson.JSONDecodeError:
        return ()
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return ()
    return tuple(names) if len(set(names)) == len(names) <= _MAX_COLUMNS else ()


def source_info_of(
    content_type: bytes | None, columns: bytes | None, site: bytes | None, sensor: bytes | None
) -> SourceInfo:
    """What a message's headers say, and the first thing wrong with them."""
    kind = (content_type or b"").decode("utf-8", "replace")[:_MAX_NAME_BYTES]
    site_name, sensor_name = _name(site), _name(sensor)
    if kind not in (*CONTENT_TYPES, END_OF_SOURCE, TICK):
        return SourceInfo(kind, (), site_name, sensor_name, "content_type", f"content-type {kind or 'nothing'}")
    if not site_name or not sensor_name:
        return SourceInfo(
            kind, (), site_name, sensor_name, "origin", f"site {site!r}, sensor {sensor!r}"[:_MAX_NAME_BYTES]
        )
    if kind not in DELIMITED:
        return SourceInfo(kind, (), site_name, sensor_name)
    names = _columns(columns)
    if names:
        return SourceInfo(kind, names, site_name, sensor_name)
    return SourceInfo(kind, (), site_name, sensor_name, "columns", f"header columns {columns!r}"[:_MAX_NAME_BYTES])
