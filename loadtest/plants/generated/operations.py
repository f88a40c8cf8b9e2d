"""What is asked of controllers: operations as the logs of icsnpp write them, and conversations made of them."""

from typing import NamedTuple

import numpy as np

from loadtest.plants.generated.chance import Ints
from loadtest.plants.generated.flows import SERVICE_OF, Operations, Source, Traffic
from loadtest.plants.generated.site import PORTS


class Operation(NamedTuple):
    """One operation: `request` and `answer` are the cells that differ between operations of its log.

    modbus: the function and, where it has one, its MEI type. s7comm: ROSCTR, function and subfunction, code and name.
    enip (cip.log): service, class and instance.
    """

    protocol: str
    name: str
    request: tuple[str, ...]
    answer: tuple[str, ...] = ()
    request_bytes: int = 12
    answer_bytes: int = 12


def _modbus(name: str, function: str, request_bytes: int, answer_bytes: int, mei: str = "-") -> Operation:
    return Operation("modbus", name, (function, mei), (), request_bytes, answer_bytes)


def _s7(name: str, code: str, words: str, request_bytes: int, answer_bytes: int) -> Operation:
    cells = (code, words, "-", "-")
    return Operation(
        "s7comm", name, ("1", "Job-Request", *cells), ("3", "ACK-Data", *cells), request_bytes, answer_bytes
    )


def _s7_user_data(name: str, group: int, words: str, sub: tuple[str, str], answer_bytes: int) -> Operation:
    request = ("7", "User-Data", f"0x{0x40 + group:02x}", f"Request: {words}", *sub)
    answer = ("7", "User-Data", f"0x{0x80 + group:02x}", f"Response: {words}", *sub)
    return Operation("s7comm", name, request, answer, 33, answer_bytes)


def _cip(
    name: str, code: str, words: str, path: tuple[str, str, str], request_bytes: int, answer_bytes: int
) -> Operation:
    return Operation("enip", name, (code, words, *path), (code, words), request_bytes, answer_bytes)


_ROUTER, _IDENTITY = ("0x02", "Message Router", "0x01"), ("0x01", "Identity", "0x01")
_PROGRAM = ("0x68", "unknown", "0x01")
_TAG = ("-", "-", "-")
OPERATIONS = (
    _modbus("read", "READ_HOLDING_REGISTERS", 12, 73),
    _modbus("read-inputs", "READ_INPUT_REGISTERS", 12, 41),
    _modbus("read-bits", "READ_COILS", 12, 13),
    _modbus("write", "WRITE_MULTIPLE_REGISTERS", 21, 12),
    _modbus("write-bit", "WRITE_SINGLE_COIL", 12, 12),
    _modbus("identify", "ENCAP_INTERFACE_TRANSPORT", 11, 64, "READ-DEVICE-IDENTIFICATION"),
    _modbus("download", "PROGRAM_UNITY", 252, 14),
    _modbus("stop", "PROGRAM_UNITY", 14, 14),
    _modbus("start", "PROGRAM_UNITY", 14, 14),
    _s7("connect", "0xf0", "Setup Communication", 25, 27),
    _s7("read", "0x04", "Read Variable", 31, 89),
    _s7("write", "0x05", "Write Variable", 43, 22),
    _s7_user_data("identify", 4, "CPU Functions", ("0x01", "Read SZL"), 180),
    _s7("download-request", "0x1a", "Request Download", 49, 20),
    _s7("download", "0x1b", "Download Block", 37, 240),
    _s7("download-end", "0x1c", "Download Ended", 37, 20),
    _s7("stop", "0x29", "PLC Stop", 33, 20),
    _s7("start", "0x28", "PLC Control", 37, 20),
    _cip("read", "0x4c", "Read Data", _TAG, 64, 70),
    _cip("write", "0x4d", "Write Data", _TAG, 68, 54),
    _cip("identify", "0x01", "Get Attributes All", _IDENTITY, 46, 96),
    _cip("download-request", "0x09", "Delete", _PROGRAM, 52, 46),
    _cip("download", "0x08", "Create", _PROGRAM, 480, 46),
    _cip("download-end", "0x04", "Set Attribute List", _PROGRAM, 60, 46),
    _cip("stop", "0x07", "Stop", _ROUTER, 46, 46),
    _cip("start", "0x06", "Start", _ROUTER, 46, 46),
)
_INDEX = {(operation.protocol, operation.name): index for index, operation in enumerate(OPERATIONS)}
_REQUEST_BYTES = np.array([operation.request_bytes for operation in OPERATIONS], np.int64)
_ANSWER_BYTES = np.array([operation.answer_bytes for operation in OPERATIONS], np.int64)
# How many blocks a program has, and how many requests the reads of one identification need.
_BLOCKS, _IDENTITY_READS = 24, 3


class Conversation(NamedTuple):
    """What a connection asks for, k operations in turn, `step_us` apart."""

    operations: Ints
    address: Ints
    quantity: Ints
    step_us: int


def conversation(protocol: str, names: tuple[str, ...], first: int = 0, step_us: int = 40_000) -> Conversation:
    """Operations by their names; the points they name lie from `first` on, the same ones each time."""
    said = (("connect", *names) if protocol == "s7comm" else names) if names else ()
    count = np.arange(len(said))
    codes = np.array([_INDEX[protocol, name] for name in said], np.int64)
    single = np.array([name in ("write-bit", "identify", "stop", "start", "download") for name in said], np.bool_)
    return Conversation(codes, first + 40 * count, np.where(single, 1, 8 + (first + 3 * count) % 24), step_us)


def polling(protocol: str, first: int) -> Conversation:
    """What a panel reads of a controller, each time."""
    names = {"modbus": ("read", "read-inputs", "read-bits"), "s7comm": ("read", "read"), "enip": ("read", "read")}
    return conversation(protocol, names[protocol], first)


def writing(protocol: str, first: int) -> Conversation:
    """A setpoint written, and read back."""
    return conversation(protocol, ("write", "read"), first, 25_000)


def identifying(protocol: str) -> Conversation:
    """What a device is."""
    return conversation(protocol, ("identify",) * (_IDENTITY_READS if protocol == "s7comm" else 1), 0, 30_000)


def downloading(protocol: str) -> Conversation:
    """A program is transferred: the controller is stopped, gets the blocks and is started."""
    blocks = ("download",) * _BLOCKS
    middle = blocks if protocol == "modbus" else ("download-request", *blocks, "download-end")
    return conversation(protocol, ("stop", *middle, "start"), 0, 120_000)


def mode_change(protocol: str, *names: str) -> Conversation:
    """The controller is stopped, or started."""
    return conversation(protocol, names, 0, 60_000)


def connections(
    source: Source, start_us: Ints, src: int, dst: int | Ints, protocol: str, said: Conversation, src_mac: int = 0
) -> Traffic:
    """A connection at each point in time that holds the conversation and is closed."""
    count, length = len(start_us), len(said.operations)
    lag = source.chance.between(800, 2_600, count)
    jitter = source.chance.below(max(said.step_us // 8, 1), count * length).reshape(count, length)
    offsets = lag[:, None] + np.arange(length) * said.step_us + jitter
    last = offsets[:, -1] if length else lag
    flows = source.tcp(
        start_us,
        src,
        dst,
        PORTS[protocol],
        service=SERVICE_OF[protocol],
        duration_us=last + source.chance.between(1_500, 4_000, count),
        orig_bytes=int(_REQUEST_BYTES[said.operations].sum()),
        resp_bytes=int(_ANSWER_BYTES[said.operations].sum()),
        exchanges=max(length, 1),
        src_mac=src_mac,
    )
    operations = Operations(
        np.repeat(np.arange(count), length),
        (start_us[:, None] + offsets).reshape(-1),
        np.tile(said.operations, count),
        np.tile(said.address, count),
        np.tile(said.quantity, count),
    )
    return Traffic(flows, operations)


def sessions(
    source: Source, bounds_us: Ints, src: int, dst: int, protocol: str, said: Conversation, period_us: int
) -> Traffic:
    """Connections that are renewed at each of the bounds, with one operation after another, a period apart.

    bounds_us : (n + 1,) ascending; a connection lasts from one to the next.
    """
    start, end = bounds_us[:-1], bounds_us[1:] - 5_000
    counts = np.maximum((end - start - 10_000) // period_us, 0)
    flow = np.repeat(np.arange(len(start)), counts)
    number = np.arange(len(flow)) - np.repeat(np.cumsum(counts) - counts, counts)
    at = start[flow] + 5_000 + number * period_us + source.chance.below(period_us // 12, len(flow))
    which = number % len(said.operations)
    codes = said.operations[which]
    flows = source.tcp(
        start,
        src,
        dst,
        PORTS[protocol],
        service=SERVICE_OF[protocol],
        duration_us=end - start,
        orig_bytes=np.bincount(flow, _REQUEST_BYTES[codes], len(start)).astype(np.int64),
        resp_bytes=np.bincount(flow, _ANSWER_BYTES[codes], len(start)).astype(np.int64),
        exchanges=np.maximum(counts, 1),
    )
    return Traffic(flows, Operations(flow, at, codes, said.address[which], said.quantity[which]))
