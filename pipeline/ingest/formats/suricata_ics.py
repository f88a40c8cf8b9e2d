"""Suricata EVE events of types modbus and dnp3 as rows of the kind `ics`.

Suricata: rust/src/modbus/log.rs, src/output-json-dnp3.c.
A modbus event is a request with its response; a dnp3 event is one of the two, in older versions both.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.ingest.draft import Draft, Mask
from pipeline.ingest.formats import ics
from pipeline.ingest.formats.functions import Functions, functions_of
from pipeline.ingest.formats.protocols import ip_protocols
from pipeline.ingest.scan.cells import OBJECT, Cells
from pipeline.ingest.scan.ics_cells import contains_any, object_ranges

MODBUS, DNP3 = functions_of("modbus"), functions_of("dnp3")
# Internal indications that refuse a request (IEEE 1815, 4.5.2), as Suricata names them.
REFUSALS = ("no_func_code_support", "object_unknown", "parameter_error", "already_executing")
_WORDS = [f'"{name}"'.encode() for name in REFUSALS]
_JOINED, _WORD_ENDS = np.frombuffer(b"".join(_WORDS), np.uint8), np.cumsum([len(word) for word in _WORDS])
_ENDS = ("src_ip", "src_port", "dest_ip", "dest_port")
_EXCEPTION_BIT = 0x80

_MODBUS = (
    ("request", "unit_id"),
    ("request", "function_raw"),
    ("request", "read", "address"),
    ("request", "read", "quantity"),
    ("request", "write", "address"),
    ("request", "write", "quantity"),
    ("response", "unit_id"),
    ("response", "function_raw"),
    ("response", "exception"),
)
_DNP3 = (("src",), ("dst",), ("application", "function_code"), ("application", "objects"), ("iin", "indicators"))
_SIDES = ((), ("request",), ("response",))
PATHS: dict[str, tuple[tuple[str, ...], ...]] = {
    "timestamp": (("timestamp",),),
    **{".".join(path): (path,) for path in (("modbus", *key) for key in _MODBUS)},
    **{".".join(path): (path,) for path in (("dnp3", *side, *key) for side in _SIDES for key in _DNP3)},
}


def normalise(cells: Cells, columns: tuple[str, ...], events: pa.StringArray) -> Draft:
    """Rows of the kind `ics`; `events` are the types of the events, each of SURICATA_ICS_EVENTS."""
    modbus = pc.equal(events, "modbus").to_numpy(zero_copy_only=False)
    if modbus.all():
        return _modbus(Draft(cells, columns))
    if not modbus.any():
        return _dnp3(Draft(cells, columns))
    parts = (modbus, _modbus(Draft(cells.of(modbus), columns))), (~modbus, _dnp3(Draft(cells.of(~modbus), columns)))
    return Draft.joined(cells, columns, parts)


def _identity(draft: Draft, functions: Functions) -> None:
    protocol, named = ip_protocols(pc.utf8_lower(draft.text("proto", "ip_proto")))
    draft.reject(~named, "protocol", "ip_proto", "proto")
    ics.put_identity(draft, "timestamp", _ENDS, "flow_id", np.where(named, protocol, -1), functions.proto)
    draft.columns["community_id"] = draft.text("community_id", "community_id")
    draft.put("vlan_id", *draft.whole("vlan", "vlan_id", "vlan_range"))


def _modbus(draft: Draft) -> Draft:
    _identity(draft, MODBUS)

    def read(name: str, target: str, most: int, reason: str = "count_range") -> ics.Numbers:
        return draft.code(f"modbus.{name}", target, most, reason)[0]

    asked = read("request.function_raw", "ics_functions", 255, "function")
    answered = read("response.function_raw", "ics_functions", 255, "function")
    code = np.where(asked >= 0, asked, answered)
    ics.put_functions(draft, MODBUS, np.where(code >= 0, code & (_EXCEPTION_BIT - 1), -1))
    exception = draft.cells.kinds[draft.column["modbus.response.exception"]] == OBJECT
    ics.put_exceptions(draft, exception | (answered >= _EXCEPTION_BIT))
    units = [read(f"{side}.unit_id", "ics_units", 255) for side in ("request", "response")]
    ics.put_units(draft, *units)
    ranges = []
    for access in ("read", "write"):
        first = read(f"request.{access}.address", "ics_addr_min", 65_535)
        number = read(f"request.{access}.quantity", "ics_quantity", 65_535)
        # A write of one point, or through a mask, has no quantity.
        ranges.append((first, np.where((number < 0) & (first >= 0), 1, number)))
    ics.put_points(draft, *ranges)
    return draft


def _dnp3(draft: Draft) -> Draft:
    _identity(draft, DNP3)
    codes, units, refused = [], [], np.zeros(draft.count, np.bool_)
    low, high = np.full(draft.count, ics.MOST + 1), np.full(draft.count, -1)
    quantity = np.full(draft.count, -1)
    for side in _SIDES:
        name = ".".join(("dnp3", *side))
        codes.append(draft.code(f"{name}.application.function_code", "ics_functions", 255)[0])
        units += [draft.code(f"{name}.{end}", "ics_units", 65_535, "count_range")[0] for end in ("src", "dst")]
        refused |= _indicated(draft, f"{name}.iin.indicators")
        first, last, number = (np.empty(draft.count, np.int64) for _ in range(3))
        object_ranges(*draft.where(f"{name}.application.objects"), first, last, number, np.empty(4, np.int64))
        low = np.where(first >= 0, np.minimum(low, first), low)
        high = np.maximum(high, last)
        quantity = np.where(number >= 0, np.maximum(quantity, 0) + number, quantity)
    # A response counts only where it answers nothing: an unsolicited one.
    reported = [np.where(code == DNP3.names["RESPONSE"], -1, code) for code in codes]
    ics.put_functions(draft, DNP3, *reported)
    ics.put_units(draft, *units)
    ics.put_exceptions(draft, refused)
    ics.put_span(draft, np.where(high < 0, -1, low), high, quantity)
    return draft


def _indicated(draft: Draft, source: str) -> Mask:
    indicated = np.empty(draft.count, np.bool_)
    contains_any(*draft.where(source), _JOINED, _WORD_ENDS, indicated)
    return indicated
