"""A sensor's view of a plant's traffic, written as Zeek and icsnpp write it: conn.log and logs of operations, TSV."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from loadtest.conn_json import mixed
from loadtest.plants.generated.calendar import SECOND_US
from loadtest.plants.generated.chance import Ints, Words
from loadtest.plants.generated.flows import (
    ICMP,
    IGMP,
    SERVICES,
    STATES,
    TCP,
    UDP,
    Flows,
    Mask,
    Operations,
    Traffic,
    taken,
)
from loadtest.plants.generated.operations import OPERATIONS
from loadtest.plants.generated.site import NETWORK, dotted, mac_text

_BLOCK = 1 << 18  # rows that are made text at once: 100 MB
_ANSWER_US = 1_200  # a controller's answer; less than what a connection lasts after its last request
_DIGITS = np.frombuffer(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", np.uint8)
_PROTOCOLS = {TCP: "tcp", UDP: "udp", ICMP: "icmp", IGMP: "unknown_transport"}
_UNSET = "-"
# Functions whose request names no point.
_WITHOUT_POINTS = ("ENCAP_INTERFACE_TRANSPORT", "PROGRAM_UNITY")
Column = Any  # (n,) pa.StringArray, or one text for all rows


class Log(NamedTuple):
    """A log: its name and the names and types of its columns."""

    name: str
    fields: tuple[tuple[str, str], ...]


def _fields(text: str) -> tuple[tuple[str, str], ...]:
    pairs = (pair.split(":") for pair in text.split())
    return tuple((name, kind) for name, kind in pairs)


_BASE = "ts:time uid:string id.orig_h:addr id.orig_p:port id.resp_h:addr id.resp_p:port "
_SPEAKER = "is_orig:bool source_h:addr source_p:port destination_h:addr destination_p:port "
CONN = Log(
    "conn",
    _fields(
        _BASE + "proto:enum service:string duration:interval orig_bytes:count resp_bytes:count conn_state:string "
        "local_orig:bool local_resp:bool missed_bytes:count history:string orig_pkts:count orig_ip_bytes:count "
        "resp_pkts:count resp_ip_bytes:count tunnel_parents:set[string] ip_proto:count orig_l2_addr:string "
        "resp_l2_addr:string"
    ),
)
MODBUS = Log(
    "modbus_detailed",
    _fields(
        _BASE + "tid:count unit:count func:string address:count quantity:count request_values:vector[count] "
        "response_values:vector[count] modbus_detailed_link_id:string matched:bool request_subfunction_code:string "
        "response_subfunction_code:string request_data:string response_data:string exception_code:string "
        "mei_type:string"
    ),
)
S7COMM = Log(
    "s7comm",
    _fields(
        _BASE + _SPEAKER + "rosctr_code:count rosctr_name:string pdu_reference:count function_code:string "
        "function_name:string subfunction_code:string subfunction_name:string error_class:string error_code:string"
    ),
)
CIP = Log(
    "cip",
    _fields(
        _BASE + _SPEAKER + "cip_sequence_count:count direction:string cip_service_code:string cip_service:string "
        "cip_status_code:string cip_status:string cip_extended_status_code:string cip_extended_status:string "
        "class_id:string class_name:string instance_id:string attribute_id:string"
    ),
)


class View(NamedTuple):
    """What a sensor sees of n flows: its own names of them, clock and hardware addresses."""

    traffic: Traffic
    uid: Words
    orig_mac: Ints
    resp_mac: Ints


MessageColumns = Callable[[View, Ints], list[Column]]


def uid_texts(words: Words) -> pa.StringArray:
    """Zeek's names of connections: C and 17 letters and digits, of 64-bit numbers."""
    letters = np.empty((len(words), 18), np.uint8)
    letters[:, 0] = ord("C")
    rest = words.copy()
    for place in range(1, 18):
        if place == 11:  # ten letters use up most of a word
            rest = mixed(words)
        letters[:, place] = _DIGITS[(rest % np.uint64(62)).astype(np.int64)]
        rest = rest // np.uint64(62)
    return pa.array(letters.reshape(-1).view("S18"), pa.binary()).cast(pa.string())


def write(folder: Path, view: View) -> dict[str, int]:
    """Write the logs of a sensor into a folder; how many records each has."""
    folder.mkdir(parents=True, exist_ok=True)
    order = np.argsort(view.traffic.flows.end_us, kind="stable")
    counts = {CONN.name: len(order)}
    _write_log(folder, CONN, len(order), lambda rows: _conn(view, order[rows]))
    operations = view.traffic.operations
    protocol = np.array([operation.protocol for operation in OPERATIONS])[operations.operation]
    for log, name, columns in ((MODBUS, "modbus", _modbus), (S7COMM, "s7comm", _s7comm), (CIP, "enip", _cip)):
        requests = 2 * np.flatnonzero(protocol == name)
        # modbus_detailed.log has request and answer in one record, the others a record each.
        messages = requests if log is MODBUS else np.concatenate([requests, requests + 1])
        messages = messages[np.argsort(_times(operations, messages), kind="stable")]
        if len(messages):
            counts[log.name] = len(messages)
            _write_log(folder, log, len(messages), _block(columns, view, messages))
    return counts


def _block(columns: MessageColumns, view: View, messages: Ints) -> Callable[[slice], list[Column]]:
    return lambda rows: columns(view, messages[rows])


def _times(operations: Operations, messages: Ints) -> Ints:
    """(m,) when messages are sent: number 2k is the request of operation k, 2k + 1 its answer."""
    return operations.at_us[messages // 2] + _ANSWER_US * (messages % 2)


def _write_log(folder: Path, log: Log, count: int, columns: Callable[[slice], list[Column]]) -> None:
    names, kinds = zip(*log.fields, strict=True)
    head = ("#separator \\x09", "#set_separator\t,", "#empty_field\t(empty)", f"#unset_field\t{_UNSET}")
    said = (f"#path\t{log.name}", "\t".join(("#fields", *names)), "\t".join(("#types", *kinds)))
    with (folder / f"{log.name}.log").open("wb") as file:
        file.write("\n".join((*head, *said, "")).encode())
        for first in range(0, count, _BLOCK):
            rows = slice(first, min(first + _BLOCK, count))
            lines = pc.binary_join_element_wise(*columns(rows), "\t")
            # The values of a column of texts lie one behind the other: with their newlines they are the file.
            ended = pc.binary_join_element_wise(lines, "", "\n")
            file.write(memoryview(ended.buffers()[2]))


def _numbers(values: Ints) -> pa.StringArray:
    return pa.array(values).cast(pa.string())


def _seconds(values_us: Ints) -> pa.StringArray:
    fractions = pc.utf8_lpad(_numbers(values_us % SECOND_US), 6, "0")
    return pc.binary_join_element_wise(_numbers(values_us // SECOND_US), fractions, ".")


def _words(words: Sequence[str], codes: Ints) -> pa.StringArray:
    return pa.array(words, pa.string()).take(pa.array(codes))


def _named(values: Ints, text: Callable[[int], str]) -> pa.StringArray:
    """Texts of numbers of which there are few different ones."""
    different, codes = np.unique(values, return_inverse=True)
    return _words([text(value) for value in different.tolist()], codes)


def _mac(mac: int) -> str:
    return mac_text(mac) if mac else _UNSET


def _ends(flows: Flows, rows: Ints | slice) -> list[Column]:
    return [
        _named(flows.src[rows], dotted),
        _numbers(flows.src_port[rows]),
        _named(flows.dst[rows], dotted),
        _numbers(flows.dst_port[rows]),
    ]


def _unset_where(values: pa.StringArray, unset: Mask) -> pa.StringArray:
    return pc.if_else(pa.array(unset), _UNSET, values)


def _conn(view: View, rows: Ints) -> list[Column]:
    """conn.log: what Zeek does not know of a connection's payload, one packet without an answer, is unset."""
    flows = taken(view.traffic.flows, rows)
    state = [state for state, _ in STATES]
    history = [history for _, history in STATES]
    single = (flows.orig_pkts == 1) & (flows.resp_pkts == 0) & (flows.protocol != UDP)
    header: Ints = np.select([flows.protocol == TCP, flows.protocol == IGMP], [40, 24], 28)
    local = [_words("FT", (ends >> 16 == NETWORK >> 16).astype(np.int64)) for ends in (flows.src, flows.dst)]
    protocols = np.array(sorted(_PROTOCOLS))
    return [
        _seconds(flows.start_us),
        uid_texts(view.uid[rows]),
        *_ends(flows, slice(None)),
        _words([_PROTOCOLS[number] for number in protocols.tolist()], np.searchsorted(protocols, flows.protocol)),
        _words(SERVICES, flows.service),
        _unset_where(_seconds(flows.duration_us), single),
        _unset_where(_numbers(flows.orig_bytes), single),
        _unset_where(_numbers(flows.resp_bytes), single),
        _words(state, flows.state),
        *local,
        "0",
        _words(history, flows.state),
        _numbers(flows.orig_pkts),
        _numbers(flows.orig_bytes + header * flows.orig_pkts),
        _numbers(flows.resp_pkts),
        _numbers(flows.resp_bytes + header * flows.resp_pkts),
        _UNSET,
        _numbers(flows.protocol),
        _named(view.orig_mac[rows], _mac),
        _named(view.resp_mac[rows], _mac),
    ]


def _message(view: View, messages: Ints) -> list[Column]:
    """What the logs of operations have in common."""
    flows, operations = view.traffic.flows, view.traffic.operations
    flow = operations.flow[messages // 2]
    return [_seconds(_times(operations, messages)), uid_texts(view.uid[flow]), *_ends(flows, flow)]


def _speakers(view: View, messages: Ints) -> list[Column]:
    """Who speaks to whom: the client asks, the controller answers."""
    flows, answers = view.traffic.flows, messages % 2 == 1
    flow = view.traffic.operations.flow[messages // 2]
    ends = (flows.src[flow], flows.src_port[flow]), (flows.dst[flow], flows.dst_port[flow])
    speaker, hearer = (
        [np.where(answers, one, other) for one, other in zip(*pair, strict=True)] for pair in (ends[::-1], ends)
    )
    columns: list[Column] = [_words("TF", answers.astype(np.int64))]
    for address, port in (speaker, hearer):
        columns += [_named(address, dotted), _numbers(port)]
    return columns


def _cells(messages: Ints, operations: Operations, count: int) -> list[Column]:
    """The cells of the operations: of requests, or of answers, which may have fewer."""
    codes = 2 * operations.operation[messages // 2] + messages % 2
    rows = [cells + (_UNSET,) * count for operation in OPERATIONS for cells in (operation.request, operation.answer)]
    return [_words([row[column] for row in rows], codes) for column in range(count)]


def _modbus(view: View, messages: Ints) -> list[Column]:
    operations = view.traffic.operations
    asked = messages // 2
    function, mei = _cells(messages, operations, 2)
    pointless = np.array([operation.request[0] in _WITHOUT_POINTS for operation in OPERATIONS])
    without = pointless[operations.operation[asked]]
    return [
        *_message(view, messages),
        _numbers(asked % 65_536),
        "1",
        function,
        _unset_where(_numbers(operations.address[asked]), without),
        _unset_where(_numbers(operations.quantity[asked]), without),
        *[_UNSET] * 3,
        "T",
        *[_UNSET] * 5,
        mei,
    ]


def _s7comm(view: View, messages: Ints) -> list[Column]:
    operations = view.traffic.operations
    kind, kind_name, *function = _cells(messages, operations, 6)
    answers = (messages % 2).astype(np.int64)
    reference = _numbers(messages // 2 % 65_536)
    errors = (_words((_UNSET, "No error"), answers), _words((_UNSET, "0x00"), answers))
    return [*_message(view, messages), *_speakers(view, messages), kind, kind_name, reference, *function, *errors]


def _cip(view: View, messages: Ints) -> list[Column]:
    operations = view.traffic.operations
    answers = (messages % 2).astype(np.int64)
    code, service, *path = _cells(messages, operations, 5)
    return [
        *_message(view, messages),
        *_speakers(view, messages),
        _numbers(messages // 2 % 65_536),
        _words(("request", "response"), answers),
        code,
        service,
        _words((_UNSET, "0x00"), answers),
        _words((_UNSET, "Success"), answers),
        *[_UNSET] * 2,
        *path,
        _UNSET,
    ]
