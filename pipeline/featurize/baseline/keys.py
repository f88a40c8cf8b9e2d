"""The relations a flow has, as keys: who uses which service of whom, who writes to whom, which hardware speaks for it.

Addresses outside (public ones) count as one: whom a host talks to on the Internet changes by the minute, that it talks
to the Internet by this service does not. Ports of 32768 or above are ephemeral, where they are no industrial
protocol's, and count as one, and a flow to such a port from another is an answer, unless its source is shown to have
asked (contracts/initiators.py): its relation is the other way round.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.contracts.initiators import answering
from pipeline.contracts.services import EPHEMERAL, is_ephemeral, is_industrial
from pipeline.featurize.addresses import UNICAST, outside
from pipeline.featurize.compiled import compiled
from pipeline.featurize.compiled import mix64 as mix64_compiled
from pipeline.featurize.rows import TCP, UDP, Ints, Keys, Rows, ints, lists
from pipeline.runtime.hashing import mix64

OUTSIDE = np.uint64(0x4F55545349444500)

KIND_SHIFT = np.uint64(40)

USE, TALK, WRITE, CONTROL, FUNCTION, HARDWARE, ADDRESS, SEVERAL, SERVED, WRITTEN, CONTROLLED = range(1, 12)
"""Kinds of relation; the last three are of targets alone, and count how many sources are usual there."""

RELATION_KEYS = (
    *("use", "talk", "write", "control", "src_address", "dst_address", "src_device", "dst_device"),
    *("src_hardware", "dst_hardware", "src_several", "dst_several"),
    *("src_unstable", "dst_unstable", "src", "dst", "source", "target", "served", "written", "controlled"),
)
LEARNT = 12
"""So many from the first on are learnt, in this order."""
RELATIONS_A_FLOW = 14
"""Most relations a flow adds, its functions aside."""
USE_KEY, TALK_KEY, _WRITE, _CONTROL, _SRC_ADDRESS, DST_ADDRESS_KEY, _SRC_DEVICE, DST_DEVICE_KEY = range(8)
_SRC_HARDWARE, SRC_SEVERAL_KEY, _SRC_UNSTABLE = 8, 10, 12
_SRC, _DST, _SOURCE, _TARGET, _SERVED, _WRITTEN, _CONTROLLED = range(14, 21)
_NO = np.uint64(0)

Mask = npt.NDArray[np.bool_]


@compiled
def what(kind: int, service: np.uint64) -> np.uint64:
    """Which relation it is and with which service, as one number; `kind_and_service` is the way back."""
    return (np.uint64(kind) << KIND_SHIFT) | service


def kind_of(numbers: Keys) -> Keys:
    """(n,) kinds of relation of numbers that `what` made."""
    return numbers >> KIND_SHIFT


def is_of(numbers: Keys, kinds: tuple[int, ...]) -> Mask:
    """(n,) whether numbers that `what` made are of one of these kinds."""
    of_kind = kind_of(numbers)
    of_any: Mask = of_kind == kinds[0]
    for kind in kinds[1:]:
        of_any |= of_kind == kind
    return of_any


def kind_and_service(number: int) -> tuple[int, int, int]:
    """Kind of relation, protocol and port of a number that `what` made; port -1 where none is known."""
    service = number & ((1 << int(KIND_SHIFT)) - 1)
    return number >> int(KIND_SHIFT), service >> 17, (service & 0x1FFFF) - 1


class FlowRelations(NamedTuple):
    """Keys (n,) uint64 of n flows' relations, 0 where a flow has none of that kind.

    keys: (RELATION_KEYS, n), whose rows the keys by name are, but for those of functions and services.
    src, dst: keys of the addresses as they count here. source, target: the same of who uses a service and whose it is.
    service: protocol and port of the target as one number. has_transport: (n,) bool, TCP or UDP. is_office: (n,) bool,
    by a port that is known and no industrial protocol's. sent_bits: (n,) binary digits of the bytes that the source
    sent. use: of a service. talk: without a service. served, written, controlled: the same without the source.
    unstable: that an address came from several hardware addresses at once, and several: the same where it did so in
    this flow. function: (m,) of all flows, those of flow i at function_start[i]:function_end[i].
    """

    keys: Keys
    src: Keys
    dst: Keys
    source: Keys
    target: Keys
    service: Keys
    has_transport: npt.NDArray[np.bool_]
    is_office: npt.NDArray[np.bool_]
    sent_bits: Ints
    use: Keys
    served: Keys
    talk: Keys
    write: Keys
    written: Keys
    control: Keys
    controlled: Keys
    src_address: Keys
    dst_address: Keys
    src_device: Keys
    dst_device: Keys
    src_hardware: Keys
    dst_hardware: Keys
    src_unstable: Keys
    dst_unstable: Keys
    src_several: Keys
    dst_several: Keys
    function: Keys
    function_start: Ints
    function_end: Ints


def flow_relations(flows: pa.RecordBatch, rows: Rows) -> FlowRelations:
    """Relations of a batch of the `flow` schema whose `rows_of` is at hand."""
    answers = answering(flows)
    port = np.where(answers, rows.src_port, rows.dst_port)
    has_transport = (rows.protocol == TCP) | (rows.protocol == UDP)
    service = (rows.protocol << 17) + np.where(is_ephemeral(port), EPHEMERAL, port) + 1
    said = FlowSays(
        outside(flows.column("src_addr")),
        outside(flows.column("dst_addr")),
        rows.src,
        rows.dst,
        rows.src_kind == UNICAST,
        rows.dst_kind == UNICAST,
        np.where(rows.src_mac_known != 0, rows.src_mac, _NO),
        np.where(rows.dst_mac_known != 0, rows.dst_mac, _NO),
        ints(flows.column("src_mac_count"), 1) > 1,
        ints(flows.column("dst_mac_count"), 1) > 1,
        answers,
        has_transport,
        rows.protocol.astype(np.uint64),
        service.astype(np.uint64),
        ints(flows.column("ics_write_cnt"), 0) > 0,
        ints(flows.column("ics_control_cnt"), 0) > 0,
    )
    # Made in one piece, as rows of a matrix: whatever is computed for a flow is in registers then.
    keys = np.empty((len(RELATION_KEYS), len(port)), np.uint64)
    _write_keys(said, keys)
    of_name = dict(zip(RELATION_KEYS, keys, strict=True))
    function, start, end = _functions(flows, of_name["src"], of_name["dst"])
    return FlowRelations(
        keys,
        **of_name,
        service=said.service,
        has_transport=has_transport,
        is_office=(port >= 0) & ~is_industrial(port) & has_transport,
        sent_bits=np.frexp(np.where(answers, rows.rev_bytes, rows.fwd_bytes))[1].astype(np.int64),
        function=function,
        function_start=start,
        function_end=end,
    )


class FlowSays(NamedTuple):
    """What n flows say that their relations are made of, (n,) each; hardware addresses are 0 where none is known."""

    src_outside: Mask
    dst_outside: Mask
    src: Keys
    dst: Keys
    src_unicast: Mask
    dst_unicast: Mask
    src_hardware: Keys
    dst_hardware: Keys
    src_several: Mask
    dst_several: Mask
    is_answer: Mask
    has_transport: Mask
    protocol: Keys
    service: Keys
    writes: Mask
    controls: Mask


@compiled
def _mixed(kind: int, key: np.uint64, part: np.uint64) -> np.uint64:
    """The key of a relation with one part more."""
    return mix64_compiled(key ^ part) + np.uint64(kind)


@compiled
def _some(key: np.uint64) -> np.uint64:
    """A key that is not 0, which is none."""
    return key if key != 0 else np.uint64(1)


@compiled
def _key1(kind: int, part: np.uint64) -> np.uint64:
    return _some(_mixed(kind, np.uint64(kind), part))


@compiled
def _key2(kind: int, first: np.uint64, second: np.uint64) -> np.uint64:
    return _some(_mixed(kind, _mixed(kind, np.uint64(kind), first), second))


@compiled
def _key3(kind: int, first: np.uint64, second: np.uint64, third: np.uint64) -> np.uint64:
    return _some(_mixed(kind, _mixed(kind, _mixed(kind, np.uint64(kind), first), second), third))


@compiled
def _write_keys(said: FlowSays, keys: npt.NDArray[np.uint64]) -> None:
    """Write the keys of n flows into `keys` (RELATION_KEYS, n); what a flow has not is 0."""
    for row in range(keys.shape[1]):
        src = OUTSIDE if said.src_outside[row] else said.src[row]
        dst = OUTSIDE if said.dst_outside[row] else said.dst[row]
        source, target = (dst, src) if said.is_answer[row] else (src, dst)
        keys[_SRC, row], keys[_DST, row], keys[_SOURCE, row], keys[_TARGET, row] = src, dst, source, target
        of_service = said.src_unicast[row] and said.dst_unicast[row] and said.has_transport[row]
        keys[USE_KEY, row] = _key3(USE, source, target, said.service[row]) if of_service else _NO
        keys[_SERVED, row] = _key2(SERVED, target, said.service[row]) if of_service else _NO
        keys[TALK_KEY, row] = _NO if of_service else _key3(TALK, src, dst, said.protocol[row])
        keys[_WRITE, row] = _key2(WRITE, src, dst) if said.writes[row] else _NO
        keys[_WRITTEN, row] = _key1(WRITTEN, dst) if said.writes[row] else _NO
        keys[_CONTROL, row] = _key2(CONTROL, src, dst) if said.controls[row] else _NO
        keys[_CONTROLLED, row] = _key1(CONTROLLED, dst) if said.controls[row] else _NO
        src_inside = said.src_unicast[row] and src != OUTSIDE
        dst_inside = said.dst_unicast[row] and dst != OUTSIDE
        _write_hardware(keys, 0, row, src, said.src_hardware[row], src_inside, said.src_several[row])
        _write_hardware(keys, 1, row, dst, said.dst_hardware[row], dst_inside, said.dst_several[row])


@compiled
def _write_hardware(
    keys: npt.NDArray[np.uint64],
    end: int,
    row: int,
    address: np.uint64,
    hardware: np.uint64,
    is_inside: bool,
    has_several: bool,
) -> None:
    """The five keys of one end, 0 the source and 1 the target: those of the target stand behind the source's."""
    has_hardware = is_inside and hardware != 0
    unstable = _key1(SEVERAL, address) if is_inside else _NO
    keys[_SRC_ADDRESS + end, row] = _key1(ADDRESS, address) if is_inside else _NO
    keys[_SRC_DEVICE + end, row] = _key1(ADDRESS, hardware) if has_hardware else _NO
    keys[_SRC_HARDWARE + end, row] = _key2(HARDWARE, address, hardware) if has_hardware and address != hardware else _NO
    keys[_SRC_UNSTABLE + end, row] = unstable
    keys[SRC_SEVERAL_KEY + end, row] = unstable if has_several else _NO


def _key(kind: int, *parts: npt.NDArray[np.uint64] | Ints) -> Keys:
    key: Keys = np.full(len(parts[0]), kind, np.uint64)
    for part in parts:
        key = mix64(key ^ part.astype(np.uint64)) + np.uint64(kind)
    key[key == 0] = 1
    return key


def _functions(flows: pa.RecordBatch, src: Keys, dst: Keys) -> tuple[Keys, Ints, Ints]:
    """Keys of every industrial function a flow asked for, and where each flow's begin and end."""
    values, start, end = lists(flows.column("ics_functions"))
    if not (end > start).any():
        return np.zeros(1, np.uint64), start, start
    counts = (end - start) // 2  # code, count, code, count and so on
    ends = np.cumsum(counts)
    nth = np.arange(ends[-1]) - np.repeat(ends - counts, counts)
    codes = values[np.repeat(start, counts) + 2 * nth]
    of_flow = np.repeat(np.arange(len(start)), counts)
    protocol = flows.column("ics_proto").dictionary_encode()
    named = np.array([_word(name) for name in protocol.dictionary.to_pylist()] or [0], np.uint64)
    number = protocol.indices.fill_null(0).to_numpy(zero_copy_only=False)[of_flow]
    return _key(FUNCTION, src[of_flow], dst[of_flow], named[number], codes), ends - counts, ends


def _word(name: str) -> int:
    return int.from_bytes(name.encode()[:8], "little")
