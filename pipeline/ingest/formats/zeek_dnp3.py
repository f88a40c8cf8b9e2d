"""DNP3 as Zeek (base/protocols/dnp3) and icsnpp-dnp3 log it.

dnp3.log counts operations; dnp3_control.log and dnp3_objects.log add indices of points, and refusals of controls.
"""

import numpy as np

from pipeline.ingest.draft import Draft
from pipeline.ingest.formats import ics
from pipeline.ingest.formats.functions import functions_of
from pipeline.ingest.formats.zeek_log import Log, is_other_word, is_word

DNP3 = functions_of("dnp3")
RESPONSE = DNP3.names["RESPONSE"]
# Internal indications that refuse a request (IEEE 1815, 4.5.2): function not supported, object unknown, parameter
# error, already executing. Zeek writes the first octet in the upper byte.
REFUSED = 0x0001 | 0x0002 | 0x0004 | 0x0010
_MAX_INDICATIONS = 65_535


def _named(draft: Draft, source: str) -> ics.Numbers:
    """Function codes of a column, -1 where it is blank."""
    names = draft.text(source, "ics_functions")
    codes, known = DNP3.codes_of(names)
    reported = draft.has(source)
    draft.reject(reported & ~(known & (codes <= 255)), "function", "ics_functions", source)
    return np.where(reported & known, codes, -1)


def _dnp3(draft: Draft) -> None:
    request, reply = _named(draft, "fc_request"), _named(draft, "fc_reply")
    # A response to a request says nothing that the request does not; an unsolicited one is an operation of its own.
    ics.put_functions(draft, DNP3, request, np.where((reply == RESPONSE) & (request >= 0), -1, reply))
    indications, _ = draft.code("iin", "ics_exception_cnt", _MAX_INDICATIONS, "count_range")
    ics.put_exceptions(draft, (indications >= 0) & (indications & REFUSED > 0))


def _control(draft: Draft) -> None:
    index, _ = draft.code("index_number", "ics_addr_min", ics.MOST, "count_range")
    # A control is selected, operated, and echoed twice: it names its point once.
    operated = is_word(draft, "function_code", "operate", "direct_operate", "direct_operate_nr")
    ics.put_points(draft, (index, np.where(operated & (index >= 0), 1, -1)))
    ics.put_exceptions(draft, is_other_word(draft, "status_code", "success"))


def _objects(draft: Draft) -> None:
    low, _ = draft.code("range_low", "ics_addr_min", ics.MOST, "count_range")
    high, _ = draft.code("range_high", "ics_addr_max", ics.MOST, "count_range")
    number, _ = draft.code("object_count", "ics_quantity", ics.MOST, "count_range")
    draft.reject((low > high) & (high >= 0), "count_range", "ics_addr_max", "range_high", "at least range_low")
    ics.put_span(draft, low, high, number)


LOGS = (
    Log("dnp3", "dnp3", ("fc_request", "fc_reply", "iin"), ("fc_request", "fc_reply"), _dnp3),
    Log(
        "dnp3_control",
        "dnp3",
        ("function_code", "index_number", "status_code"),
        ("function_code", "index_number"),
        _control,
    ),
    Log("dnp3_objects", "dnp3", ("range_low", "range_high", "object_count"), ("object_type", "range_low"), _objects),
)
