"""S7comm and S7comm-plus as icsnpp-s7comm logs them, a message a record; requests count, responses may refuse."""

import numpy as np

from pipeline.ingest.draft import Draft
from pipeline.ingest.formats import ics
from pipeline.ingest.formats.functions import functions_of
from pipeline.ingest.formats.zeek_log import Log, is_other_word

S7COMM, S7COMM_PLUS = functions_of("s7comm"), functions_of("s7comm-plus")
_JOB, _USER_DATA = 1, 7  # ROSCTR: a request; either, as the upper half of the function code says
_REQUEST = 0x40
_PLUS_REQUEST = 0x31


def _s7comm(draft: Draft) -> None:
    kind, _ = draft.code("rosctr_code", "ics_functions", 255)
    function, _ = draft.code("function_code", "ics_functions", 255)
    user_data = kind == _USER_DATA
    asked = (function >= 0) & np.where(user_data, function & 0xF0 == _REQUEST, kind == _JOB)
    code = np.where(user_data, function * 256 + np.maximum(_subfunction(draft, user_data), 0), function)
    ics.put_functions(draft, S7COMM, np.where(asked, code, -1))
    refused = is_other_word(draft, "error_class", "no error", "0x00") | is_other_word(draft, "error_code", "0x00", "0")
    ics.put_exceptions(draft, refused)


def _subfunction(draft: Draft, user_data: ics.Mask) -> ics.Numbers:
    """Codes of subfunctions of user data; of jobs the column holds the name of a service."""
    before = draft.problem.copy()
    codes, _ = draft.code("subfunction_code", "ics_functions", 255)
    draft.problem[~user_data] = before[~user_data]
    return codes


def _plus(draft: Draft) -> None:
    opcode, _ = draft.code("opcode", "ics_functions", 255)
    function, _ = draft.code("function_code", "ics_functions", 65_535)
    ics.put_functions(draft, S7COMM_PLUS, np.where(opcode == _PLUS_REQUEST, function, -1))


LOGS = (
    Log(
        "s7comm",
        "s7comm",
        ("rosctr_code", "function_code", "subfunction_code", "error_class", "error_code"),
        ("rosctr_code", "function_code"),
        _s7comm,
    ),
    Log("s7comm_plus", "s7comm", ("opcode", "function_code"), ("opcode", "function_code"), _plus),
)
