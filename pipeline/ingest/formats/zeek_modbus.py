"""Modbus as Zeek (base/protocols/modbus) and icsnpp-modbus log it.

modbus.log and modbus_detailed.log count operations, where their request stands: records that say they are responses add
only what the device answered. The other two logs go with modbus_detailed.log and add the addresses that it lacks.
"""

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from pipeline.ingest.draft import Draft, Mask
from pipeline.ingest.formats import ics
from pipeline.ingest.formats.functions import functions_of
from pipeline.ingest.formats.zeek_log import Log, is_word
from pipeline.ingest.scan.ics_cells import list_lengths

MODBUS = functions_of("modbus")
_EXCEPTION_BIT = 0x80
_EXCEPTION_SUFFIX = "_EXCEPTION$"
_MAX_ADDRESS, _MAX_UNIT = 65_535, 255
Numbers = npt.NDArray[np.int64]


def _functions(draft: Draft) -> tuple[Numbers, Mask]:
    """Function codes (-1: not reported), and which of them stand in an exception's reply."""
    names = draft.text("func", "ics_functions")
    suffixed = pc.match_substring_regex(names, _EXCEPTION_SUFFIX).fill_null(False).to_numpy(zero_copy_only=False)
    plain = pc.replace_substring_regex(names, _EXCEPTION_SUFFIX, "") if suffixed.any() else names
    codes, known = MODBUS.codes_of(plain)
    reported = names.is_valid().to_numpy(zero_copy_only=False)
    draft.reject(reported & ~(known & (codes <= 255)), "function", "ics_functions", "func")
    marked = reported & known & (codes >= _EXCEPTION_BIT)
    return np.where(reported & known, codes & (_EXCEPTION_BIT - 1), -1), suffixed | marked


def _unit(draft: Draft) -> Numbers:
    return draft.code("unit", "ics_units", _MAX_UNIT, "count_range")[0]


def _operations(draft: Draft, response: Mask, exception: str) -> None:
    codes, refused = _functions(draft)
    ics.put_functions(draft, MODBUS, np.where(response, -1, codes))
    answered = draft.text(exception, "ics_exception_cnt").is_valid().to_numpy(zero_copy_only=False)
    ics.put_exceptions(draft, refused | answered)
    ics.put_units(draft, _unit(draft))


def _modbus(draft: Draft) -> None:
    _operations(draft, is_word(draft, "pdu_type", "resp"), "exception")


def _detailed(draft: Draft) -> None:
    response = is_word(draft, "request_response", "response")
    _operations(draft, response, "exception_code")
    first, has_address = draft.code("address", "ics_addr_min", _MAX_ADDRESS, "count_range")
    number, reported = draft.code("quantity", "ics_quantity", _MAX_ADDRESS, "count_range")
    # A record with an address and no quantity is of a function that names one point.
    ics.put_points(draft, (first, np.where(response, -1, np.where(reported, number, np.where(has_address, 1, -1)))))


def _mask_write(draft: Draft) -> None:
    ics.put_units(draft, _unit(draft))
    first, _ = draft.code("address", "ics_addr_min", _MAX_ADDRESS, "count_range")
    ics.put_points(draft, (first, np.full(draft.count, -1)))


def _read_write(draft: Draft) -> None:
    ics.put_units(draft, _unit(draft))
    read, _ = draft.code("read_start_address", "ics_addr_min", _MAX_ADDRESS, "count_range")
    write, writes = draft.code("write_start_address", "ics_addr_min", _MAX_ADDRESS, "count_range")
    number, _ = draft.code("read_quantity", "ics_quantity", _MAX_ADDRESS, "count_range")
    written = np.empty(draft.count, np.int64)
    list_lengths(*draft.where("write_registers"), written)
    ics.put_points(draft, (read, number), (write, np.where(writes, written, -1)))


LOGS = (
    Log("modbus", "modbus", ("unit", "func", "pdu_type", "exception"), ("func",), _modbus),
    Log(
        "modbus_detailed",
        "modbus",
        ("unit", "func", "request_response", "address", "quantity", "exception_code"),
        ("func", "unit", "address"),
        _detailed,
    ),
    Log("modbus_mask_write_register", "modbus", ("unit", "address"), ("unit", "address"), _mask_write),
    Log(
        "modbus_read_write_multiple_registers",
        "modbus",
        ("unit", "write_start_address", "write_registers", "read_start_address", "read_quantity"),
        ("unit", "write_start_address"),
        _read_write,
    ),
)
