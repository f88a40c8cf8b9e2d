"""Records of every format: plain good ones, and Hypothesis strategies for odd ones."""

import json
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from hypothesis import strategies as st

from pipeline.contracts.raw import SourceInfo
from pipeline.ingest.decode import Decoded, decode_messages
from pipeline.ingest.messages import Messages, RawMessage

SENT_US = 1_800_000_000_000_000
MAX_FUTURE_US = 3_600_000_000

ZEEK: dict[str, Any] = {
    "ts": 1678440574.078823,
    "uid": "CXWWCq4tRWduyB9st6",
    "id.orig_h": "192.168.1.9",
    "id.orig_p": 50820,
    "id.resp_h": "45.33.32.156",
    "id.resp_p": 443,
    "proto": "tcp",
    "service": "ssl",
    "duration": 0.20696377754211426,
    "orig_bytes": 120,
    "resp_bytes": 4000,
    "conn_state": "SF",
    "missed_bytes": 0,
    "history": "ShADadFf",
    "orig_pkts": 7,
    "orig_ip_bytes": 420,
    "resp_pkts": 9,
    "resp_ip_bytes": 4400,
}
EVE: dict[str, Any] = {
    "timestamp": "2021-06-06T15:57:37.272281+0200",
    "flow_id": 2232403389523415,
    "event_type": "flow",
    "src_ip": "91.238.203.56",
    "src_port": 48938,
    "dest_ip": "192.168.1.129",
    "dest_port": 445,
    "proto": "TCP",
    "flow": {
        "pkts_toserver": 2,
        "pkts_toclient": 2,
        "bytes_toserver": 120,
        "bytes_toclient": 120,
        "start": "2021-06-06T17:34:31.140759+0200",
        "end": "2021-06-06T17:34:31.141012+0200",
        "age": 0,
    },
    "tcp": {"tcp_flags": "16", "tcp_flags_ts": "02", "tcp_flags_tc": "14"},
}
ICSFLOW: dict[str, str] = {
    "sAddress": "198.18.134.11",
    "rAddress": "198.18.134.12",
    "sMACs": "b8:27:eb:6d:4f:4b/b8:27:eb:5b:50:19",
    "rMACs": "b8:27:eb:5b:50:19",
    "protocol": "IPV4-TCP",
    "start": "1678440574.08554",
    "end": "1678440574.565764",
    "sPackets": "42",
    "rPackets": "30",
    "sBytesSum": "2478",
    "rBytesSum": "1866",
    "sPayloadSum": "294",
    "rPayloadSum": "306",
    "sInterPacketAvg": "0.011692971718020556",
    "rInterPacketAvg": "",
    "sttl": "64.0",
    "rttl": "64.0",
    "sWinTCP": "503.0",
    "rWinTCP": "506.2",
    **{f"{side}{flag}Rate": "0.0" for side in "sr" for flag in ("Ack", "Urg", "Fin", "Psh", "Syn", "Rst")},
    "sSynRate": "0.024",
    "rAckRate": "1.0",
}


def decode(
    records: Sequence[bytes], content_type: str, columns: Sequence[str] = (), pack: int = 1, fault: str = ""
) -> Decoded:
    """Decode records as messages of `pack` each."""
    stream = SourceInfo(content_type, tuple(columns), "plant", "sensor", fault)
    messages = [
        RawMessage(3, 900 + at, SENT_US, stream, b"\n".join(records[at : at + pack]))
        for at in range(0, len(records), pack)
    ]
    return decode_messages(Messages.of(messages), MAX_FUTURE_US)


def reasons(decoded: Decoded) -> list[str]:
    names: list[str] = decoded.rejects["reason"].to_pylist()
    return names


def flow_of(record: dict[str, Any], content_type: str) -> dict[str, Any]:
    """The flow of one JSON record, which must be accepted."""
    decoded = decode([json.dumps(record).encode()], content_type)
    assert decoded.flows.num_rows == 1, decoded.rejects.to_pylist()
    row: dict[str, Any] = decoded.flows.to_pylist()[0]
    return row


NUMBERS = st.one_of(
    st.integers(-3, 70_000),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.sampled_from(
        [0, 255, 256, 4095, 4096, 65_535, 65_536, 2**32, 2**60, 2**60 + 1, 2**63, 2**64, 1e300, 1e-300, -0.0]
    ),
)
TEXTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["", "-", "80", "80.0", "0x50", "1e3", "tcp", "UDP", "icmp", "58", "999", "unknown_transport", "S0"]
    ),
    st.sampled_from(["\x00", "a\nb", "é", "\U0001f600", "\x7f", "(empty)", "null", "NaN", "ff", "1G"]),
)
ADDRESSES = st.one_of(
    st.ip_addresses().map(str),
    st.ip_addresses(v=6).map(lambda address: address.exploded.upper()),
    st.sampled_from(
        ["::", "::1", "1::", "fe80::1%eth0", "::ffff:1.2.3.4", "1.2.3", "01.2.3.4", "1.2.3.256", "1:2:3:4:5:6:7:8:9"]
    ),
    st.sampled_from(
        ["b8:27:eb:6d:4f:4b", "B8-27-EB-6D-4F-4B", "b8:27:eb:6d:4f", "b8:27:eb-6d:4f:4b", "::1::", "1:::2"]
    ),
    TEXTS,
)
TIMES = st.one_of(
    st.decimals(0, 1_800_003_700, places=6).map(float),
    st.datetimes().map(lambda moment: moment.isoformat()),
    st.sampled_from(["2021-06-06T15:59:46.457984+0200", "2024-02-30T00:00:00Z", "1970-01-01 00:00:00", "2021-06-06"]),
    NUMBERS,
    TEXTS,
)
ODD = st.one_of(NUMBERS, TEXTS, st.booleans(), st.none(), st.just([]), st.just({}), st.just([80]), st.just({"a": [1]}))


def odd_records(record: dict[str, Any], fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """The record with up to three of its fields replaced or taken out."""
    changes = st.lists(
        st.sampled_from(sorted(fields)).flatmap(
            lambda name: st.tuples(st.just(name), st.one_of(fields[name], ODD, st.just(...)))
        ),
        max_size=3,
    )

    def changed(chosen: list[tuple[str, Any]]) -> dict[str, Any]:
        out = dict(record)
        for name, value in chosen:
            if value is ...:
                out.pop(name, None)
            else:
                out[name] = value
        return out

    return changes.map(changed)


Oracle = Callable[[Any], dict[str, Any]]


def joined(messages: Messages, more: Messages) -> Messages:
    """The first messages and then more."""
    columns: dict[str, Any] = {
        "sources": [*messages.sources, *more.sources],
        "source": np.concatenate((messages.source, more.source + len(messages.sources))),
    }
    for name in (field.name for field in fields(Messages) if field.name not in columns):
        first, second = getattr(messages, name), getattr(more, name)
        columns[name] = first + second if isinstance(first, list) else np.concatenate((first, second))
    return Messages(**columns)
