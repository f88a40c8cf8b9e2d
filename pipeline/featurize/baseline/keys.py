"""The relations a flow has, as keys: who uses which service of whom, who writes to whom, which hardware speaks for it.

Addresses outside (public ones) count as one: whom a host talks to on the Internet changes by the minute, that it talks
to the Internet by this service does not. Ports of 32768 or above are ephemeral, where they are no industrial
protocol's, and count as one, and a flow to such a port from another is an answer: its relation is the other way round.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.contracts.services import EPHEMERAL, is_answer, is_ephemeral, is_industrial
from pipeline.featurize.addresses import UNICAST, outside
from pipeline.featurize.compiled import compiled
from pipeline.featurize.rows import TCP, UDP, Ints, Keys, Rows, ints, lists
from pipeline.runtime.hashing import mix64

OUTSIDE = np.uint64(0x4F55545349444500)

KIND_SHIFT = np.uint64(40)

USE, TALK, WRITE, CONTROL, FUNCTION, HARDWARE, ADDRESS, SEVERAL, SERVED, WRITTEN, CONTROLLED = range(1, 12)
"""Kinds of relation; the last three are of targets alone, and count how many sources are usual there."""


@compiled
def what(kind: int, service: np.uint64) -> np.uint64:
    """Which relation it is and with which service, as one number; `kind_and_service` is the way back."""
    return (np.uint64(kind) << KIND_SHIFT) | service


def kind_of(numbers: Keys) -> Keys:
    """(n,) kinds of relation of numbers that `what` made."""
    return numbers >> KIND_SHIFT


def kind_and_service(number: int) -> tuple[int, int, int]:
    """Kind of relation, protocol and port of a number that `what` made; port -1 where none is known."""
    service = number & ((1 << int(KIND_SHIFT)) - 1)
    return number >> int(KIND_SHIFT), service >> 17, (service & 0x1FFFF) - 1


class FlowRelations(NamedTuple):
    """Keys (n,) uint64 of n flows' relations, 0 where a flow has none of that kind.

    src, dst: keys of the addresses as they count here. source, target: the same of who uses a service and whose it is.
    service: protocol and port of the target as one number. has_transport: (n,) bool, TCP or UDP. is_office: (n,) bool,
    by a port that is known and no industrial protocol's. sent_bits: (n,) binary digits of the bytes that the source
    sent. use: of a service. talk: without a service. served, written, controlled: the same without the source.
    unstable: that an address came from several hardware addresses at once, and several: the same where it did so in
    this flow. function: (m,) of all flows, those of flow i at function_start[i]:function_end[i].
    """

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
    src = np.where(outside(flows.column("src_addr")), OUTSIDE, rows.src)
    dst = np.where(outside(flows.column("dst_addr")), OUTSIDE, rows.dst)
    answers = is_answer(rows.src_port, rows.dst_port)
    source, target = np.where(answers, dst, src), np.where(answers, src, dst)
    port = np.where(answers, rows.src_port, rows.dst_port)
    service = (rows.protocol << 17) + np.where(is_ephemeral(port), EPHEMERAL, port) + 1
    unicast = (rows.src_kind == UNICAST) & (rows.dst_kind == UNICAST)
    has_transport = (rows.protocol == TCP) | (rows.protocol == UDP)
    of_service = unicast & has_transport
    writes, control = ints(flows.column("ics_write_cnt"), 0) > 0, ints(flows.column("ics_control_cnt"), 0) > 0
    function, start, end = _functions(flows, src, dst)
    src_unicast, dst_unicast = rows.src_kind == UNICAST, rows.dst_kind == UNICAST
    src_inside, dst_inside = src_unicast & (src != OUTSIDE), dst_unicast & (dst != OUTSIDE)
    src_unstable, dst_unstable = _where(src_inside, SEVERAL, src), _where(dst_inside, SEVERAL, dst)
    return FlowRelations(
        src=src,
        dst=dst,
        source=source,
        target=target,
        service=service.astype(np.uint64),
        has_transport=has_transport,
        is_office=(port >= 0) & ~is_industrial(port) & has_transport,
        sent_bits=np.frexp(np.where(answers, rows.rev_bytes, rows.fwd_bytes))[1].astype(np.int64),
        use=_where(of_service, USE, source, target, service),
        served=_where(of_service, SERVED, target, service),
        talk=_where(~of_service, TALK, src, dst, rows.protocol),
        write=_where(writes, WRITE, src, dst),
        written=_where(writes, WRITTEN, dst),
        control=_where(control, CONTROL, src, dst),
        controlled=_where(control, CONTROLLED, dst),
        src_address=_where(src_inside, ADDRESS, src),
        dst_address=_where(dst_inside, ADDRESS, dst),
        src_device=_where(src_inside & (rows.src_mac_known != 0), ADDRESS, rows.src_mac),
        dst_device=_where(dst_inside & (rows.dst_mac_known != 0), ADDRESS, rows.dst_mac),
        src_hardware=_hardware(src, rows.src_mac, src_inside & (rows.src_mac_known != 0)),
        dst_hardware=_hardware(dst, rows.dst_mac, dst_inside & (rows.dst_mac_known != 0)),
        src_unstable=src_unstable,
        dst_unstable=dst_unstable,
        src_several=np.where(ints(flows.column("src_mac_count"), 1) > 1, src_unstable, np.uint64(0)),
        dst_several=np.where(ints(flows.column("dst_mac_count"), 1) > 1, dst_unstable, np.uint64(0)),
        function=function,
        function_start=start,
        function_end=end,
    )


def _key(kind: int, *parts: npt.NDArray[np.uint64] | Ints) -> Keys:
    key: Keys = np.full(len(parts[0]), kind, np.uint64)
    for part in parts:
        key = mix64(key ^ part.astype(np.uint64)) + np.uint64(kind)
    key[key == 0] = 1
    return key


def _where(has: npt.NDArray[np.bool_], kind: int, *parts: npt.NDArray[np.uint64] | Ints) -> Keys:
    """Keys where a flow has such a relation, else 0; nothing is computed where no flow has."""
    if not has.any():
        return np.zeros(len(has), np.uint64)
    return np.where(has, _key(kind, *parts), np.uint64(0))


def _hardware(address: Keys, hardware: Keys, known: npt.NDArray[np.bool_]) -> Keys:
    return _where(known & (address != hardware), HARDWARE, address, hardware)


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
