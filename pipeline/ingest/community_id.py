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

from pipeline.ingest.compiled import compiled, inlined
from pipeline.ingest.formats.protocols import ICMP, ICMP6, TCP, UDP
from pipeline.ingest.scan.addresses import ip4_number, ip6_groups
from pipeline.ingest.scan.cells import Bytes, Ints
from pipeline.ingest.scan.text import string_array

Offsets = npt.NDArray[np.int32]
Words = npt.NDArray[np.uint32]

_SCTP = 132
_WITH_PORTS = (TCP, UDP, _SCTP, ICMP, ICMP6)
_LENGTH = 30  # "1:" and 28 letters
_LETTERS = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", np.uint8)
_NO_COUNTERPART = -1
# So many blocks are hashed side by side: a step of SHA-1 waits for the one before, but not for another block's.
_LANES = 16
_WORDS = 85 * _LANES  # where the words stand in the room that hashing needs, after the states
_START = np.array([0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0], np.uint32)
# The last three are kept as they were before they were turned by 30.
_BEGIN = np.where(np.arange(5) < 2, _START, _START << np.uint32(2) | _START >> np.uint32(30))[::-1].copy()


def _counterparts(pairs: dict[int, int]) -> Ints:
    table = np.full(256, _NO_COUNTERPART, np.int64)
    for asked, answered in pairs.items():
        table[asked], table[answered] = answered, asked
    return table


# Echo, timestamp, information, router and mask; of ICMPv6 echo, MLD, router, neighbour, who-are-you and home agent.
_OF_ICMP = _counterparts({8: 0, 13: 14, 15: 16, 10: 9, 17: 18})
_OF_ICMP6 = _counterparts({128: 129, 130: 131, 133: 134, 135: 136, 139: 140, 144: 145})


@inlined
def _rotated(value: Any, by: int) -> Any:
    return np.uint32(np.uint32(value << np.uint32(by)) | np.uint32(value >> np.uint32(32 - by)))


@inlined
def _round(room: Words, at: int, mixed: Any, constant: int) -> None:
    """One round of one lane: the number it makes goes after those of the five before."""
    fresh = np.uint32(_rotated(room[at + 4 * _LANES], 5) + np.uint32(mixed))
    fresh = np.uint32(fresh + _rotated(room[at], 30))
    fresh = np.uint32(fresh + np.uint32(constant))
    room[at + 5 * _LANES] = np.uint32(fresh + room[at + _WORDS])


@compiled
def _sha1(room: Words) -> None:
    """SHA-1 (FIPS 180-4) of `_LANES` blocks of 64 bytes side by side.

    `room` has 85 numbers of each lane and then 80 words, of which the first 16 are the block; the digests will be the
    first five numbers. Of a state's five each round makes one: the others are what rounds before made, partly turned.
    """
    for at in range(_WORDS + 16 * _LANES, _WORDS + 80 * _LANES):
        older = room[at - 3 * _LANES] ^ room[at - 8 * _LANES] ^ room[at - 14 * _LANES] ^ room[at - 16 * _LANES]
        room[at] = _rotated(np.uint32(older), 1)
    for lane in range(_LANES):
        for number in range(5):
            room[number * _LANES + lane] = _BEGIN[number]
    for at in range(20 * _LANES):
        b, c, d = room[at + 3 * _LANES], _rotated(room[at + 2 * _LANES], 30), _rotated(room[at + _LANES], 30)
        _round(room, at, (b & c) | (~b & d), 0x5A827999)
    for at in range(20 * _LANES, 40 * _LANES):
        b, c, d = room[at + 3 * _LANES], _rotated(room[at + 2 * _LANES], 30), _rotated(room[at + _LANES], 30)
        _round(room, at, b ^ c ^ d, 0x6ED9EBA1)
    for at in range(40 * _LANES, 60 * _LANES):
        b, c, d = room[at + 3 * _LANES], _rotated(room[at + 2 * _LANES], 30), _rotated(room[at + _LANES], 30)
        _round(room, at, (b & c) | (b & d) | (c & d), 0x8F1BBCDC)
    for at in range(60 * _LANES, 80 * _LANES):
        b, c, d = room[at + 3 * _LANES], _rotated(room[at + 2 * _LANES], 30), _rotated(room[at + _LANES], 30)
        _round(room, at, b ^ c ^ d, 0xCA62C1D6)
    for lane in range(_LANES):
        for number in range(5):
            made = room[(84 - number) * _LANES + lane]
            made = made if number < 2 else _rotated(made, 30)
            room[number * _LANES + lane] = np.uint32(made + _START[number])


@inlined
def _put_ids(room: Words, lanes: int, letters: Bytes, out: Bytes, at: int) -> None:
    """The ids of the first lanes: "1:" and each digest of 20 bytes as 27 letters and a =."""
    for lane in range(lanes):
        out[at], out[at + 1] = 49, 58
        held, bits, number = np.uint64(0), 0, 0
        for letter in range(27):
            if bits < 6:
                word = np.uint64(room[number * _LANES + lane]) if number < 5 else np.uint64(0)
                held, bits, number = held << np.uint64(32) | word, bits + 32, number + 1
            bits -= 6
            out[at + 2 + letter] = letters[held >> np.uint64(bits) & np.uint64(63)]
        out[at + 29] = 61
        at += _LENGTH


@inlined
def _put_block(block: Bytes, length: int, room: Words, lane: int) -> None:
    """The first `length` bytes of a block, at most 55, and SHA-1's padding, as words of a lane."""
    block[length] = 0x80
    for index in range(length + 1, 62):
        block[index] = 0
    block[62], block[63] = length * 8 >> 8, length * 8 & 0xFF
    for at in range(16):
        room[_WORDS + at * _LANES + lane] = (
            np.uint32(block[4 * at]) << np.uint32(24)
            | np.uint32(block[4 * at + 1]) << np.uint32(16)
            | np.uint32(block[4 * at + 2]) << np.uint32(8)
            | np.uint32(block[4 * at + 3])
        )


@inlined
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


@inlined
def _flip(src: Bytes, dst: Bytes, size: int, src_port: int, dst_port: int) -> bool:
    for at in range(size):
        if src[at] != dst[at]:
            return bool(src[at] > dst[at])
    return src_port > dst_port


@inlined
def _block(
    src: Bytes,
    dst: Bytes,
    size: int,
    protocol: int,
    port: int,
    counterport: int,
    of_icmp: Ints,
    of_icmp6: Ints,
    block: Bytes,
) -> int:
    """What is hashed of a flow with addresses of `size` bytes, and its length."""
    ordered = True
    if protocol in (ICMP, ICMP6):
        counterpart = of_icmp[port] if protocol == ICMP else of_icmp6[port]
        ordered = counterpart >= 0
        counterport = counterpart if ordered else counterport
    with_ports = protocol in _WITH_PORTS
    if not with_ports:
        port, counterport = 0, 0
    flipped = ordered and _flip(src, dst, size, port, counterport)
    if flipped:
        port, counterport = counterport, port
    block[0], block[1] = 0, 0
    for at in range(size):
        block[2 + at] = dst[at] if flipped else src[at]
        block[2 + size + at] = src[at] if flipped else dst[at]
    end = 2 + 2 * size
    block[end], block[end + 1] = protocol, 0
    if not with_ports:
        return end + 2
    block[end + 2], block[end + 3] = port >> 8, port & 0xFF
    block[end + 4], block[end + 5] = counterport >> 8, counterport & 0xFF
    return end + 6


@compiled
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
    groups: Ints,
    src: Bytes,
    dst: Bytes,
    block: Bytes,
    room: Words,
) -> None:
    """`groups`, `src`, `dst`, `block` and `room` are room for an address's parts, two addresses, a block, hashing."""
    at, lane = 0, 0
    for row in range(len(wanted)):
        if wanted[row]:
            size = _address(src_text, src_offsets[row], src_offsets[row + 1], groups, src)
            other = _address(dst_text, dst_offsets[row], dst_offsets[row + 1], groups, dst)
            port, counterport = firsts[row], seconds[row]
            if size and size == other and (protocols[row] not in _WITH_PORTS or (port >= 0 and counterport >= 0)):
                length = _block(src, dst, size, protocols[row], port, counterport, of_icmp, of_icmp6, block)
                _put_block(block, length, room, lane)
                at, lane = at + _LENGTH, lane + 1
                if lane == _LANES:
                    _sha1(room)
                    _put_ids(room, lane, letters, out, at - lane * _LENGTH)
                    lane = 0
        offsets[row + 1] = at
    if lane:
        _sha1(room)
        _put_ids(room, lane, letters, out, at - lane * _LENGTH)


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
    (src_text, src_offsets), (dst_text, dst_offsets) = _text(columns["src_addr"]), _text(columns["dst_addr"])
    src, dst, block = np.empty(16, np.uint8), np.empty(16, np.uint8), np.empty(64, np.uint8)
    room = np.empty(8, np.int64), src, dst, block, np.empty(165 * _LANES, np.uint32)
    given = src_text, src_offsets, dst_text, dst_offsets, protocols, firsts, seconds, wanted
    _hash_rows(*(*given, _OF_ICMP, _OF_ICMP6, _LETTERS, out, offsets, *room))
    computed = string_array(out[: offsets[-1]], offsets, np.diff(offsets) > 0)
    return computed if reported is None or reported.null_count == count else pc.coalesce(reported, computed)
