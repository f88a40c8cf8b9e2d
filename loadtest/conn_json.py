"""Flow records as columns, and as the lines Zeek writes for them (conn.log, JSON), in one compiled pass."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
Bytes = npt.NDArray[np.uint8]

CONTENT_TYPE = "zeek-conn+json"
PROTOCOLS = ("tcp", "udp")
SERVICES = ("", "modbus", "enip", "dnp3", "http", "ssh", "dns", "ntp")
STATES = ("SF", "S0", "REJ", "RSTO")
HISTORIES = ("ShADadFf", "S", "Sr", "ShADadR")
UDP_HISTORY = "Dd"
MAX_LINE_BYTES = 512
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


class Flows(NamedTuple):
    """n flow records as columns; codes are indices into the tuples of this module."""

    end_us: Ints
    duration_us: Ints
    src: Ints  # IPv4 as a number
    src_port: Ints
    dst: Ints
    dst_port: Ints
    protocol: Ints  # of PROTOCOLS
    service: Ints  # of SERVICES
    state: Ints  # of STATES
    orig_bytes: Ints
    resp_bytes: Ints
    orig_pkts: Ints
    resp_pkts: Ints
    uid: Words


class Lines(NamedTuple):
    """n lines without their ends: line k is text[bounds[k]:bounds[k + 1] - 1], a newline follows each."""

    text: bytes
    bounds: list[int]

    def message(self, first: int, last: int) -> bytes:
        """Lines first to last (exclusive) as one NDJSON message."""
        return self.text[self.bounds[first] : self.bounds[last] - 1]


def _table(words: tuple[str, ...]) -> tuple[Bytes, Ints]:
    """Words side by side, and where each begins."""
    encoded = [word.encode() for word in words]
    bounds = np.concatenate(([0], np.cumsum([len(word) for word in encoded]))).astype(np.int64)
    return np.frombuffer(b"".join(encoded), np.uint8), bounds


# What stands before each value, in the order of the fields; the last one closes the record.
_PARTS = _table(
    (
        '{"ts":',
        ',"uid":"C',
        '","id.orig_h":"',
        '","id.orig_p":',
        ',"id.resp_h":"',
        '","id.resp_p":',
        ',"proto":"',
        '","service":"',
        '","duration":',
        ',"orig_bytes":',
        ',"resp_bytes":',
        ',"conn_state":"',
        '","missed_bytes":0,"history":"',
        '","orig_pkts":',
        ',"orig_ip_bytes":',
        ',"resp_pkts":',
        ',"resp_ip_bytes":',
        "}\n",
    )
)
_WORDS = _table((*PROTOCOLS, *SERVICES, *STATES, *HISTORIES, UDP_HISTORY))
_SERVICE, _STATE = len(PROTOCOLS), len(PROTOCOLS) + len(SERVICES)
_HISTORY = _STATE + len(STATES)
_UDP_HISTORY = _HISTORY + len(HISTORIES)
ALPHABET = np.frombuffer(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", np.uint8)


@njit(cache=True)
def _word(out: Bytes, at: int, text: Bytes, bounds: Ints, which: int) -> int:
    for offset in range(bounds[which], bounds[which + 1]):
        out[at] = text[offset]
        at += 1
    return at


@njit(cache=True)
def _number(out: Bytes, at: int, value: int, least: int) -> int:
    """Decimal digits, at least so many."""
    digits = 1
    rest = value // 10
    while rest > 0:
        digits += 1
        rest //= 10
    digits = max(digits, least)
    rest = value
    for offset in range(at + digits - 1, at - 1, -1):
        out[offset] = 48 + rest % 10
        rest //= 10
    return at + digits


@njit(cache=True)
def write_seconds(out: Bytes, at: int, value_us: int) -> int:
    """Write seconds with six decimals at an index of `out`; where they end."""
    at = _number(out, at, value_us // 1_000_000, 1)
    out[at] = 46
    return _number(out, at + 1, value_us % 1_000_000, 6)


@njit(cache=True)
def _address(out: Bytes, at: int, value: int) -> int:
    at = _number(out, at, (value >> 24) & 255, 1)
    for shift in (16, 8, 0):
        out[at] = 46
        at = _number(out, at + 1, (value >> shift) & 255, 1)
    return at


@njit(cache=True)
def write_uid(out: Bytes, at: int, value: Any, alphabet: Bytes) -> int:
    """Write a 64-bit number as the 17 letters and digits of a Zeek uid; where they end."""
    rest = value
    for _ in range(17):
        out[at] = alphabet[rest % np.uint64(62)]
        rest = rest // np.uint64(62)
        if rest == 0:
            rest = (value ^ np.uint64(0x9E3779B97F4A7C15)) * np.uint64(0xBF58476D1CE4E5B9)
        at += 1
    return at


@njit(cache=True)
def _write(
    f: Flows, parts: Bytes, part_at: Ints, words: Bytes, word_at: Ints, alphabet: Bytes, out: Bytes, bounds: Ints
) -> int:
    at = 0
    for row in range(len(f.end_us)):
        bounds[row] = at
        udp = f.protocol[row] == 1
        header = 28 if udp else 40
        at = write_seconds(out, _word(out, at, parts, part_at, 0), f.end_us[row] - f.duration_us[row])
        at = write_uid(out, _word(out, at, parts, part_at, 1), f.uid[row], alphabet)
        at = _address(out, _word(out, at, parts, part_at, 2), f.src[row])
        at = _number(out, _word(out, at, parts, part_at, 3), f.src_port[row], 1)
        at = _address(out, _word(out, at, parts, part_at, 4), f.dst[row])
        at = _number(out, _word(out, at, parts, part_at, 5), f.dst_port[row], 1)
        at = _word(out, _word(out, at, parts, part_at, 6), words, word_at, f.protocol[row])
        if f.service[row] > 0:  # Zeek leaves out what it does not know
            at = _word(out, _word(out, at, parts, part_at, 7), words, word_at, _SERVICE + f.service[row])
        at = write_seconds(out, _word(out, at, parts, part_at, 8), f.duration_us[row])
        at = _number(out, _word(out, at, parts, part_at, 9), f.orig_bytes[row], 1)
        at = _number(out, _word(out, at, parts, part_at, 10), f.resp_bytes[row], 1)
        state = f.state[row]
        at = _word(out, _word(out, at, parts, part_at, 11), words, word_at, _STATE + state)
        at = _word(out, _word(out, at, parts, part_at, 12), words, word_at, _UDP_HISTORY if udp else _HISTORY + state)
        at = _number(out, _word(out, at, parts, part_at, 13), f.orig_pkts[row], 1)
        ip_bytes = f.orig_bytes[row] + header * f.orig_pkts[row]
        at = _number(out, _word(out, at, parts, part_at, 14), ip_bytes, 1)
        at = _number(out, _word(out, at, parts, part_at, 15), f.resp_pkts[row], 1)
        ip_bytes = f.resp_bytes[row] + header * f.resp_pkts[row]
        at = _number(out, _word(out, at, parts, part_at, 16), ip_bytes, 1)
        at = _word(out, at, parts, part_at, 17)
    bounds[len(f.end_us)] = at
    return at


def conn_json(flows: Flows) -> Lines:
    """The records as Zeek conn lines, about 340 bytes each; times have whole microseconds."""
    out = np.empty(len(flows.end_us) * MAX_LINE_BYTES, np.uint8)
    bounds = np.empty(len(flows.end_us) + 1, np.int64)
    size = _write(flows, *_PARTS, *_WORDS, ALPHABET, out, bounds)
    return Lines(out[:size].tobytes(), bounds.tolist())


def mixed(*words: int | Words | Ints) -> Words:
    """One pseudo-random 64-bit word per position (splitmix64's mixer), independent of the machine and of the blocks."""
    value = np.zeros(1, np.uint64)
    for word in words:
        value = value ^ (np.asarray(word).astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15))
        value = (value ^ (value >> np.uint64(30))) * _MIX_1
        value = (value ^ (value >> np.uint64(27))) * _MIX_2
        value = value ^ (value >> np.uint64(31))
    return value
