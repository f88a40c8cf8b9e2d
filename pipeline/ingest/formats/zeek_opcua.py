"""OPC UA as icsnpp-opcua-binary logs it: opcua_binary.log, a request with its response a record (older: a message).

What its other logs hold is part of these operations; they are not read.
"""

import numpy as np

from pipeline.ingest.draft import Draft
from pipeline.ingest.formats import ics
from pipeline.ingest.formats.functions import functions_of
from pipeline.ingest.formats.zeek_log import Log

OPCUA = functions_of("opcua")
SERVICE_FAULT = 397


def _opcua(draft: Draft) -> None:
    request, _ = draft.code("req_identifier", "ics_functions", ics.MOST)
    response, _ = draft.code("res_identifier", "ics_functions", ics.MOST)
    message, _ = draft.code("identifier", "ics_functions", ics.MOST)
    # Only the number of a single message shows whether it is a request or a response.
    asked = np.isin(message, list(OPCUA.access))
    ics.put_functions(draft, OPCUA, np.where(request >= 0, request, np.where(asked, message, -1)))
    _, failed = draft.code("error", "ics_exception_cnt", ics.MOST, "count_range")
    ics.put_exceptions(draft, (response == SERVICE_FAULT) | (message == SERVICE_FAULT) | failed)


LOGS = (
    Log(
        "opcua_binary",
        "opcua",
        ("req_identifier", "res_identifier", "identifier", "error"),
        ("msg_type",),
        _opcua,
    ),
)
