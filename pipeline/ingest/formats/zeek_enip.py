"""EtherNet/IP and CIP as icsnpp-enip logs them, a message a record; requests count, responses may refuse."""

import numpy as np

from pipeline.ingest.draft import Draft
from pipeline.ingest.formats import ics
from pipeline.ingest.formats.functions import functions_of
from pipeline.ingest.formats.zeek_log import Log, by_responder, is_other_word, is_word

CIP, ENIP = functions_of("cip"), functions_of("enip")
ENIP_FIRST = 0x10000  # added to commands: a connection also carries CIP, whose services have these numbers too
MANAGER_FIRST = 0x600  # added to services of the connection manager, class 6, that have another meaning there
_MAX_COMMAND, _MAX_SERVICE = 65_535, 127
_OBJECT_SPECIFIC = 0x4B


def _enip(draft: Draft) -> None:
    command, known = draft.code("enip_command_code", "ics_functions", _MAX_COMMAND)
    ics.put_functions(draft, ENIP, np.where(known & ~by_responder(draft), command + ENIP_FIRST, -1))
    ics.put_exceptions(draft, is_other_word(draft, "enip_status", "success"))


def _cip(draft: Draft) -> None:
    service, known = draft.code("cip_service_code", "ics_functions", 255)
    code = service & _MAX_SERVICE
    managed = is_word(draft, "class_id", "0x06", "0x6", "6") & (code >= _OBJECT_SPECIFIC)
    asked = known & ~is_word(draft, "direction", "response")
    ics.put_functions(draft, CIP, np.where(asked, code + np.where(managed, MANAGER_FIRST, 0), -1))
    # A partial transfer is no refusal.
    by_code = is_other_word(draft, "cip_status_code", "0x00", "0x06")
    ics.put_exceptions(draft, by_code | is_other_word(draft, "cip_status", "success", "partial transfer"))


LOGS = (
    Log("enip", "enip", ("is_orig", "enip_command_code", "enip_status"), ("enip_command_code",), _enip),
    Log(
        "cip",
        "cip",
        ("direction", "cip_service_code", "cip_status_code", "cip_status", "class_id"),
        ("direction", "cip_service_code"),
        _cip,
    ),
)
