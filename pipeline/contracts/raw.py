"""What a message of the topic `raw` is: its headers, and into how many records its bytes are cut.

Ingest decodes by these rules, and `forebay archive verify` counts by them what was sent; each cuts the bytes with code
of its own, so that the count proves something.

- A mark (`tick`, `end-of-source`, `baseline-command`) is a fact about a sensor. It holds no records, whatever its
  payload.
- A message of a known format holds a record a line. Blanks around a record do not belong to it, nor does a byte order
  mark at the message's start; a line of blanks is no record. A tab is a blank, unless it separates fields.
- A message of any other content type is one record, unless it is empty.
- Of headers of equal names the last one counts.
"""

from enum import Enum
from typing import NamedTuple

import orjson

from schemas.intake import MAX_LATENESS_US
from schemas.names import MAX_NAME_BYTES, is_name
from schemas.time_zones import is_time_zone

# As Kafka's client takes them.
Headers = list[tuple[str, str | bytes | None]]

ZEEK_JSON, ZEEK_TSV = "zeek-conn+json", "zeek-conn+tsv"
SURICATA_JSON, ICSFLOW_CSV = "suricata-eve+json", "icsflow+csv"
GOFLOW2_JSON, IPFIXCOL2_JSON = "goflow2+json", "ipfixcol2+json"
PMACCT_JSON, NFDUMP_JSON = "pmacct+json", "nfdump+json"
ARGUS_CSV, CICFLOWMETER_CSV, NFDUMP_CSV = "argus+csv", "cicflowmeter+csv", "nfdump+csv"
# Events of an EVE file that are read; the others are other logs' records, and most of the file.
SURICATA_ICS_EVENTS = ("modbus", "dnp3")
SURICATA_EVENTS = ("flow", *SURICATA_ICS_EVENTS)
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
# As messages for people list them: one for all logs of Zeek.
KNOWN_TYPES = (
    f"zeek-LOG+json, zeek-LOG+tsv (LOG is conn, {', '.join(ZEEK_ICS_LOGS)}), "
    f"{', '.join(name for name in CONTENT_TYPES if not name.startswith('zeek-'))}"
)
DELIMITED = tuple(name for name in CONTENT_TYPES if name.endswith(("+tsv", "+csv")))
# Of which tools write dates without an offset, in local time unless they are told otherwise.
WITH_LOCAL_TIMES = (ARGUS_CSV, CICFLOWMETER_CSV, NFDUMP_CSV, NFDUMP_JSON, PMACCT_JSON)
END_OF_SOURCE = "end-of-source"
TICK = "tick"
BASELINE_COMMAND = "baseline-command"

CONTENT_TYPE_HEADER, COLUMNS_HEADER = "content-type", "columns"
SITE_HEADER, SENSOR_HEADER = "site", "sensor"
TIME_ZONE_HEADER, LATENESS_HEADER = "time-zone", "lateness-us"
SOURCE_RECORDS_HEADER, RECORDS_HEADER = "source-records", "records"

# One byte more is still a reject of that reason, and Kafka takes it.
MAX_RECORD_BYTES = 1_048_576
MAX_COLUMNS = 1024
MAX_COLUMNS_BYTES = 65_536
# More records than offsets have numbers were never sent.
MAX_RECORDS_DIGITS = 19
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Framing(Enum):
    """Into what records the bytes of a message are cut."""

    NO_RECORDS = "none: the message is a mark"
    LINES = "a record a line"
    TABBED_LINES = "a record a line, whose fields tabs separate"
    WHOLE = "one record"


_FRAMING = {
    **{name: Framing.TABBED_LINES if name.endswith("+tsv") else Framing.LINES for name in CONTENT_TYPES},
    END_OF_SOURCE: Framing.NO_RECORDS,
    TICK: Framing.NO_RECORDS,
    BASELINE_COMMAND: Framing.NO_RECORDS,
}


_MARKS = frozenset(name for name, framing in _FRAMING.items() if framing is Framing.NO_RECORDS)


def framing_of(content_type: str) -> Framing:
    """How messages of a content type are cut."""
    return _FRAMING.get(content_type, Framing.WHOLE)


def tabbed(content_type: str) -> bool:
    """Whether a tab is a separator in records of that format."""
    return framing_of(content_type) is Framing.TABBED_LINES


class SourceInfo(NamedTuple):
    """What messages of one sender have in common.

    `fault` is the reason why no record of it can be decoded, empty where they can; `got` says what was found instead.
    Times without an offset are local ones of `time_zone`, or UTC where that is empty. `lateness_us` is how long later
    flows of the source may overtake earlier ones; None: as its site has it (lateness.py).
    """

    content_type: str
    columns: tuple[str, ...] = ()
    site: str = ""
    sensor: str = ""
    fault: str = ""
    got: str = ""
    time_zone: str = ""
    lateness_us: int | None = None

    @property
    def ends(self) -> bool:
        """Whether its messages are end-of-source marks."""
        return self.content_type == END_OF_SOURCE

    @property
    def ticks(self) -> bool:
        """Whether its messages say that the sensor has been idle."""
        return self.content_type == TICK

    @property
    def commands(self) -> bool:
        """Whether its messages are commands on the sensor's baseline (baseline_commands.py)."""
        return self.content_type == BASELINE_COMMAND

    @property
    def framing(self) -> Framing:
        """Into what records its messages are cut."""
        return framing_of(self.content_type)

    @property
    def marks(self) -> bool:
        """Whether its messages hold no records but a fact about the sensor."""
        return self.content_type in _MARKS

    @property
    def key(self) -> str:
        """The Kafka key of its messages."""
        return f"{self.site}/{self.sensor}"

    @property
    def headers(self) -> Headers:
        """The headers that say this of a message."""
        headers: Headers = [
            (CONTENT_TYPE_HEADER, self.content_type.encode()),
            (SITE_HEADER, self.site.encode()),
            (SENSOR_HEADER, self.sensor.encode()),
        ]
        if self.time_zone:
            headers.append((TIME_ZONE_HEADER, self.time_zone.encode()))
        if self.lateness_us is not None:
            headers.append((LATENESS_HEADER, str(self.lateness_us).encode()))
        return [*headers, (COLUMNS_HEADER, orjson.dumps(self.columns))] if self.columns else headers


def content_type_of(value: bytes | None) -> str:
    """What the content-type header says, shortened; empty where there is none."""
    return (value or b"").decode("utf-8", "replace")[:MAX_NAME_BYTES]


def stated_records(value: bytes | None) -> int | None:
    """How many records an end-of-source mark says were sent; None where it does not say."""
    return int(value) if value and value.isdigit() and len(value) <= MAX_RECORDS_DIGITS else None


def lateness_in(value: bytes) -> int | None:
    """The lateness that a header says; None where it is none."""
    digits = len(value) <= len(str(MAX_LATENESS_US)) and value.isdigit()
    return int(value) if digits and int(value) <= MAX_LATENESS_US else None


def name_of(value: bytes | None) -> str:
    """A site's or sensor's name, empty where it is none."""
    if value is None or len(value) > MAX_NAME_BYTES:
        return ""
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        return ""
    return text if is_name(text) else ""


def _columns(value: bytes | None) -> tuple[str, ...]:
    """Column names, none where the header is not a JSON list of different texts."""
    if value is None or len(value) > MAX_COLUMNS_BYTES:
        return ()
    try:
        names = orjson.loads(value)
    except orjson.JSONDecodeError:
        return ()
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return ()
    return tuple(names) if len(set(names)) == len(names) <= MAX_COLUMNS else ()


def source_info_of(
    content_type: bytes | None,
    columns: bytes | None,
    site: bytes | None,
    sensor: bytes | None,
    time_zone: bytes | None = None,
    lateness_us: bytes | None = None,
) -> SourceInfo:
    """What a message's headers say, and the first thing wrong with them."""
    kind = content_type_of(content_type)
    site_name, sensor_name = name_of(site), name_of(sensor)
    if kind not in _FRAMING:
        return SourceInfo(kind, (), site_name, sensor_name, "content_type", f"content-type {kind or 'nothing'}")
    if not site_name or not sensor_name:
        return SourceInfo(
            kind, (), site_name, sensor_name, "origin", f"site {site!r}, sensor {sensor!r}"[:MAX_NAME_BYTES]
        )
    zone = name_of(time_zone)
    if time_zone and not is_time_zone(zone):
        got = f"header time-zone {time_zone!r}"[:MAX_NAME_BYTES]
        return SourceInfo(kind, (), site_name, sensor_name, "time_zone", got)
    lateness = lateness_in(lateness_us) if lateness_us else None
    if lateness_us and lateness is None:
        got = f"header lateness-us {lateness_us!r}"[:MAX_NAME_BYTES]
        return SourceInfo(kind, (), site_name, sensor_name, "lateness", got)
    names = _columns(columns) if kind in DELIMITED else ()
    if names or kind not in DELIMITED:
        return SourceInfo(kind, names, site_name, sensor_name, time_zone=zone, lateness_us=lateness)
    return SourceInfo(kind, (), site_name, sensor_name, "columns", f"header columns {columns!r}"[:MAX_NAME_BYTES])
