"""Community ID of flows whose sensor computes none (Community ID flow hashing, version 1, seed 0), by compiled code.

The id is "1:" and the base64 of SHA-1 over seed, addresses, protocol, a zero and ports, the smaller end first. Ports
are hashed of TCP, UDP and SCTP; of ICMP the type and its counterpart (echo and its reply), or type and code where it
has none: then the ends are not put in order.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit

from pipeline.ingest.formats.protocols import ICMP, ICMP6, TCP, UDP
from pipeline.ingest.scan.addresses import ip4_number, ip6_groups
from pipeline.ingest.scan.cells import Bytes, Ints
from pipeline.ingest.scan.text import string_array

Offsets = npt.NDArray[np.int32]
Words = npt.NDArray[np.uint32]

_SCTP = 132
_LENGTH = 30  # "1:" and 28 letters
_LETTERS = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", np.uint8)
_NO_COUNTERPART = -1


def _counterparts(pairs: dict[int, int]) -> Ints:
    table = np.full(256, _NO_COUNTERPART, np.int64)
    for asked, answered in pairs.items():
        table[asked], table[answered] = answered, asked
    return table


# Echo, timestamp, information, router and mask; of ICMPv6 echo, MLD, router, neighbour, who-are-you and home agent.
_OF_ICMP = _counterparts({8: 0, 13: 14, 15: 16, 10: 9, 17: 18})
_OF_ICMP6 = _counterparts({128: 129, 130: 131, 133: 134, 135: 136, 139: 140, 144: 145})


@njit(cache=True)
def _rotated(value: Any, by: int) -> Any:
    return np.uint32(value << np.uint32(by)) | np.uint32(value >> np.uint32(32 - by))


@njit(cache=True)
def _sha1(block: Bytes, length: int, words: Words, digest: Bytes) -> None:
    """SHA-1 (FIPS 180-4) of at most 55 bytes: they fit one block of 64 with their padding."""
    block[length] = 0x80
    for index in range(length + 1, 62):
        block[index] = 0
    block[62], block[63] = length * 8 >> 8, length * 8 & 0xFF
    for at in range(16):
        words[at] = (
            np.uint32(block[4 * at]) << np.uint32(24)
            | np.uint32(block[4 * at + 1]) << np.uint32(16)
            | np.uint32(block[4 * at + 2]) << np.uint32(8)
            | np.uint32(block[4 * at + 3])
        )
    for at in range(16, 80):
        words[at] = _rotated(words[at - 3] ^ words[at - 8] ^ words[at - 14] ^ words[at - 16], 1)
    a, b, c = np.uint32(0x67452301), np.uint32(0xEFCDAB89), np.uint32(0x98BADCFE)
    d, e = np.uint32(0x10325476), np.uint32(0xC3D2E1F0)
    for at in range(80):
        if at < 20:
            mixed, constant = (b & c) | (~b & d), np.uint32(0x5A827999)
        elif at < 40:
            mixed, constant = b ^ c ^ d, np.uint32(0x6ED9EBA1)
        elif at < 60:
            mixed, constant = (b & c) | (b & d) | (c & d), np.uint32(0x8F1BBCDC)
        else:
            mixed, constant = b ^ c ^ d, np.uint32(0xCA62C1D6)
        fresh = np.uint32(_rotated(a, 5) + np.uint32(mixed) + e + constant + words[at])
        a, b, c, d, e = fresh, a, np.uint32(_rotated(b, 30)), c, d
    words[0], words[1] = np.uint32(0x67452301) + a, np.uint32(0xEFCDAB89) + b
    words[2], words[3] = np.uint32(0x98BADCFE) + c, np.uint32(0x10325476) + d
    words[4] = np.uint32(0xC3D2E1F0) + e
    for at in range(20):
        digest[at] = words[at // 4] >> np.uint32(24 - 8 * (at % 4)) & np.uint32(0xFF)


@njit(cache=True)
def _put_base64(digest: Bytes, letters: Bytes, out: Bytes, at: int) -> None:
    """20 bytes as 27 letters and a =; `digest` has a 21st byte of 0."""
    for group in range(7):
        three = (int(digest[3 * group]) << 16) | (int(digest[3 * group + 1]) << 8) | int(digest[3 * group + 2])
        for letter in range(4):
            out[at + 4 * group + letter] = letters[three >> 6 * (3 - letter) & 63]
    out[at + 27] = 61


@njit(cache=True)
def _address(text: Bytes, first: int, last: int, groups: Ints, out: Bytes) -> int:
    """An address's bytes, and how many; 0 where it is no IP address."""
    number = ip4_number(text, first, last)
    if number >= 0:
        for at in range(4):
            out[at] = number >> 8 * (3 - at) & 0xFF
        return 4
    if not ip6_groups(text, first, last, groups):
        return 0
    for at in range(8):
        out[2 * at], out[2 * at + 1] = groups[at] >> 8, groups[at] & 0xFF
    return 16


@njit(cache=True)
def _flip(src: Bytes, dst: Bytes, size: int, src_port: int, dst_port: int) -> bool:
    for at in range(size):
        if src[at] != dst[at]:
            return bool(src[at] > dst[at])
    return src_port > dst_port


@njit(cache=True)
def _hash_rows(
    src_text: Bytes,
    src_offsets: Offsets,
    dst_text: Bytes,
    dst_offsets: Offsets,
    protocols: Ints,
    firsts: Ints,
    seconds: Ints,
    wanted: npt.NDArray[np.bool_],
    of_icmp: Ints,
    of_icmp6: Ints,
    letters: Bytes,
    out: Bytes,
    offsets: Offsets,
) -> None:
    groups = np.zeros(8, np.int64)
    src, dst = np.zeros(16, np.uint8), np.zeros(16, np.uint8)
    block, digest = np.zeros(64, np.uint8), np.zeros(21, np.uint8)
    words = np.zeros(80, np.uint32)
    at = 0
    for row in range(len(wanted)):
        if wanted[row]:
            protocol = protocols[row]
            size = _address(src_text, src_offsets[row], src_offsets[row + 1], groups, src)
            other = _address(dst_text, dst_offsets[row], dst_offsets[row + 1], groups, dst)
            with_ports = protocol in (TCP, UDP, _SCTP, ICMP, ICMP6)
            port, counterport = firsts[row], seconds[row]
            if size and size == other and not (with_ports and (port < 0 or counterport < 0)):
                ordered = True
                if protocol in (ICMP, ICMP6):
                    counterpart = of_icmp[port] if protocol == ICMP else of_icmp6[port]
                    ordered = counterpart >= 0
                    counterport = counterpart if ordered else counterport
                if not with_ports:
                    port, counterport = 0, 0
                flipped = ordered and _flip(src, dst, size, port, counterport)
                if flipped:
                    port, counterport = counterport, port
                block[0], block[1] = 0, 0
                for byte_at in range(size):
                    block[2 + byte_at] = dst[byte_at] if flipped else src[byte_at]
                    block[2 + size + byte_at] = src[byte_at] if flipped else dst[byte_at]
                end = 2 + 2 * size
                block[end], block[end + 1] = protocol, 0
                end += 2
                if with_ports:
                    block[end], block[end + 1] = port >> 8, port & 0xFF
                    block[end + 2], block[end + 3] = counterport >> 8, counterport & 0xFF
                    end += 4
                _sha1(block, end, words, digest)
                out[at], out[at + 1] = 49, 58
                _put_base64(digest, letters, out, at + 2)
                at += _LENGTH
        offsets[row + 1] = at


def _text(column: pa.StringArray) -> tuple[Bytes, Offsets]:
    _, buffer, data = column.buffers()
    offsets = np.frombuffer(buffer, np.int32)[column.offset : column.offset + len(column) + 1]
    return np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8), offsets


def _numbers(column: pa.Array) -> Ints:
    """A nullable column as int64, -1 where null."""
    values: Ints = column.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
    return values


def community_ids(columns: dict[str, pa.Array], reported: pa.StringArray | None) -> pa.StringArray:
    """The ids of flows, (n,): what the sensor gave, else computed; null where addresses, ports or ICMP type lack.

    `columns` are those of the flow table that hold addresses, protocol, ports, and ICMP's type and code.
    """
    count = len(columns["src_addr"])
    protocols = _numbers(columns["ip_proto"])
    wanted = protocols >= 0
    if reported is not None and reported.null_count < count:
        wanted &= reported.is_null().to_numpy(zero_copy_only=False)
    if not wanted.any():
        return pa.nulls(count, pa.string()) if reported is None else reported
    icmp = np.isin(protocols, (ICMP, ICMP6))
    firsts, seconds = (
        np.where(icmp, _numbers(columns[kind]), _numbers(columns[port]))
        for port, kind in (("src_port", "icmp_type"), ("dst_port", "icmp_code"))
    )
    out = np.empty(_LENGTH * int(wanted.sum()), np.uint8)
    offsets = np.zeros(count + 1, np.int32)
    ends = (*_text(columns["src_addr"]), *_text(columns["dst_addr"]))
    _hash_rows(*ends, protocols, firsts, seconds, wanted, _OF_ICMP, _OF_ICMP6, _LETTERS, out, offsets)
    computed = string_array(out[: offsets[-1]], offsets, np.diff(offsets) > 0)
    return computed if reported is None or reported.null_count == count else pc.coalesce(reported, computed)
