"""What one batch of flows shows of devices and of who talks to whom: five tables, a row a thing and sensor.

Each value is a sum, a least or a greatest, so that tables of two batches fold into that of both, in any order.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.contracts.group_addresses import UNSPECIFIED
from pipeline.contracts.initiators import opened
from pipeline.contracts.services import EPHEMERAL, is_answer, is_ephemeral, is_industrial
from pipeline.contracts.whole_numbers import integers_of
from pipeline.featurize.addresses import UNICAST, address_keys, outside

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

PUBLIC = "public"
"""All public addresses are this one: there is no end of them, and none is a device of the plant's."""
NO_PORT = -1
HIGH_PORT = EPHEMERAL
"""All ports that only look like a client's are this one: which of them it was says nothing of the service."""
MAX_PROTO = 255
"""Transports up to here are IP protocols; from there on, less 256, EtherTypes."""
MAX_COUNT = 1 << 42
"""Bytes and packets of one flow, of which no plant has more: sums of what a hostile sensor says stay within 64 bits."""
MAX_NAME = 64
"""Characters of the sensor's own name of a protocol; Zeek's longest are lists such as gssapi,smb,krb,ntlm."""

COLUMNS = (
    *("site", "sensor", "record_kind", "is_biflow", "start_ts_us", "end_ts_us", "ether_type", "ip_proto"),
    *("src_addr", "dst_addr", "src_port", "dst_port", "src_mac", "dst_mac", "app_proto", "fwd_bytes", "rev_bytes"),
    *("fwd_pkts", "rev_pkts", "conn_state", "history", "fwd_tcp_flags", "rev_tcp_flags", "ics_proto", "ics_functions"),
    *("ics_read_cnt", "ics_write_cnt", "ics_control_cnt", "ics_exception_cnt"),
)
"""Of schema `flow`: all that is read of a row."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of table: what a row is about, and how rows about the same fold; first_us is the least, last_us the
    greatest of all.
    """

    name: str
    keys: tuple[str, ...]
    sums: tuple[str, ...]
    texts: tuple[str, ...] = ()  # the greatest one stays: a protocol that is named once is named

    @property
    def columns(self) -> tuple[str, ...]:
        """All its columns, in order."""
        return (*self.keys, "first_us", "last_us", *self.sums, *self.texts)


SENSORS = Kind("sensors", ("site", "sensor"), ("flows",))
ADDRESSES = Kind("addresses", ("site", "sensor", "address"), ("flows", "two_way"))
HARDWARE = Kind("hardware", ("site", "address", "mac"), ("flows",))
EDGES = Kind(
    "edges",
    ("site", "sensor", "client", "server", "transport", "port"),
    ("flows", "answered", "client_bytes", "server_bytes", "reads", "writes", "controls", "exceptions"),
    ("app", "ics"),
)
FUNCTIONS = Kind("functions", ("site", "sensor", "client", "server", "ics", "code"), ("requests",))
KINDS = (SENSORS, ADDRESSES, HARDWARE, EDGES, FUNCTIONS)

_TEXTS = {"site", "sensor", "address", "mac", "client", "server", "app", "ics"}
_SYN, _RST, _PSH = 2, 4, 8
# States in which who asked was refused, or heard nothing.
_REFUSED = ("S0", "REJ", "RSTOS0", "SH")


def schema_of(kind: Kind) -> pa.Schema:
    """The Arrow schema of a table."""
    return pa.schema([(name, pa.string() if name in _TEXTS else pa.int64()) for name in kind.columns])


def fold(kind: Kind, tables: list[pa.Table]) -> pa.Table:
    """Tables of one kind as one, in which each thing has one row, in the order of its keys."""
    rows = pa.concat_tables(tables)
    grouped = rows.group_by(list(kind.keys), use_threads=False).aggregate(
        [
            ("first_us", "min"),
            ("last_us", "max"),
            *((name, "sum") for name in kind.sums),
            *((name, "max") for name in kind.texts),
        ]
    )
    folded = grouped.rename_columns(list(kind.columns)).cast(schema_of(kind))
    return folded.sort_by([(key, "ascending") for key in kind.keys]).combine_chunks()


def sightings(rows: pa.RecordBatch) -> dict[str, pa.Table]:
    """What rows show, a table for each of KINDS: rows of schema `flow` or of one that extends it, of any sensors.

    An address is seen only if it sent something: one that is only asked, as most of a scan's are, is no device.
    """
    flows = _Flows(rows)
    parts = {
        SENSORS: [flows.table(SENSORS, {})],
        ADDRESSES: flows.addresses(),
        HARDWARE: flows.hardware(),
        EDGES: [flows.edges()],
        FUNCTIONS: [flows.functions()],
    }
    return {kind.name: fold(kind, tables) for kind, tables in parts.items()}


class _Flows:
    """A batch's columns, and who is the client of whom in each row."""

    def __init__(self, rows: pa.RecordBatch) -> None:
        self._rows = rows
        self._addresses, (source, target), self._is_public_ip6 = _devices(rows)
        self._is_group = _is_group(self._addresses)
        src_port, dst_port = self._ints("src_port", NO_PORT), self._ints("dst_port", NO_PORT)
        is_biflow = self._mask("is_biflow")
        state = rows.column("conn_state")
        # An answer that found no request, from a port below the client's of systems that begin to count at 1024.
        answers = ~is_biflow & is_industrial(src_port) & ~is_industrial(dst_port)
        self._turned = (~opened(rows) & is_answer(src_port, dst_port)) | answers
        # To nobody in particular: whoever sends to a group asks.
        self._turned &= ~self._is_group[target]
        self._sent_back = (self._ints("rev_pkts") > 0) | (self._ints("rev_bytes") > 0)
        self._source, self._target = source, target
        self._client = np.where(self._turned, target, source)
        self._server = np.where(self._turned, source, target)
        port = np.where(self._turned, src_port, dst_port)
        self._port = np.where(is_ephemeral(port), HIGH_PORT, port)
        self._answered = self._is_answered(state)

    def _is_answered(self, state: pa.Array) -> Mask:
        """(n,) whether the server took the request up: a refusal is no answer."""
        sent = np.where(self._turned, True, self._sent_back)
        flags = np.where(self._turned, self._ints("fwd_tcp_flags"), self._ints("rev_tcp_flags"))
        refused = _is_in(state, _REFUSED) & ~self._turned
        refused |= ((flags & _RST) > 0) & ((flags & (_PSH | _SYN)) == 0) & _is_in(state, ("OTH", *_REFUSED))
        answered: Mask = sent & ~refused & (self._is_flow > 0)
        return answered

    def _ints(self, name: str, null: int = 0) -> Ints:
        column = self._rows.column(name)
        if pa.types.is_uint64(column.type):
            column = pc.min_element_wise(column, pa.scalar(MAX_COUNT, pa.uint64()))
        return integers_of(column, null)

    def _mask(self, name: str) -> Mask:
        values: Mask = self._rows.column(name).fill_null(False).to_numpy(zero_copy_only=False)
        return values

    def table(self, kind: Kind, columns: dict[str, pa.Array], take: Mask | None = None) -> pa.Table:
        """Rows of a kind, of each flow or of those of `take`; what is not said is the flow's own."""
        made = {
            "site": self._rows.column("site"),
            "sensor": self._rows.column("sensor"),
            # A clock that jumped back within a flow leaves its start behind its end.
            "first_us": np.minimum(self._ints("start_ts_us"), self._ints("end_ts_us")),
            "last_us": self._ints("end_ts_us"),
            "flows": self._is_flow,
            **columns,
        }
        table = pa.table([pa.array(made[name]) for name in kind.columns], schema=schema_of(kind))
        return table if take is None else table.filter(pa.array(take))

    @property
    def _is_flow(self) -> Ints:
        """(n,) 1, or 0 of a row that says only what was asked within a flow."""
        return (~_is_in(self._rows.column("record_kind"), ("ics",))).astype(np.int64)

    def _names(self, index: Ints) -> pa.Array:
        return self._addresses.take(pa.array(index))

    def addresses(self) -> list[pa.Table]:
        """Each end that sent something; two_way: in how many flows both ends did."""
        two_way = (self._sent_back & ~self._is_group[self._target]).astype(np.int64)
        return [
            self.table(ADDRESSES, {"address": self._names(end), "two_way": two_way}, sent & ~self._is_group[end])
            for end, sent in self._ends
        ]

    @property
    def _ends(self) -> tuple[tuple[Ints, Mask], tuple[Ints, Mask]]:
        """Both ends of each row, and where they sent something; who sent the first packet always did."""
        return (self._source, np.ones(len(self._source), np.bool_)), (self._target, self._sent_back)

    def hardware(self) -> list[pa.Table]:
        """The hardware address of each end that sent something from it."""
        tables = []
        for (end, sent), name in zip(self._ends, ("src_mac", "dst_mac"), strict=True):
            mac = self._rows.column(name).cast(pa.string())
            own = mac.is_valid().to_numpy(zero_copy_only=False) & ~_is_group(mac)
            # A host has a public IPv6 address of its own: it shows no way out, as one of IPv4 does.
            take = sent & own & ~self._is_group[end] & ~self._is_public_ip6[end]
            tables.append(self.table(HARDWARE, {"address": self._names(end), "mac": mac}, take))
        return tables

    def edges(self) -> pa.Table:
        """Client, server and service of each flow."""
        fwd, rev = self._ints("fwd_bytes"), self._ints("rev_bytes")
        ip_proto = self._ints("ip_proto", -1)
        columns = {
            "client": self._names(self._client),
            "server": self._names(self._server),
            "transport": np.where(ip_proto >= 0, ip_proto, MAX_PROTO + 1 + self._ints("ether_type")),
            "port": self._port,
            "answered": self._answered.astype(np.int64),
            "client_bytes": np.where(self._turned, rev, fwd),
            "server_bytes": np.where(self._turned, fwd, rev),
            "reads": self._ints("ics_read_cnt"),
            "writes": self._ints("ics_write_cnt"),
            "controls": self._ints("ics_control_cnt"),
            "exceptions": self._ints("ics_exception_cnt"),
            "app": pc.utf8_slice_codeunits(self._rows.column("app_proto").cast(pa.string()).fill_null(""), 0, MAX_NAME),
            "ics": self._rows.column("ics_proto").cast(pa.string()).fill_null(""),
        }
        return self.table(EDGES, columns)

    def functions(self) -> pa.Table:
        """Who asked whom for which industrial function: a row a flow and function."""
        listed = self._rows.column("ics_functions").cast(pa.list_(pa.int64()))
        flat, parents = pc.list_flatten(listed), pc.list_parent_indices(listed)
        row = parents.to_numpy(zero_copy_only=False)[::2].astype(np.int64)
        at = pa.array(row)
        first_us = np.minimum(self._ints("start_ts_us"), self._ints("end_ts_us"))
        columns = {
            "site": self._rows.column("site").take(at),
            "sensor": self._rows.column("sensor").take(at),
            "client": self._names(self._client[row]),
            "server": self._names(self._server[row]),
            "ics": self._rows.column("ics_proto").cast(pa.string()).fill_null("").take(at),
            "code": flat[::2],
            "requests": flat[1::2],
            "first_us": first_us[row],
            "last_us": self._ints("end_ts_us")[row],
        }
        return self.table(FUNCTIONS, columns)


def _devices(rows: pa.RecordBatch) -> tuple[pa.StringArray, tuple[Ints, Ints], Mask]:
    """The batch's addresses, of both ends of each row which it is, and which addresses are public ones of IPv6.

    A public address is PUBLIC. Who has no address yet (0.0.0.0 asks DHCP for one) is its hardware address.
    """
    source, target = rows.column("src_addr").cast(pa.string()), rows.column("dst_addr").cast(pa.string())
    mac = rows.column("src_mac").cast(pa.string())
    nameless = pc.and_(pc.match_substring_regex(source, UNSPECIFIED), mac.is_valid())
    both = pa.concat_arrays([pc.if_else(nameless, mac, source), target]).dictionary_encode()
    distinct, index = both.dictionary, both.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    is_public = outside(distinct)
    is_ip6 = pc.match_substring(distinct, ":").to_numpy(zero_copy_only=False)
    named = pc.if_else(pa.array(is_public), PUBLIC, distinct)
    return named, (index[: len(rows)], index[len(rows) :]), is_public & is_ip6


def _is_group(column: pa.StringArray) -> Mask:
    """(n,) whether an address is of no single device: multicast, broadcast (x.x.x.255 too) or unspecified."""
    _, kinds = address_keys(column)
    is_group: Mask = kinds != UNICAST
    return is_group


def _is_in(column: pa.Array, values: tuple[str, ...]) -> Mask:
    """(n,) whether a text is one of the values."""
    mask: Mask = pc.is_in(column, pa.array(values, pa.string())).fill_null(False).to_numpy(zero_copy_only=False)
    return mask
